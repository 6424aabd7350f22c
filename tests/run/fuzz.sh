#!/usr/bin/env bash
# fuzz.sh [SECONDS]: fuzzes the readers of certificates, starting from the test vectors, and those of what clients send:
# tokens, signatures, ranges and conditions. Each gets half of the time.
source "$(dirname "$0")/../../docker/lib.sh"

seconds=$((${1:-60} / 2))
have cargo-fuzz || step "Building cargo-fuzz" cargo install cargo-fuzz --locked --debug --root "$tools"

# Coverage flags are stable; only sanitizers would need a nightly toolchain.
export CARGO_TARGET_DIR=$repo/target/fuzz

fuzz() { # TARGET FOLDER CORPUS
    cargo fuzz run --fuzz-dir "$2" --sanitizer none --release "$1" "$3" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0
}

certificates=$repo/target/fuzz-corpus requests=$repo/target/fuzz-corpus-request
mkdir -p "$certificates" "$requests"
"$repo/tests/run/fuzz-seeds.py" "$repo/gateway/certificate/vectors/nebula-certificates.json" "$certificates"
cp "$repo"/tests/fuzz/seeds/* "$requests"
cd "$repo/gateway/certificate"
fuzz read fuzz "$certificates"
cd "$repo/tests/fuzz"
fuzz request . "$requests"
