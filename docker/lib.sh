# shellcheck shell=bash
# Shared by the scripts in docker/ and tests/run/. Source it first.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# The major version of PostgreSQL; without PG_MAJOR, the default feature of the extension.
pg_major=${PG_MAJOR:-$(sed -nE 's/^default = \[.*"pg([0-9]+)".*/\1/p' "$repo/pg_nebula/Cargo.toml")}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pg_nebula
tools=$cache/tools
export PGRX_HOME=$repo/target/pgrx
export PATH=$tools/bin:$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*"; }

# Every failure is explained; status 3 means that `die` has done so already.
set -E
trap '[[ $? -eq 3 ]] || printf "error: %s line %s: %s\n" "$0" "$LINENO" "$BASH_COMMAND" >&2' ERR

# die "what is wrong" ["what to do about it"]
die() {
    printf 'error: %s\n' "$1" >&2
    [[ $# -lt 2 ]] || printf '  help: %s\n' "$2" >&2
    exit 3
}

have() { command -v "$1" >/dev/null 2>&1; }

# require_stories NAME…: fails unless each NAME is part of the path of a story. Beside another NAME, one that matches nothing
# would pass unnoticed. The stories must have been compiled.
require_stories() {
    local list name
    list=$(cargo test --quiet --locked -p nebula-tests -- --list 2>/dev/null)
    for name in "$@"; do
        [[ $list == *"$name"* ]] || die "no story has '$name' in its path" "list them: cargo test -p nebula-tests -- --list"
    done
}

# build_for_stories: what the stories run, and the stories themselves; the console first.
build_for_stories() {
    "$repo/docker/extension.sh" dev
    step "Building for the tests" cargo build --locked -p nebula-gateway -p nebula-worker -p nebulactl
    step "Compiling the stories" cargo test --locked --no-run -p nebula-tests
}

# write_changed FILE TEXT: writes FILE unless it has this TEXT already; cargo compiles again what reads a newer file.
write_changed() {
    [[ $(cat "$1" 2>/dev/null) == "$2" ]] || printf '%s\n' "$2" >"$1"
}

# pg_bin NAME: the bin folder of the private PostgreSQL target/postgresql/NAME.
pg_bin() { printf '%s' "$repo/target/postgresql/$1/usr/lib/postgresql/$pg_major/bin"; }

# as_root COMMAND…: runs COMMAND, through sudo when needed; without sudo, prints the command for the user.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif have sudo; then
        sudo -- "$@"
    else
        die "this needs root, and there is no sudo here" "as root, run: $*"
    fi
}

# refuse_sudo: fails where `sudo make` would leave files of root among those of a user, who could not build or start after that.
refuse_sudo() {
    [[ $EUID -ne 0 || -z ${SUDO_USER:-} || $SUDO_USER == root || ! -e $repo/target ||
        $(stat -c %U "$repo/target") != "$SUDO_USER" ]] ||
        die "$repo was built by $SUDO_USER, and this runs as root" \
            "run it without sudo: make up asks for the password itself where it needs root"
}

# shellcheck disable=SC2034 # used with debian_mirror
debian_keys=/usr/share/keyrings/debian-archive-keyring.gpg

# debian_codename, debian_mirror: of this machine; apt reads either format of package sources.
debian_codename() (. /etc/os-release && printf '%s' "$VERSION_CODENAME")
debian_mirror() {
    local found
    # shellcheck disable=SC2016 # apt's own placeholder
    found=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Release: $(debian_codename)" 'Component: main' | head -n 1)
    [[ -n $found ]] || die "no Debian mirror for $(debian_codename) in /etc/apt" "add one to /etc/apt/sources.list"
    printf '%s' "$found"
}

# debian_sources: package source lines of this machine's release, with updates and security fixes.
debian_sources() {
    # shellcheck disable=SC2016 # apt's own placeholders
    apt-get indextargets --format 'deb $(SITE) $(RELEASE) main' 'Created-By: Packages' 'Component: main' |
        grep " $(debian_codename)" | sort -u
}

# debian_elsewhere FOLDER deb|deb-src RELEASE…: prepares apt for other releases of Debian, with its files in FOLDER; the
# command is in `apt_elsewhere`. The machine's own package sources are not touched.
debian_elsewhere() {
    local folder=$1 kind=$2 release
    shift 2
    mkdir -p "$folder"/{lists,cache/archives}/partial
    for release in "$@"; do
        echo "$kind [signed-by=$debian_keys] $(debian_mirror) $release main"
    done >"$folder/sources.list"
    # shellcheck disable=SC2034 # for the caller
    apt_elsewhere=(apt-get -q -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$folder/lists" -o Dir::Cache="$folder/cache" -o Acquire::Languages=none)
    [[ $EUID -ne 0 ]] || apt_elsewhere+=(-o APT::Sandbox::User=root)
}

# pause SECONDS: without a child process that could outlive this script.
exec {never}<> <(:)
pause() { read -rt "$1" -u "$never" _ || true; }

ticker=
# Ends the ticker of `step`.
stop_ticker() {
    [[ -z $ticker ]] || kill "$ticker" 2>/dev/null || true
    ticker=
}
trap stop_ticker EXIT

# step "Doing this" COMMAND…: prints nothing for a short command, otherwise the title and, every half minute, the last
# line of its log; on failure the end of the log. COMMAND must be a program, because errexit is off inside functions.
step() {
    local title=$1 begin=$SECONDS log
    shift
    mkdir -p "$repo/target/log"
    log=$repo/target/log/$(tr -cs '[:alnum:]' - <<<"${title,,}" | sed 's/-*$//').log
    : >"$log"
    # Ends when its parent is gone, because it would hold the parent's locks.
    for ((second = 1; ; second++)); do
        pause 1
        kill -0 $$ 2>/dev/null || exit 0
        if [[ $second -eq 2 ]]; then
            say "==> $title"
        elif [[ $((second % 30)) -eq 0 ]]; then
            say "    $second s: $(tail -n 1 "$log" | cut -c 1-100)"
        fi
    done &
    ticker=$!
    if "$@" >"$log" 2>&1; then
        stop_ticker
        [[ $((SECONDS - begin)) -lt 3 ]] || say "    done in $((SECONDS - begin)) s"
    else
        stop_ticker
        tail -n 40 "$log" >&2
        die "$title: failed" "the whole log is $log"
    fi
}

# alone NAME: takes a lock until the script ends, so that two runs do not install or copy the same thing.
alone() {
    local lock
    mkdir -p "$repo/target"
    exec {lock}>"$repo/target/.$1.lock"
    flock "$lock"
}
