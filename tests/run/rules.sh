#!/usr/bin/env bash
# rules.sh: rules of this project that the compiler does not check: no imports in circles or upwards, unsafe code only
# where C interfaces are wrapped, comments that are sentences, SQL that fits a terminal.
source "$(dirname "$0")/../../docker/lib.sh"
cd "$repo"

tests/run/circles.py || die "modules import each other in a circle, or a layer above theirs" "move what they share into a module below both"

tests/run/cases.py check

# The server's C interfaces and shared memory, and ffmpeg's.
unsafe_places='^(pg_nebula/src/(pg|direct)(/|\.rs$)
pg_nebula/src/(free_map|notify)/shared\.rs$
worker/src/media/ffi\.rs$)'
found=$(git grep -lE '\bunsafe_code\b' -- '*.rs' | grep -vE "${unsafe_places//$'\n'/|}") || true
[[ -z $found ]] || die "unsafe code in ${found//$'\n'/, }" "wrap the C interface in pg_nebula/src/pg/ and call that"

# A comment that begins with "Who" or "What" has no subject that a reader could look up. The few that are allowed are help
# texts of options.
comments_limit=6
comments=$(git grep -nE '^\s*(//[/!]?|--|#) (Who|Whoever|What|Whatever)\b' -- '*.rs' '*.sql' '*.sh' '*.py' '*.ts' '*.vue' ':!sql/release') || true
count=$(grep -c . <<<"$comments") || true
if [[ $count -gt $comments_limit ]]; then
    printf '%s\n' "$comments" >&2
    die "$count comments begin with Who or What, $comments_limit are allowed" "name the thing that the sentence is about"
fi

# shellcheck disable=SC2016 # awk's own variables
wide=$(git ls-files -- 'sql/*.sql' ':!sql/release' | xargs awk 'length($0) > 120 { print FILENAME ":" FNR }')
[[ -z $wide ]] || die "wider than 120 columns: ${wide//$'\n'/, }" "one clause a line: sql/README.md"
found=$(git grep -l '#variable_conflict' -- 'sql/*.sql' ':!sql/release') || true
[[ -z $found ]] || die "#variable_conflict in ${found//$'\n'/, }" "prefix variables with v_ or p_: sql/README.md"
