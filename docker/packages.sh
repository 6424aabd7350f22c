#!/usr/bin/env bash
# packages.sh NAME…: installs the Debian packages that are missing; prints nothing when none is.
source "$(dirname "$0")/lib.sh"

missing=()
for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

have apt-get || die "these packages are missing: ${missing[*]}" "install their like with this system's package manager"
if [[ $EUID -ne 0 ]] && ! have sudo; then
    die "these packages are missing: ${missing[*]}" "as root, run: apt-get update && apt-get install -y ${missing[*]}"
fi
# sudo asks for the password here, because the steps below write to logs.
[[ $EUID -eq 0 ]] || sudo -v || die "sudo refused" "as root, run: apt-get install -y ${missing[*]}"

apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
root=()
[[ $EUID -eq 0 ]] || root=(sudo --)
step "Fetching package lists" "${root[@]}" "${apt[@]}" update

# Keeps Debian from creating and starting a cluster when PostgreSQL is installed.
conf=/etc/postgresql-common/createcluster.d/pg_nebula.conf
if [[ " ${missing[*]} " == *" postgresql-$pg_major "* && ! -d /etc/postgresql/$pg_major ]]; then
    step "Installing postgresql-common" "${root[@]}" "${apt[@]}" install --no-install-recommends postgresql-common
    as_root install -D -m 0644 /dev/stdin "$conf" <<<'create_main_cluster = false'
    trap 'stop_ticker; as_root rm -f "$conf"' EXIT
fi
step "Installing packages" "${root[@]}" "${apt[@]}" install --no-install-recommends "${missing[@]}"
