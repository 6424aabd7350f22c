#!/usr/bin/env bash
# setup.sh [extension|test|lint]: installs what is missing to build (to test the extension, to test everything, to lint).
source "$(dirname "$0")/lib.sh"
refuse_sudo
alone setup

packages=(
    build-essential ca-certificates clang iproute2 libclang-dev libssl-dev pkg-config
    libavcodec-dev libavfilter-dev libavformat-dev libavutil-dev libswresample-dev libswscale-dev
)
case ${1:-} in
test)
    packages+=(
        chromium ffmpeg iptables iputils-ping nebula nftables pgbouncer softhsm2 syncthing systemd wireguard-go wireguard-tools
    )
    ;;
lint) packages+=(shellcheck) ;;
esac
have node || packages+=(nodejs npm)
"$repo/docker/packages.sh" "${packages[@]}"
if [[ -n $(apt-cache show "postgresql-server-dev-$pg_major" 2>/dev/null) ]]; then
    "$repo/docker/packages.sh" "postgresql-$pg_major" "postgresql-server-dev-$pg_major"
elif [[ ${1:-} == extension || ${1:-} == test ]]; then
    "$repo/tests/run/postgresql.sh"
elif [[ ! -x /usr/lib/postgresql/$pg_major/bin/postgres ]]; then
    die "this machine's package sources have no PostgreSQL $pg_major" "set PG_MAJOR to a version that they have"
fi

node=$(node --version)
node=${node#v}
[[ ${node%%.*} -ge 18 ]] || die "node $node is too old for the web console, which needs 18 or newer" "remove it and run this again: Debian's own is taken then"
have npm || "$repo/docker/packages.sh" npm

rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repo/Cargo.toml")
have cargo || die "there is no Rust toolchain here" "install Rust $rust or newer from https://rustup.rs, and see that cargo is on PATH"
found=$(rustc --version | cut -d ' ' -f 2)
[[ $(printf '%s\n' "$rust" "$found" | sort -V | head -n 1) == "$rust" ]] ||
    die "Rust $found is too old, this needs $rust" "run: rustup update stable"

# cargo-pgrx reads data that the pgrx library writes, so both must have the same version.
pgrx=$(sed -n '/^name = "pgrx"$/{n;s/version = "\(.*\)"/\1/p}' "$repo/Cargo.lock")
if [[ $(cargo-pgrx pgrx --version 2>/dev/null) != *" $pgrx" ]]; then
    # In a folder that stays when this is interrupted, so that the next run goes on from there; cargo's own is a new one in
    # /tmp each time, and it remains.
    step "Building cargo-pgrx $pgrx" cargo install cargo-pgrx --version "=$pgrx" --locked --debug --force --root "$tools" \
        --target-dir "$repo/target/cargo-pgrx"
    rm -rf "$repo/target/cargo-pgrx"
fi
"$repo/docker/prefix.sh" "$pg_major"
if [[ ${1:-} == test ]]; then
    "$repo/docker/prefix.sh" "$pg_major-test"
    "$repo/tests/run/nebula.sh"
    "$repo/tests/run/openapi.sh"
fi
