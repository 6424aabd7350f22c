#!/usr/bin/env bash
# prefix.sh NAME: target/postgresql/NAME, a private copy of the installed PostgreSQL for the extension to be
# installed into: no root needed, and two checkouts do not overwrite each other. Its files are relocatable.
source "$(dirname "$0")/lib.sh"

installed=/usr/lib/postgresql/$pg_major/bin/postgres
prefix=$repo/target/postgresql/$1
copy=$(pg_bin "$1")
[[ -x $installed ]] || die "PostgreSQL $pg_major is not installed" "run: make setup"

if ! cmp -s "$installed" "$copy/postgres" || [[ ! -d $prefix/usr/include ]]; then
    new=$prefix.new
    rm -rf "$new"
    mkdir -p "$new"/usr/{lib,share,include}/postgresql
    cp -a "/usr/lib/postgresql/$pg_major" "$new/usr/lib/postgresql/"
    cp -a "/usr/share/postgresql/$pg_major" "$new/usr/share/postgresql/"
    cp -a /usr/include/postgresql "$new/usr/include/"
    # An extension installed system-wide by an earlier release must not hide the one built here.
    rm -f "$new/usr/lib/postgresql/$pg_major/lib"/pg_nebula* "$new/usr/share/postgresql/$pg_major/extension"/pg_nebula*
    rm -rf "$prefix"
    mv "$new" "$prefix"
fi

# pgrx finds the PostgreSQL to build against here; the path changes when the checkout moves.
config="[configs]
pg$pg_major = \"$(pg_bin "$pg_major")/pg_config\""
if [[ $1 == "$pg_major" && $(cat "$PGRX_HOME/config.toml" 2>/dev/null) != "$config" ]]; then
    mkdir -p "$PGRX_HOME"
    printf '%s\n' "$config" >"$PGRX_HOME/config.toml"
fi
