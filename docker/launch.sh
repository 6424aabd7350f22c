# shellcheck shell=bash
# Functions of up.sh that start the services and wait for them. Source after stack.sh.
# shellcheck disable=SC2154 # home, become and the like are set by stack.sh
shopt -s extglob

# install_changed SOURCE TARGET: installs by rename, so that a running program keeps its file and is recognised as
# outdated.
install_changed() {
    [[ -f $1 ]] || die "$1 is missing" "run: make build"
    cmp -s "$1" "$2" || { install -m 0755 "$1" "$2.new" && mv -f "$2.new" "$2"; }
}

# install_postgresql: copies the private PostgreSQL with the extension when a build has changed it.
install_postgresql() {
    local source=$repo/target/postgresql/$pg_major script=usr/share/postgresql/$pg_major/extension
    [[ -f $source/$script/pg_nebula.control ]] || die "the extension is not built" "run: make build"
    if [[ -d postgresql ]] && diff -rq --exclude=include "$source" postgresql >/dev/null; then
        return
    fi
    if [[ -f data/PG_VERSION && $(cat data/PG_VERSION) != "$pg_major" ]]; then
        die "$shown/data was made by PostgreSQL $(cat data/PG_VERSION), not $pg_major" "dump it with the old version and restore it here, or: make clean-data"
    fi
    for file in "$source/$script"/pg_nebula--+([0-9.]).sql; do
        if [[ -f postgresql/$script/${file##*/} ]] && ! cmp -s "$file" "postgresql/$script/${file##*/}"; then
            say "Note: ${file##*/} has changed without a new version. The database here keeps the old definitions; make clean-data starts afresh."
        fi
    done
    stop_all
    rm -rf postgresql.new
    mkdir -p postgresql.new/usr
    cp -a "$source/usr/lib" "$source/usr/share" postgresql.new/usr/
    if [[ $EUID -eq 0 ]]; then chown -R root:root postgresql.new; fi
    chmod -R u+w,go+rX postgresql.new
    rm -rf postgresql
    mv postgresql.new postgresql
}

start_postgres() {
    local settings=(-p "$pg_port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_preload_libraries=pg_nebula)
    if [[ ! -f data/PG_VERSION ]]; then
        rm -rf data data.new
        install -d -m 0700 data.new
        if [[ $EUID -eq 0 ]]; then chown pg_nebula:pg_nebula data.new; fi
        step "Making the database cluster" "${become[@]}" "$postgres_bin/initdb" -D "$home/data.new" --username=nebula_admin \
            --pwfile="$(secret admin_database_password)" --auth=scram-sha-256 --data-checksums --encoding=UTF8 --locale=C.UTF-8
        mv data.new data
    fi
    # PostgreSQL refuses to start when its pid file, left by a crash, names a process that another program of ours has
    # now. All its processes have the data folder as working directory: without any there, the file is stale.
    if ! pid_of postgres >/dev/null && [[ -f data/postmaster.pid ]]; then
        await_orphans
        rm -f data/postmaster.pid
    fi
    start_service postgres "127.0.0.1:$pg_port" LANG=C.UTF-8 PATH=/usr/bin:/bin "$postgres_bin/postgres" -D "$home/data" "${settings[@]}"
    await postgres 120 postgres_ready
}

# await_orphans: waits for the other server processes, which end by themselves after a crash of the first.
await_orphans() {
    local end=$((SECONDS + 30)) process alive
    while :; do
        alive=
        for process in /proc/[0-9]*; do
            if [[ $(readlink "$process/cwd" 2>/dev/null) == "$home/data" ]]; then alive=${process#/proc/}; fi
        done
        [[ -n $alive ]] || return 0
        [[ $SECONDS -lt $end ]] || die "a PostgreSQL that make up did not start is using $shown/data (pid $alive)" "stop it: kill -INT $alive"
        pause 0.1
    done
}

# up_to_date SERVICE VAR=VALUE… PROGRAM ARGUMENT…: whether the service runs the present file with these settings.
up_to_date() {
    local pid wanted=() owner=()
    pid=$(pid_of "$1") || return 1
    [[ $1 != agent ]] || owner=(as_root)
    shift
    while [[ $1 == [A-Z]*=* ]]; do wanted+=("$1") && shift; done
    [[ $("${owner[@]}" readlink "/proc/$pid/exe") == "$1" ]] || return 1
    [[ $(tr '\0' '\n' <"/proc/$pid/cmdline") == "$(printf '%s\n' "$@")" ]] || return 1
    [[ $("${owner[@]}" cat "/proc/$pid/environ" | tr '\0' '\n' | grep -vE '^(_|PWD|OLDPWD|SHLVL)=' | sort) == "$(printf '%s\n' "${wanted[@]}" | sort)" ]]
}

# start_service SERVICE ADDRESS VAR=VALUE… PROGRAM ARGUMENT…: starts the service unless it is up to date.
start_service() {
    local service=$1 address=$2
    shift 2
    if up_to_date "$service" "$@"; then return; fi
    if [[ $service == postgres ]]; then stop_all; else stop "$service" TERM 30; fi
    [[ -z $address ]] || require_free "$service" "$address"
    rm -f "run/$service.pid"
    # The process writes its pid itself before it becomes the service, so no service runs unrecorded.
    # The variables come through a pipe, because arguments are visible to every user of the machine.
    local variables=()
    while [[ $1 == [A-Z]*=* ]]; do variables+=("$1") && shift; done
    # shellcheck disable=SC2016
    printf '%s\n' "${variables[@]}" | setsid "${become[@]}" env -i bash -c '
        umask 077
        log=$1 pid=$2; shift 2
        if [[ -f $log && $(stat -c %s "$log") -gt 20000000 ]]; then mv -f "$log" "$log.1"; fi
        while IFS= read -r variable; do export "$variable"; done
        stat=$(</proc/$$/stat); read -ra stat <<<"${stat##*) }"
        echo "$$ ${stat[19]}" >"$pid.new"; chmod 0644 "$pid.new"; mv -f "$pid.new" "$pid"
        exec "$@" >>"$log" 2>&1 </dev/null' start "log/$service.log" "run/$service.pid" "$@" \
        >/dev/null 2>&1 {home_lock}>&- {never}>&- &
    launched=$!
    while [[ ! -f run/$service.pid ]] && kill -0 "$launched" 2>/dev/null; do pause 0.02; done
}

# require_free SERVICE ADDRESS: fails when the port is taken, naming the process and the variable that chooses another.
require_free() {
    local port=${2##*:} holder variable=PORT
    [[ $1 != postgres ]] || variable=NEBULA_PG_PORT
    holder=$(ss -Hltnp "sport = :$port" 2>/dev/null | head -n 1) || true
    [[ -n $holder ]] || return 0
    if [[ $holder =~ \(\(\"([^\"]+)\",pid=([0-9]+) ]]; then
        holder="by ${BASH_REMATCH[1]}, pid ${BASH_REMATCH[2]}"
    else
        holder="by another user's program"
    fi
    die "port $port is already in use, $holder" "stop it, or choose another port: $variable=$((port + 1)) make up"
}

# check_listen: fails before anything is stopped when this machine does not have the address to listen on.
check_listen() {
    local first=${listen%%,*} host
    host=${first%:*} host=${host#\[} host=${host%\]}
    [[ $host =~ ^[0-9.]+$ || $host == *:* ]] || return 0
    case $host in 0.0.0.0 | :: | ::1 | 127.*) return 0 ;; esac
    command -v ip >/dev/null || return 0
    [[ -n $(ip -o addr show to "$host" 2>/dev/null) ]] || die "this machine has no address $host for the gateway to listen on" \
        "choose one that \`ip -br addr\` shows: NEBULA_LISTEN=ADDRESS:${first##*:} make up"
}

# await SERVICE SECONDS CHECK: waits until CHECK holds; when the service ends or is late, prints its log.
await() {
    local service=$1 end=$((SECONDS + $2)) told=$((SECONDS + 2))
    until "$3"; do
        if ! pid_of "$service" >/dev/null; then
            tail -n 20 "log/$service.log" >&2
            die "$service has stopped" "its whole log is $home/log/$service.log"
        elif [[ $SECONDS -ge $end ]]; then
            tail -n 20 "log/$service.log" >&2
            die "$service is not ready after $2 s" "its whole log is $home/log/$service.log"
        elif [[ $SECONDS -ge $told ]]; then
            say "==> Waiting for $service"
            told=$((SECONDS + 10))
        fi
        pause 0.1
    done
}

postgres_ready() { "$postgres_bin/pg_isready" -q -h 127.0.0.1 -p "$pg_port" -d postgres; }

# In a subshell, because a peer that closes the connection during the request ends the writer by SIGPIPE.
http_ready() (
    address=${server#http://} status=
    exec {http}<>"/dev/tcp/${address%:*}/${address##*:}" || exit 1
    printf 'GET /health/ready HTTP/1.0\r\nHost: %s\r\n\r\n' "$address" >&"$http"
    IFS= read -rt 10 status <&"$http"
    [[ $status == HTTP/*" 200"* ]]
) 2>/dev/null

worker_ready() {
    [[ $("$postgres_bin/psql" -XAtq -d nebula -c "SELECT count(*) FROM pg_stat_activity WHERE usename = 'nebula_worker'") -gt 0 ]]
}
