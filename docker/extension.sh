#!/usr/bin/env bash
# extension.sh release|dev: builds pg_nebula and installs it into its private PostgreSQL.
source "$(dirname "$0")/lib.sh"
alone "extension-$1-$pg_major"

case $1 in
release) prefix=$pg_major flags=(--release) ;;
dev) prefix=$pg_major-test flags=() ;;
*) die "usage: extension.sh release|dev" ;;
esac
cargo pgrx --version >/dev/null 2>&1 || die "cargo-pgrx is not installed" "run: make setup"
# pgrx compiles against $pg_major, whichever prefix the extension is installed into.
"$repo/docker/prefix.sh" "$pg_major"
[[ $prefix == "$pg_major" ]] || "$repo/docker/prefix.sh" "$prefix"
folder=$repo/target/postgresql/$prefix/usr/share/postgresql/$pg_major/extension
stamp=$repo/target/.extension-$1-$pg_major

# cargo pgrx always writes the install script, which takes seconds even without a change, so it runs only when a source
# file is newer than the stamp. An installation by another program is newer than the stamp, too.
cd "$repo"
if [[ -f $folder/pg_nebula.control && -f $stamp && ! $folder/pg_nebula.control -nt $stamp ]] &&
    [[ -z $(find pg_nebula sql docker/upgrade.sh Cargo.toml Cargo.lock .cargo -newer "$stamp" -print -quit) ]]; then
    exit 0
fi
rm -f "$folder"/pg_nebula* # a script removed from sql/ must not live on here
touch "$stamp.new"         # as of the start: a file saved while building counts as newer
step "Building the extension ($1)" \
    cargo pgrx install -p pg_nebula --pg-config "$(pg_bin "$prefix")/pg_config" "${flags[@]}"
step "Writing the update scripts" "$repo/docker/upgrade.sh" "$folder"
touch -r "$stamp.new" "$folder/pg_nebula.control"
mv "$stamp.new" "$stamp"
