#!/usr/bin/env bash
# images-check.sh BUILDAH…: starts the whole system from the images once, on loopback and free ports, in the order of
# compose.yaml: PostgreSQL, both init services, gateway, worker. BUILDAH… is buildah with its storage options.
source "$(dirname "$0")/lib.sh"
buildah=("$@")
work=$(mktemp -d)
containers=()

finish() {
    stop_ticker
    for file in "$work"/pid/worker "$work"/pid/gateway "$work"/pid/postgres; do
        if [[ -s $file ]]; then as_root kill -INT "$(cat "$file")" 2>/dev/null || true; fi
    done
    wait
    [[ ${#containers[@]} -eq 0 ]] || "${buildah[@]}" rm "${containers[@]}" >/dev/null
    as_root rm -rf "$work"
}
trap finish EXIT

free_port() {
    local port
    until port=$((RANDOM % 20000 + 20000)) && [[ -z $(ss -Hltn "sport = :$port") ]]; do :; done
    printf '%s' "$port"
}
pg_port=$(free_port)
port=$(free_port)

# Modes as compose mounts them: secrets readable, volumes owned by the user of the image.
"$repo/docker/secrets.sh" "$work/secrets" 0444
chmod 0755 "$work" "$work/secrets"
mkdir -m 0777 "$work/pid"
mkdir -m 0700 "$work"/{database,store,ca}

# container IMAGE USER VOLUME…: creates a container, sets `container` to its name, and gives the volumes to USER.
container() {
    container=$("${buildah[@]}" from --pull-never "localhost/nebula-$1")
    containers+=("$container")
    # buildah mounts the image's own volumes in no certain order and may hide ours, so they are removed.
    local owner volume
    # shellcheck disable=SC2016
    for volume in $("${buildah[@]}" inspect --format '{{range $path, $_ := .OCIv1.Config.Volumes}}{{$path}} {{end}}' "$container"); do
        "${buildah[@]}" config --volume "$volume-" "$container"
    done
    owner=$("${buildah[@]}" run --isolation chroot --user root "$container" -- id -u "$2")
    [[ $# -lt 3 ]] || as_root chown "$owner" "${@:3}"
}

# in_container VARIABLE=VALUE… COMMAND…: runs COMMAND. Chroot isolation shares the host's network, so loopback works.
in_container() {
    local variables=()
    while [[ $1 == [A-Z]*=* ]]; do variables+=(--env "$1") && shift; done
    "${buildah[@]}" run --isolation chroot "${variables[@]}" --env PGHOST=127.0.0.1 --env PGPORT="$pg_port" \
        -v "$work/secrets:/run/secrets:ro" -v "$work/pid:/run/pid" "${mounts[@]}" "$container" -- "$@"
}

# serve NAME VARIABLE=VALUE… COMMAND…: runs COMMAND in the background; its pid, valid on the host too, goes into a file.
serve() {
    local name=$1 variables=()
    shift
    while [[ $1 == [A-Z]*=* ]]; do variables+=("$1") && shift; done
    # shellcheck disable=SC2016
    in_container "${variables[@]}" sh -c 'echo $$ >"/run/pid/$0"; exec "$@"' "$name" "$@" >"$work/$name.log" 2>&1 &
}

# until_true SECONDS WHAT COMMAND…
until_true() {
    local end=$((SECONDS + $1))
    until "${@:3}" >/dev/null 2>&1; do
        if [[ $SECONDS -ge $end ]]; then
            tail -n 20 "$work"/*.log >&2
            die "$2"
        fi
        pause 0.2
    done
}

say "==> Starting the system from its images"
postgres=/usr/local/lib/pg_nebula/postgres-entrypoint.sh
service=/usr/local/lib/pg_nebula/service-entrypoint.sh

container postgres postgres "$work/database"
mounts=(-v "$work/database:/var/lib/pg_nebula")
serve postgres "$postgres" postgres -p "$pg_port" -c listen_addresses=127.0.0.1
until_true 60 "PostgreSQL does not answer" in_container pg_isready -q -h 127.0.0.1 -p "$pg_port" -d postgres
in_container "$postgres" init

container gateway pg_nebula "$work/store" "$work/ca"
mounts=(-v "$work/store:/var/lib/pg_nebula/store" -v "$work/ca:/var/lib/pg_nebula/ca")
in_container nebula-gateway --version
in_container nebulactl --version
in_container "$service" init
serve gateway NEBULA_LISTEN="127.0.0.1:$port" "$service" nebula-gateway
until_true 60 "the gateway does not answer" in_container nebulactl --server "http://127.0.0.1:$port" ping
in_container nebulactl --server "http://127.0.0.1:$port" ping

container worker pg_nebula
mounts=(-v "$work/store:/var/lib/pg_nebula/store")
in_container nebula-worker --version
serve worker "$service" nebula-worker

container=${containers[0]} mounts=()
PGPASSWORD=$(cat "$work/secrets/admin_database_password")
until_true 60 "the worker does not log in to the database" in_container PGPASSWORD="$PGPASSWORD" sh -c \
    "psql -XAtq -U nebula_admin -d nebula -c \"SELECT 1 FROM pg_stat_activity WHERE usename = 'nebula_worker'\" | grep -q 1"
