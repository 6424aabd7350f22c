# shellcheck shell=bash
# The running system under .nebula/: its folder, its user, its processes. Source after lib.sh.

# shellcheck disable=SC2034,SC2154 # lib.sh sets some of these, up.sh and the like use the others

# The folder of the state: .nebula may be a link, see find_home.
home=
# Prefix that runs a command as the user of the services; empty when that is the current user.
become=()
# Services in the order of stopping.
services=(worker gateway agent postgres)

# find_home: sets `home`, and `shown`, the name for messages.
find_home() {
    shown=${NEBULA_HOME:-$repo/.nebula}
    [[ $shown == /* ]] || shown=$PWD/$shown
    home=$(readlink -m "$shown")
    if [[ $EUID -eq 0 ]]; then
        become=(setpriv --reuid=pg_nebula --regid=pg_nebula --init-groups --)
    fi
}

# make_home: creates the folder. PostgreSQL refuses to run as root, so root creates a user for it; if that user cannot
# read the checkout (a clone in /root), the state is in /var/lib and .nebula is a link.
make_home() {
    find_home
    mkdir -p "$(dirname "$shown")"
    if [[ $EUID -eq 0 ]]; then
        getent passwd pg_nebula >/dev/null ||
            useradd --system --user-group --home-dir /var/lib/pg_nebula --no-create-home --shell /usr/sbin/nologin pg_nebula
        if [[ ! -e $home ]] && ! "${become[@]}" test -x "$(dirname "$shown")"; then
            if [[ ! -L $shown ]]; then
                ln -s "/var/lib/pg_nebula/$(basename "$(dirname "$shown")")-$(sha256sum <<<"$shown" | cut -c 1-8)" "$shown"
            fi
            find_home
            install -d -m 0755 "$home"
            say "The user pg_nebula cannot reach $(dirname "$shown"), so $shown is a link to $home."
        fi
    fi
}

# require_home: fails when there is no system yet.
require_home() {
    find_home
    [[ -f $home/settings ]] || die "there is no system under $shown yet" "run: make up"
    load_settings
}

# claim_home: locks the folder until this process ends, or fails naming the process that has it.
claim_home() {
    local owner
    if [[ -d $home && ! -f $home/checkout && -n $(ls -A "$home") ]]; then
        die "$home exists and was not made by make up" "empty it, or choose another folder: NEBULA_HOME=… make up"
    fi
    [[ ! -e $home || -d $home ]] || die "$home is not a folder" "choose another one: NEBULA_HOME=… make up"
    mkdir -p "$home" 2>/dev/null || die "cannot make $home" "choose another folder: NEBULA_HOME=… make up"
    owner=$(cat "$home/checkout" 2>/dev/null || true)
    if [[ -n $owner && $owner != "$repo" && -f $owner/docker/stack.sh && -n $(running) ]]; then
        die "$home is in use by the checkout $owner" "run make down there, or choose another folder: NEBULA_HOME=… make up"
    fi
    [[ $owner == "$repo" ]] || write "$home/checkout" <<<"$repo"
    exec {home_lock}>"$home/lock"
    if ! flock -n "$home_lock"; then
        say "==> Waiting for another make that is starting or stopping $shown"
        flock -w 600 "$home_lock" || die "another make has been at $shown for ten minutes" "end it and run this again"
    fi
}

# write FILE: replaces FILE with standard input in one step.
write() {
    cat >"$1.new"
    mv -f "$1.new" "$1"
}

# load_settings: takes address and ports from the environment, or from the last start.
load_settings() {
    local wanted_listen=${NEBULA_LISTEN:-${PORT:+127.0.0.1:$PORT}} wanted_pg_port=${NEBULA_PG_PORT:-}
    listen=127.0.0.1:8080 pg_port=54329 lighthouse=
    # shellcheck source=/dev/null
    [[ ! -f $home/settings ]] || source "$home/settings"
    listen_before=$listen
    listen=${wanted_listen:-$listen} pg_port=${wanted_pg_port:-$pg_port}
    # Several with commas. The file of settings is run, so nothing else may be in it.
    [[ $listen =~ ^[][A-Za-z0-9.:_-]+:[1-9][0-9]{0,4}(,[][0-9A-Fa-f.:]+:[1-9][0-9]{0,4})*$ ]] ||
        die "NEBULA_LISTEN is '$listen', not address:port" "for example NEBULA_LISTEN=0.0.0.0:8080"
    [[ $pg_port =~ ^[1-9][0-9]{0,4}$ && $pg_port -lt 65536 ]] || die "NEBULA_PG_PORT is '$pg_port', not a port number"
    local first=${listen%%,*}
    listen_host=${first%:*} listen_port=${first##*:}
    case $listen_host in
    0.0.0.0 | '[::]') server=http://127.0.0.1:$listen_port ;;
    *) server=http://$first ;;
    esac
    postgres_bin=$home/postgresql/usr/lib/postgresql/$pg_major/bin
}

secret() { printf '%s/secrets/%s' "$home" "$1"; }

# database_url ROLE: URL with the password of the role admin, gateway or worker.
database_url() {
    printf 'postgresql://nebula_%s:%s@127.0.0.1:%s/nebula' "$1" "$(cat "$(secret "$1_database_password")")" "$pg_port"
}

# start_time PID: in clock ticks since boot; pid and start time together identify a process uniquely.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The second field is the program's name and may contain spaces, so fields are counted from its closing bracket.
    read -ra stat <<<"${stat##*) }"
    printf '%s' "${stat[19]}"
}

# pid_of SERVICE: its pid when it runs; a pid that another process has now does not count.
pid_of() {
    local pid start
    read -r pid start 2>/dev/null <"$home/run/$1.pid" || return 1
    [[ -n $start && $(start_time "$pid") == "$start" ]] || return 1
    # The agent of root does not show its program to another user.
    [[ $(readlink "/proc/$pid/exe") == "$home"/* || $1 == agent && $EUID -ne 0 ]] || return 1
    printf '%s' "$pid"
}

# running: the running services in the order of stopping.
running() {
    local service
    for service in "${services[@]}"; do
        ! pid_of "$service" >/dev/null || printf '%s\n' "$service"
    done
}

# stop SERVICE SIGNAL SECONDS: sends SIGNAL, waits, and kills the service if it has not ended.
stop() {
    local pid end=$((SECONDS + $3))
    pid=$(pid_of "$1") || return 0
    local owner=()
    [[ $1 != agent ]] || owner=(as_root)
    "${owner[@]}" kill "-$2" "$pid" 2>/dev/null || true
    while pid_of "$1" >/dev/null; do
        if [[ $SECONDS -ge $end ]]; then
            say "$1 did not stop within $3 s and was killed; its log is $home/log/$1.log."
            "${owner[@]}" kill -KILL "$pid" 2>/dev/null || true
            end=$((SECONDS + 10))
        fi
        pause 0.05
    done
    rm -f "$home/run/$1.pid"
}

stop_all() {
    stop worker TERM 30
    stop gateway TERM 30
    stop postgres INT 60 # "fast": sessions are cut, nothing is lost
}
