#!/usr/bin/env bash
# soak.sh: the long proofs. NEBULA_SEED=N repeats one random story, M..N some; NEBULA_BENCH_CHURN_SECONDS and NEBULA_FUZZ_SECONDS
# shorten churn and fuzzing.
source "$(dirname "$0")/../../docker/lib.sh"

"$repo/docker/extension.sh" dev
cd "$repo"
step "Compiling the proofs" cargo test --locked --no-run -p nebula-tests
# A cluster that stories share lasts as long as they do, so its folder is removed from here.
scratch=$(mktemp -d /tmp/nebula-soak.XXXXXX)
trap 'stop_ticker; rm -rf "$scratch"' EXIT
chmod 0755 "$scratch"
"$repo/tests/run/fuzz.sh" "${NEBULA_FUZZ_SECONDS:-600}"
NEBULA_SOAK=1 TMPDIR=$scratch cargo test --locked -p nebula-tests -- model:: crash:: race:: versions:: agent:: --nocapture
NEBULA_BIN_DIR=$repo/target/release NEBULA_TEST_PREFIX=$repo/target/postgresql/$pg_major \
    cargo run --quiet --release --locked -p nebula-benches -- crowd churn
