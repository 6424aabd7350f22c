#!/usr/bin/env bash
# clean-data.sh: removes everything under .nebula/: database, files, keys, passwords.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/stack.sh"

find_home
if [[ ! -d $home || -z $(ls -A "$home") ]]; then
    rm -f "$repo/.nebula" 2>/dev/null || true
    say "Nothing to remove: there is no system under $shown."
    exit 0
fi
claim_home
[[ -z $(running) ]] || die "it is running: $(running | paste -sd ' ')" "run make down first"
size=$(du -sh "$home" | cut -f 1)
[[ ! -d $home/device ]] || as_root rm -rf "$home/device"
rm -rf "$home"
[[ ! -L $shown ]] || rm -f "$shown"
say "Removed $home ($size): database, files, certificate authority and passwords."
