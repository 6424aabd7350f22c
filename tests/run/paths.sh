#!/usr/bin/env bash
# paths.sh [PLACE…]: the set-up steps of `make up` and `make test` in clones that are in unusual places: below /tmp, below
# /root, in a path with a blank and an umlaut; as root and as a user with sudo; twice in a row, each beside a system that
# runs already. What is compiled is taken from this checkout's target/, as `make test` has left it there. It needs root, and
# prints one line a case.
source "$(dirname "$0")/../../docker/lib.sh"

[[ $EUID -eq 0 ]] || die "this needs root, because it makes clones below /root and a user" "run: sudo tests/run/paths.sh"
for file in debug/{nebula-gateway,nebula-worker,nebulactl} "postgresql/$pg_major-test/usr/share/postgresql/$pg_major/extension/pg_nebula.control"; do
    [[ -e $repo/target/$file ]] || die "target/$file is missing" "run: make test"
done

work=$(mktemp -d)
user=nebula-paths-$$
clones=()
finish() {
    local clone
    stop_ticker
    for clone in "${clones[@]}"; do
        (cd "$clone" && as "$(stat -c %U "$clone")" make down clean-data) >/dev/null 2>&1 || true
        rm -rf "$clone"
        rmdir "$(dirname "$clone")" 2>/dev/null || true
    done
    rm -rf "$work" "/etc/sudoers.d/$user"
    ! getent passwd "$user" >/dev/null || userdel --remove "$user" 2>/dev/null || true
}
trap finish EXIT

# as USER COMMAND…: the tools of this user are at hand, wherever they are installed.
as() {
    local name=$1
    shift
    if [[ $name == root ]]; then
        "$@"
    else
        sudo -u "$name" -- env HOME="/home/$name" XDG_CACHE_HOME="$work/cache" CARGO_HOME="$work/cargo" \
            PATH="$work/tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
    fi
}

# free_port: below the range from which the kernel takes ports of outgoing connections, which `ss -l` does not show.
free_port() {
    local port
    until port=$((RANDOM % 12000 + 20000)) && [[ -z $(ss -Hltn "sport = :$port") ]]; do :; done
    printf '%s' "$port"
}

make_user() {
    have sudo || "$repo/docker/packages.sh" sudo
    useradd --create-home --shell /bin/bash "$user"
    printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$user" >"/etc/sudoers.d/$user"
    chmod 0440 "/etc/sudoers.d/$user"
    # Another user cannot enter /root: the toolchain, which only answers for its version here, stands in its place.
    mkdir -p "$work/tools" "$work/cache/pg_nebula" "$work/cargo"
    # shellcheck disable=SC2016 # expanded by that script
    printf '#!/bin/sh\n[ "$1" = --version ] || exit 1\necho "rustc %s"\n' \
        "$(rustc --version | cut -d ' ' -f 2)" >"$work/tools/rustc"
    printf '#!/bin/sh\nexit 1\n' >"$work/tools/cargo"
    printf '#!/bin/sh\necho "cargo-pgrx %s"\n' "$(sed -n '/^name = "pgrx"$/{n;s/version = "\(.*\)"/\1/p}' "$repo/Cargo.lock")" \
        >"$work/tools/cargo-pgrx"
    chmod 0755 "$work" "$work/tools"/*
    cp -a "$cache/nebula-1.11" "$work/cache/pg_nebula/"
    chown -R "$user:" "$work/cache" "$work/cargo"
}

# clone USER PLACE: the tracked files, and what a build would make.
clone() {
    local owner=$1 place=$2
    [[ ! -e $place ]] || die "$place exists already" "remove it"
    mkdir -p "$place/target/release"
    clones+=("$place")
    git -C "$repo" ls-files -z | tar -C "$repo" --null -T - -cf - | tar -C "$place" -xf -
    cp --reflink=auto "$repo"/target/debug/{nebula-gateway,nebula-worker,nebulactl} "$place/target/release/"
    mkdir -p "$place/target/postgresql"
    cp -a "$repo/target/postgresql/$pg_major-test" "$place/target/postgresql/$pg_major"
    chown -R --no-dereference "$owner:" "$place"
}

# case USER PLACE: every set-up step, then the system up twice, asked, and down.
try() {
    local owner=$1 place=$2 begin=$SECONDS
    local settings=(NEBULA_LISTEN="127.0.0.1:$(free_port)" NEBULA_PG_PORT="$(free_port)")
    clone "$owner" "$place"
    cd "$place"
    local run
    for run in first second; do
        as "$owner" docker/setup.sh test >"$work/log" 2>&1 || failed "setup.sh test ($run)"
        as "$owner" env "${settings[@]}" docker/up.sh >"$work/log" 2>&1 || failed "up.sh ($run)"
        # shellcheck disable=SC2016 # expanded there
        as "$owner" bash -c 'eval "$(make env)"; nebulactl ping' >"$work/log" 2>&1 || failed "make env ($run)"
        grep -q '^Pong' "$work/log" || failed "nebulactl ping ($run)"
    done
    as "$owner" bash -c 'echo "SELECT count(*) FROM nebula.project" | make --no-print-directory psql' >"$work/log" 2>&1 || failed "make psql"
    refuses_settings
    if [[ $owner != root ]]; then
        ! SUDO_USER=$owner docker/up.sh >"$work/log" 2>&1 || failed "sudo up.sh, which is to be refused,"
        grep -q 'run it without sudo' "$work/log" || failed "the refusal of sudo up.sh"
    fi
    cd /
    printf '%-8s %-40s ok, %s s\n' "${owner/$user/sudo user}" "$place" $((SECONDS - begin))
}

# refuses_settings: a setting that cannot be is named, and the gateway that runs goes on. In `try`.
refuses_settings() {
    local gateway wrong
    gateway=$(cat .nebula/run/gateway.pid)
    for wrong in NEBULA_LISTEN='*:8080' NEBULA_LISTEN=127.0.0.1:99999 LIGHTHOUSE=1.2.3 LIGHTHOUSE=ip6-localhost; do
        ! as "$owner" env "${settings[@]}" "$wrong" docker/up.sh >"$work/log" 2>&1 || failed "$wrong, which is to be refused,"
        grep -q "${wrong%%=*}\|lighthouse" "$work/log" || failed "the refusal of $wrong"
    done
    for wrong in 'export NEBULA_MAX_UPLOAD=1' 'NEBULA_MAX_UPLOAD = 1' 'NEBULA_MAX_UPLOADS=1' 'NEBULA_LISTEN=127.0.0.1:80' \
        'NEBULA_CERTIFICATE_DAYS=7 # a week' 'NEBULA_PUBLIC_URL=http://0.0.0.0:8080'; do
        as "$owner" tee .nebula/env >/dev/null <<<"$wrong"
        ! as "$owner" env "${settings[@]}" docker/up.sh >"$work/log" 2>&1 || failed "the line $wrong, which is to be refused,"
        grep -q '/env' "$work/log" || failed "the refusal of $wrong"
    done
    as "$owner" rm .nebula/env
    [[ $(cat .nebula/run/gateway.pid) == "$gateway" ]] || failed "leaving the gateway alone"
}

failed() {
    tail -n 30 "$work/log" >&2
    die "$place, as $owner: $1 failed" "try it there: the clone is removed when this script ends"
}

make_user
# Systems of earlier cases run on, so that each but the first starts beside another.
try root "/tmp/nebula paths $$/Über uns"
try root "/root/nebula-paths-$$/clone"
try root "/tmp/nebula-paths-$$"
try "$user" "/home/$user/clone with a blank"
try "$user" "/tmp/nebula-paths-$$-user"
