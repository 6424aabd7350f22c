#!/usr/bin/env bash
# cases.sh [NAME…]: runs the tests of the cases in tests/cases/, or of those whose name or rule contains a NAME, and prints
# one line for each case: PASS or FAIL, its name, its rule, and below a FAIL what was seen. Each test starts what it needs
# and ends it.
source "$(dirname "$0")/../../docker/lib.sh"
cd "$repo"

tests/run/cases.py check "$@"
mapfile -t stories < <(tests/run/cases.py tests stories "$@")
mapfile -t extension < <(tests/run/cases.py tests extension "$@")
mapfile -t units < <(tests/run/cases.py tests units "$@")

scratch=$(mktemp -d /tmp/nebula-cases.XXXXXX)
trap 'stop_ticker; rm -rf "$scratch"' EXIT
chmod 0755 "$scratch"

# run KIND COMMAND…: a failed test is one of the results, which the report finds in the log.
run() {
    local kind=$1
    shift
    step "Running the tests of $kind" bash -c '"$@" || true' _ "$@"
    cat "target/log/running-the-tests-of-$kind.log" >>"$scratch/$kind.log"
}

if [[ -n ${stories[*]}${units[*]} ]]; then docker/console.sh; fi
if [[ -n ${units[*]} ]]; then
    without=(--workspace --exclude pg_nebula --exclude nebula-tests --exclude nebula-benches)
    step "Compiling the unit tests" cargo test --locked --no-run "${without[@]}"
    run units cargo test --locked --no-fail-fast "${without[@]}" -- "${units[@]}"
fi
if [[ -n ${extension[*]} ]]; then
    # Each name is a run of its own, so that all tests together are done sooner than many of them.
    [[ ${#extension[@]} -le 3 ]] || extension=("")
    for name in "${extension[@]}"; do
        run extension tests/run/extension.sh ${name:+"$name"}
        cat "target/log/testing-the-extension-on-postgresql-$pg_major.log" >>"$scratch/extension.log"
    done
fi
if [[ -n ${stories[*]} ]]; then
    build_for_stories
    run stories env TMPDIR="$scratch" PG_MAJOR="$pg_major" cargo test --locked -p nebula-tests -- "${stories[@]}"
fi
tests/run/cases.py report "$scratch" "$@"
