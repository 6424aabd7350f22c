#!/usr/bin/env bash
# upgrade.sh FOLDER: writes pg_nebula--OLD--NEW.sql into FOLDER for every OLD of sql/release, from the install script
# pg_nebula--NEW.sql there. An update runs the steps in sql/upgrade/, which alter tables and drop functions that are
# gone or have another signature, and then the install script in a repeatable form: it replaces functions, views,
# triggers and comments, and creates missing tables and indexes. Composite types are arguments of functions only. They
# are dropped and created again, after the steps in sql/upgrade/ have dropped the functions that take them; without
# CASCADE, so that the update fails instead of dropping a column or view of a user.
source "$(dirname "$0")/lib.sh"

folder=$1
new=$(sed -nE "s/^default_version = '(.*)'/\1/p" "$folder/pg_nebula.control")
install=$folder/pg_nebula--$new.sql
[[ -f $install ]] || die "$install is missing" "run: docker/extension.sh dev"

repeatable=$(sed -E '
    s/^CREATE +(FUNCTION|VIEW|TRIGGER) /CREATE OR REPLACE \1 /
    s/^CREATE (TABLE|UNLOGGED TABLE|INDEX|UNIQUE INDEX|SEQUENCE|MATERIALIZED VIEW) /CREATE \1 IF NOT EXISTS /
    s/^CREATE TYPE ([a-z_.]+) /DROP TYPE IF EXISTS \1;\n&/' "$install")
unknown=$(grep -E '^CREATE ' <<<"$repeatable" | grep -vE '^CREATE (OR REPLACE|TYPE|(TABLE|UNLOGGED TABLE|INDEX|UNIQUE INDEX|SEQUENCE|MATERIALIZED VIEW) IF NOT EXISTS) ' | head -n 1) || true
[[ -z $unknown ]] || die "the install script has a statement that cannot be run twice: $unknown" "add a repeatable form to docker/upgrade.sh"

# steps FOLDER OLD: prints the steps in FOLDER from release OLD on.
steps() {
    printf '%s\n' "$1"/pg_nebula--*.sql | sort -V | while read -r step; do
        from=${step##*/pg_nebula--}
        from=${from%--*}
        if [[ $(printf '%s\n' "$2" "$from" | sort -V | head -n 1) == "$2" ]]; then cat "$step"; fi
    done
}

for release in "$repo"/sql/release/pg_nebula--*.sql; do
    old=${release##*--}
    old=${old%.sql}
    [[ $old != "$new" ]] || continue
    {
        printf '\\echo Use "ALTER EXTENSION pg_nebula UPDATE" to load this file. \\quit\n'
        steps "$repo/sql/upgrade" "$old"
        printf '%s\n' "$repeatable"
        steps "$repo/sql/upgrade/after" "$old"
    } >"$folder/pg_nebula--$old--$new.sql"
done
