#!/usr/bin/env bash
# prefix.sh NAME: target/postgresql/NAME, a private copy of PostgreSQL for the extension to be installed into: no root
# needed, and two checkouts do not overwrite each other. The copy is of the installed PostgreSQL, or of the one that
# tests/run/postgresql.sh has made. Its files are relocatable.
source "$(dirname "$0")/lib.sh"

prefix=$repo/target/postgresql/$1
copy=$(pg_bin "$1")
origin=
[[ -x /usr/lib/postgresql/$pg_major/bin/pg_config ]] || origin=$cache/postgresql-$pg_major
[[ -x $origin/usr/lib/postgresql/$pg_major/bin/postgres ]] ||
    die "there is no PostgreSQL $pg_major" "run: PG_MAJOR=$pg_major make setup-test"

if ! cmp -s "$origin/usr/lib/postgresql/$pg_major/bin/postgres" "$copy/postgres" || [[ ! -x $copy/pg_config ]]; then
    new=$prefix.new
    rm -rf "$new"
    if [[ -n $origin ]]; then
        mkdir -p "$new"
        cp -a "$origin/usr" "$new/"
    else
        mkdir -p "$new"/usr/{lib,share,include}/postgresql
        cp -a "/usr/lib/postgresql/$pg_major" "$new/usr/lib/postgresql/"
        cp -a "/usr/share/postgresql/$pg_major" "$new/usr/share/postgresql/"
        cp -a /usr/include/postgresql "$new/usr/include/"
    fi
    # An extension installed system-wide by an earlier release must not hide the one built here.
    rm -f "$new/usr/lib/postgresql/$pg_major/lib"/pg_nebula* "$new/usr/share/postgresql/$pg_major/extension"/pg_nebula*
    rm -rf "$prefix"
    mv "$new" "$prefix"
fi

# pgrx finds the PostgreSQL of each version to build against here; the paths change when the checkout moves.
config='[configs]'
for folder in "$repo"/target/postgresql/*/; do
    version=$(basename "$folder")
    [[ $version == *[!0-9]* ]] || config+=$'\n'"pg$version = \"${folder}usr/lib/postgresql/$version/bin/pg_config\""
done
mkdir -p "$PGRX_HOME"
write_changed "$PGRX_HOME/config.toml" "$config"
