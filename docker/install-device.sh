#!/bin/sh
# Makes this machine a device of the network. The gateway serves it at /install.sh, with its own address in it:
#
#   curl -fsSL SERVER/install.sh | sh -s -- CODE SHA256 [option of nebulactl join, such as --name NAME]
#
# It fetches nebulactl from the gateway and compares its checksum with that of the invitation, installs nebula from the
# system's packages, joins, and lets systemd run the agent; without systemd it says what is left to do. Each step looks at
# what is there first: after a failure the same command goes on where it stopped.
set -eu

server='@SERVER@'
arch='@ARCH@'
program=/usr/local/bin/nebulactl
work=

say() { printf '%s\n' "$*"; }

# die "what is wrong" "what to do about it"
die() {
    printf 'error: %s\n  help: %s\n' "$1" "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND…: sudo asks for its password on the terminal, since standard input is this script.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@" </dev/null; else sudo -- "$@" </dev/null; fi
}

check_machine() {
    [ "$(uname -s) $(uname -m)" = "Linux $arch" ] ||
        die "this gateway has nebulactl for Linux on $arch, and this is $(uname -s) on $(uname -m)" \
            "build nebulactl for this machine, then: nebulactl --server $server join --code CODE"
    [ "$(id -u)" -eq 0 ] || have sudo || die "this needs root, and there is no sudo here" "run the same command as root"
    have sha256sum || die "there is no sha256sum here" "install coreutils and run the same command again"
}

# make_work: makes a folder that programs may run from, which /tmp is not where it is mounted noexec.
make_work() {
    for parent in "${TMPDIR:-/tmp}" /var/tmp /run "${HOME:-/root}"; do
        work=$(mktemp -d "$parent/nebula.XXXXXX" 2>/dev/null) || continue
        printf '#!/bin/sh\n' >"$work/try"
        chmod 0755 "$work/try"
        if "$work/try" 2>/dev/null; then return; fi
        rm -rf "$work"
    done
    work=
    die "no folder for temporary files lets programs run" "name one: TMPDIR=FOLDER before sh"
}

# fetch URL FILE
fetch() {
    if have curl; then
        curl -fsSL --retry 3 -o "$2" "$1"
    elif have wget; then
        wget -q -O "$2" "$1"
    else
        die "there is neither curl nor wget here" "install one of them and run the same command again"
    fi
}

# Checks the program before anything on this machine is changed.
fetch_nebulactl() {
    is_wanted "$program" && return
    say "Fetching nebulactl from $server"
    fetch "$server/download/nebulactl" "$work/nebulactl" ||
        die "nebulactl could not be fetched from $server" "see that this machine reaches it, then run the same command again"
    is_wanted "$work/nebulactl" ||
        die "the nebulactl that $server sends is not the one of the invitation" \
            "ask for a new invitation, which names the present checksum; if that fails too, something on the way changes it"
    chmod 0755 "$work/nebulactl"
    reason=$("$work/nebulactl" --version 2>&1) ||
        die "nebulactl does not run on this system: $reason" \
            "it is built for the system of the gateway; build it here, then: nebulactl --server $server join --code CODE"
}

is_wanted() { [ -f "$1" ] && [ "$(sha256sum <"$1" | cut -d ' ' -f 1)" = "$sum" ]; }

install_nebula() {
    have nebula && return
    say "Installing nebula"
    if have apt-get; then
        packages env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends nebula ||
            { packages apt-get -q update && packages env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
                -o DPkg::Lock::Timeout=300 install --no-install-recommends nebula; } || nebula_failed
    elif have dnf; then
        packages dnf -y install nebula || nebula_failed
    elif have zypper; then
        packages zypper --non-interactive install nebula || nebula_failed
    elif have pacman; then
        packages pacman -S --noconfirm --needed nebula || nebula_failed
    else
        die "nebula is missing, and there is no package manager here that this script knows" \
            "install it from https://github.com/slackhq/nebula/releases, then run the same command again"
    fi
    have nebula || die "the package nebula has brought no program nebula" "install it by hand, then run the same command again"
}

packages() { as_root "$@" >"$work/log" 2>&1; }

nebula_failed() {
    tail -n 20 "$work/log" >&2
    die "nebula could not be installed from this system's packages" \
        "install it by hand (https://github.com/slackhq/nebula/releases), then run the same command again"
}

install_nebulactl() {
    is_wanted "$program" && return
    as_root install -D -m 0755 "$work/nebulactl" "$program.new"
    as_root mv -f "$program.new" "$program"
}

# The completions and manual pages of nebulactl; a device works without them.
install_help() {
    # shellcheck disable=SC2016
    as_root sh -c 'umask 022 && exec "$0" --quiet completions --share /usr/local/share' "$program" ||
        say "note: nebulactl has no completions and no manual pages here"
}

main() {
    [ $# -ge 2 ] || die "this needs the code and the checksum of an invitation" \
        "copy the whole command that nebulactl enrolment create prints"
    code=$1 sum=$2
    shift 2
    PATH=/usr/local/sbin:/usr/local/bin:$PATH:/usr/sbin:/sbin
    check_machine
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    make_work
    fetch_nebulactl
    install_nebula
    install_nebulactl
    install_help
    # In a file, because arguments are visible to every user of the machine.
    printf '%s\n' "$code" >"$work/code"
    if [ -d /run/systemd/system ]; then
        as_root "$program" --server "$server" join --code-file "$work/code" --install "$@"
    else
        as_root "$program" --server "$server" join --code-file "$work/code" "$@"
        say "systemd does not run on this machine. Let its own service manager run that command, as root, and start it again" \
            "whenever it ends. Then: nebulactl status"
    fi
}

# In a function that is called last, so that a script that arrives in part does nothing.
main "$@"
