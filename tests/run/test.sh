#!/usr/bin/env bash
# test.sh [all|stories]: every test, or the stories alone, each against its own throwaway cluster and free ports, on version
# PG_MAJOR of PostgreSQL. T="NAME…" runs only the tests of any kind whose path contains a NAME, such as race::batch.
source "$(dirname "$0")/../../docker/lib.sh"

kind=${1:-all}
read -ra names <<<"${T:-}"
cd "$repo"

# mentioned FOLDER: whether a source file there has tests and the last part of a NAME, in its path or in the name of a
# function. Keeps kinds of tests without a matching one from being compiled. Without any NAME, every folder counts.
mentioned() {
    local name word files
    [[ -d $1 ]] || return 1
    [[ ${#names[@]} -gt 0 ]] || return 0
    for name in "${names[@]%::}"; do
        word=${name##*::}
        mapfile -t files < <(find "$1" -name '*.rs' -path "$1*$word*"; grep -rlE --include='*.rs' "fn \w*$word" "$1" || true)
        if [[ ${#files[@]} -gt 0 ]] && grep -qE '^\s*#\[(\w+::)?(pg_)?test\b' "${files[@]}"; then
            return 0
        fi
    done
    return 1
}

# The packages of the unit tests, always all: cargo chooses features for the packages that it is given together, so for
# another choice of them it would compile nearly all dependencies again, beside those of check.sh.
packages=()
units=
extension=
stories=
if [[ $kind == all ]]; then
    while read -r package manifest; do
        folder=$(dirname "$manifest")/src
        case $package in
        pg_nebula) if mentioned "$folder"; then extension=yes; fi ;;
        nebula-tests | nebula-benches) ;;
        *)
            packages+=(-p "$package")
            if [[ -z $units ]] && mentioned "$folder"; then units=yes; fi
            ;;
        esac
    done < <("$repo/tests/run/members.py")
fi
if mentioned tests/stories; then stories=yes; fi
[[ -n $units$extension$stories ]] || die "no test has '$T' in its name"

if [[ -n $stories$units ]]; then docker/console.sh; fi
if [[ -n $stories ]]; then build_for_stories; fi
if [[ -n $units ]]; then
    step "Compiling the unit tests" cargo test --locked --no-run "${packages[@]}"
    if [[ ${#names[@]} -eq 0 && -f gateway/web/package.json ]]; then npm --prefix gateway/web --silent test; fi
    # Without the lines about programs that have no test of such a name.
    cargo test --quiet --locked "${packages[@]}" -- "${names[@]}" |
        sed -E '/^$/d; /^running 0 tests$/d; /^test result: ok\. 0 passed/d; /^all doctests ran/d' ||
        die "a unit test failed" "above is why; alone: make test T=NAME"
    # Where threads share memory, every order of their steps up to a bound.
    if [[ ${#names[@]} -eq 0 ]]; then cargo test --quiet --locked -p nebula-core --features loom model; fi
fi
if [[ -n $extension ]]; then
    NEBULA_OTHER_TESTS=yes tests/run/extension.sh "${names[@]}"
fi
if [[ -n $stories ]]; then
    # With other kinds of tests, a NAME may be that of one of those.
    [[ $kind == all ]] || require_stories "${names[@]}"
    # Shared clusters are held by statics, which are never dropped, so this script removes their folders.
    scratch=$(mktemp -d /tmp/nebula-test.XXXXXX)
    trap 'stop_ticker; rm -rf "$scratch"' EXIT
    chmod 0755 "$scratch"
    kept=$scratch/secrets
    mkdir "$kept"
    NEBULA_SECRETS_FOLDER=$kept TMPDIR=$scratch PG_MAJOR=$pg_major cargo test --locked -p nebula-tests -- "${names[@]}" ||
        die "a story failed" "above is why; alone: make test-stories T=NAME"
    leaks=$(grep -rhE 'resource was not closed|(refcount|reference) leak' "$scratch" --include=server.log) || true
    if [[ -s $kept/secrets ]]; then
        sort -u "$kept/secrets" >"$kept/noted"
        # The shared servers, and the logs of what has ended.
        found=$(find "$scratch" -name '*.log' -exec grep -FHof "$kept/noted" {} + | cut -d: -f1 | sort | uniq -c) || true
        [[ -z $found ]] || die "logs of the stories hold secrets: $found" "compare them with $kept/noted (T=NAME keeps the run small)"
    fi
    [[ -z $leaks ]] || die "the extension did not release a resource of the server: $(head -n 1 <<<"$leaks")"
fi
