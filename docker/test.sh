#!/usr/bin/env bash
# test.sh: every test, each against its own throwaway cluster and free ports.
source "$(dirname "$0")/lib.sh"

"$repo/docker/console.sh"
"$repo/docker/extension.sh" dev
cd "$repo"
step "Building for the tests" cargo build --locked -p nebula-gateway -p nebula-worker -p nebulactl
step "Compiling the tests" cargo test --locked --no-run --workspace --exclude nebula-benches --exclude pg_nebula
if [[ -f gateway/web/package.json ]]; then npm --prefix gateway/web --silent test; fi
cargo test --quiet --locked --workspace --exclude nebula-tests --exclude nebula-benches --exclude pg_nebula
docker/pg-test.sh
# A cluster that stories share lasts as long as they do, so its folder is removed from here.
scratch=$(mktemp -d /tmp/nebula-test.XXXXXX)
trap 'stop_ticker; rm -rf "$scratch"' EXIT
chmod 0755 "$scratch"
TMPDIR=$scratch cargo test --locked -p nebula-tests
