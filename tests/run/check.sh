#!/usr/bin/env bash
# check.sh: the checks that need no database. The extension is only linted here; its pure parts are a crate of their own.
source "$(dirname "$0")/../../docker/lib.sh"

cd "$repo"
cargo fmt --all --check || die "the formatting differs" "run: cargo fmt --all"
tests/run/rules.sh
docker/console.sh # the gateway embeds it
docker/prefix.sh "$pg_major"
step "Running clippy" cargo clippy --locked --workspace --all-targets --features pg_nebula/pg_test -- -D warnings
without=(--workspace --exclude pg_nebula --exclude nebula-tests --exclude nebula-benches)
step "Compiling the unit tests" cargo test --locked --no-run "${without[@]}"
# But for those of the worker that make films, which take a minute by themselves.
step "Running the unit tests" cargo test --locked "${without[@]}" --lib --bins \
    --test http --test folder --test reconnect --test sandbox
grep -E '^test result: ' "$repo/target/log/running-the-unit-tests.log" |
    awk '{ passed += $4 } END { print "unit tests: " passed " passed" }'
step "Model-checking what sessions share" cargo test --locked -p nebula-core --features loom model
