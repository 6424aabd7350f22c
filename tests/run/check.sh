#!/usr/bin/env bash
# check.sh: what needs no database. The extension is only linted here; its pure parts are crates of their own.
source "$(dirname "$0")/../../docker/lib.sh"

cd "$repo"
tests/run/format.sh
step "Running clippy" cargo clippy --locked --workspace --all-targets --features pg_nebula/pg_test -- -D warnings
without=(--workspace --exclude pg_nebula --exclude nebula-tests --exclude nebula-benches)
step "Compiling the unit tests" cargo test --locked --no-run "${without[@]}"
cargo test --quiet --locked "${without[@]}"
