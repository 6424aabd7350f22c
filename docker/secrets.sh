#!/usr/bin/env bash
# secrets.sh FOLDER [MODE]: makes the random secrets that are missing, one file each. Also read from standard input
# by users who cannot reach this file, so it stands alone.
set -euo pipefail
umask 077
folder=$1 mode=${2:-0600}
mkdir -p "$folder"
chmod 0700 "$folder"
cd "$folder"

# keep NAME COMMAND…: what the command prints becomes the secret, unless there is one.
keep() {
    local name=$1
    shift
    [[ ! -s $name ]] || return 0
    "$@" >"$name.new"
    chmod "$mode" "$name.new"
    mv -f "$name.new" "$name"
}
random_hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
# To be typed by a person: 100 bits, without letters that look like digits.
random_words() { head -c 2000 /dev/urandom | tr -dc a-km-np-z2-9 | cut -c 1-20 | sed 's/...../&-/g; s/-$//' | tr -d '\n'; }

for role in admin gateway worker; do
    keep "${role}_database_password" random_hex 24
done
keep token_key random_hex 48
keep admin_password random_words
