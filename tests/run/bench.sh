#!/usr/bin/env bash
# bench.sh [NAME…]: the benchmarks, or those named, with the release builds of extension and programs; `certificate` needs
# neither.
source "$(dirname "$0")/../../docker/lib.sh"

cd "$repo"
[[ $* == certificate ]] || docker/build.sh
if [[ $# -eq 0 || " $* " =~ \ (media|ranges|uploads)\  ]]; then
    tests/run/nginx.sh
    export NEBULA_NGINX=$cache/nginx/usr/sbin/nginx
fi
step "Compiling the benchmarks" \
    cargo build --release --locked -p nebula-benches -p nebula-tests --bin nebula-benches --bin control-link
PG_MAJOR=$pg_major NEBULA_BIN_DIR=$repo/target/release NEBULA_TEST_PREFIX=$repo/target/postgresql/$pg_major \
    cargo run --quiet --release --locked -p nebula-benches -- "$@"
