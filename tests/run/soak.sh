#!/usr/bin/env bash
# soak.sh: the long tests. NEBULA_SEED=N or M..N repeats seeds of the model-based test; NEBULA_BENCH_CHURN_SECONDS and
# NEBULA_FUZZ_SECONDS shorten churn and fuzzing.
source "$(dirname "$0")/../../docker/lib.sh"

"$repo/docker/extension.sh" dev
for other in 16 18; do
    PG_MAJOR=$other make -C "$repo" test-extension
    # Releases differ in the text that pg_dump writes.
    PG_MAJOR=$other make -C "$repo" test-stories T=database::restore
done
cd "$repo"
step "Compiling the stories" cargo test --locked --no-run -p nebula-tests
stories=(addresses::model_based database::peer_model crash:: race:: queue::claim_index agent:: peers:: media::interrupted media::kill)
require_stories "${stories[@]}"
# Shared clusters are held by statics, which are never dropped, so this script removes their folders.
scratch=$(mktemp -d /tmp/nebula-soak.XXXXXX)
trap 'stop_ticker; rm -rf "$scratch"' EXIT
chmod 0755 "$scratch"
LOOM_MAX_PREEMPTIONS=5 cargo test --release --locked -p nebula-core --features loom model
"$repo/tests/run/fuzz.sh" "${NEBULA_FUZZ_SECONDS:-600}"
NEBULA_SOAK=1 TMPDIR=$scratch cargo test --locked -p nebula-tests -- "${stories[@]}" --nocapture
NEBULA_BIN_DIR=$repo/target/release NEBULA_TEST_PREFIX=$repo/target/postgresql/$pg_major \
    cargo run --quiet --release --locked -p nebula-benches -- many_sessions churn
