#!/usr/bin/env bash
# lint.sh: format, this project's own rules, clippy, documentation, shell scripts, console types, and dependencies where
# cargo-deny is installed.
source "$(dirname "$0")/../../docker/lib.sh"

cd "$repo"
cargo fmt --all --check || die "the formatting differs" "run: cargo fmt --all"
tests/run/rules.sh
docker/console.sh # the gateway embeds it
step "Running clippy" cargo clippy --locked --workspace --all-targets --features pg_nebula/pg_test -- -D warnings
step "Checking the documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
shellcheck -x -P SCRIPTDIR docker/*.sh tests/run/*.sh .ci/run
if [[ -f gateway/web/package.json ]]; then
    step "Checking the console's types" npm --prefix gateway/web run typecheck
fi
if cargo deny --version >/dev/null 2>&1; then
    step "Checking licences and advisories" cargo deny --locked check
else
    say "Licences and advisories are not checked: cargo-deny is not installed (cargo install cargo-deny)."
fi
