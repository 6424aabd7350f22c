#!/usr/bin/env bash
# fuzz.sh [SECONDS]: fuzzes the certificate readers, starting from the test vectors.
source "$(dirname "$0")/../../docker/lib.sh"

seconds=${1:-60}
have cargo-fuzz || step "Building cargo-fuzz" cargo install cargo-fuzz --locked --debug --root "$tools"
cd "$repo/gateway/certificate"
corpus=$repo/target/fuzz-corpus
mkdir -p "$corpus"
"$repo/tests/run/fuzz-seeds.py" vectors/nebula-certificates.json "$corpus"
# Coverage flags are stable; only sanitizers would need a nightly toolchain.
export CARGO_TARGET_DIR=$repo/target/fuzz
cargo fuzz run --fuzz-dir fuzz --sanitizer none --release read "$corpus" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0
