#!/usr/bin/env bash
# nebula.sh: unpacks nebula 1.11 from Debian's development branch beside the system's 1.6, for the tests only.
# Nothing is installed and the machine's package sources stay as they are.
source "$(dirname "$0")/../../docker/lib.sh"

nebula_tests=$cache/nebula-1.11
[[ ! -x $nebula_tests/usr/bin/nebula ]] || exit 0
work=$(mktemp -d)
trap 'stop_ticker; rm -rf "$work"' EXIT
debian_elsewhere "$work/apt" deb unstable
cd "$work"
step "Fetching the package list of Debian's development branch" "${apt_elsewhere[@]}" update
step "Fetching nebula for the tests" "${apt_elsewhere[@]}" download nebula
dpkg -x nebula_*.deb "$work/root"
version=$("$work/root/usr/bin/nebula" -version | sed 's/.* //')
[[ $version == 1.11* ]] || say "Debian has nebula $version now; the tests take it in the place of 1.11."
mkdir -p "$(dirname "$nebula_tests")"
rm -rf "$nebula_tests"
mv "$work/root" "$nebula_tests"
