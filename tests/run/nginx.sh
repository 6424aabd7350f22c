#!/usr/bin/env bash
# nginx.sh: unpacks this release's nginx, which the benchmarks compare with. Nothing is installed: the package would start
# a server on port 80.
source "$(dirname "$0")/../../docker/lib.sh"

nginx=$cache/nginx
[[ ! -x $nginx/usr/sbin/nginx ]] || exit 0
"$repo/docker/packages.sh" libpcre2-8-0
work=$(mktemp -d)
trap 'stop_ticker; rm -rf "$work"' EXIT
debian_elsewhere "$work/apt" deb "$(debian_codename)"
cd "$work"
step "Fetching the package list of nginx" "${apt_elsewhere[@]}" update
step "Fetching nginx" "${apt_elsewhere[@]}" download nginx
dpkg -x nginx_*.deb "$work/root"
"$work/root/usr/sbin/nginx" -v 2>/dev/null || die "nginx cannot run here" "ldd $cache/nginx/usr/sbin/nginx names what is missing"
mkdir -p "$cache"
rm -rf "$nginx"
mv "$work/root" "$nginx"
