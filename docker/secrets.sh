#!/usr/bin/env bash
# secrets.sh FOLDER [MODE]: creates the missing random secrets, one file each. Users who cannot read this file run it
# from standard input, so it sources no other file.
set -euo pipefail
umask 077
folder=$1 mode=${2:-0600}
mkdir -p "$folder"
chmod 0700 "$folder"
cd "$folder"

# keep NAME COMMAND…: stores the output of COMMAND as the secret, unless there is one.
keep() {
    local name=$1
    shift
    [[ ! -s $name ]] || return 0
    "$@" >"$name.new"
    chmod "$mode" "$name.new"
    mv -f "$name.new" "$name"
}
random_hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
# For typing: 100 bits, without letters that look like digits.
random_words() { head -c 2000 /dev/urandom | tr -dc a-km-np-z2-9 | cut -c 1-20 | sed 's/...../&-/g; s/-$//' | tr -d '\n'; }

for role in admin gateway worker; do
    keep "${role}_database_password" random_hex 24
done
keep token_key random_hex 48
keep admin_password random_words
