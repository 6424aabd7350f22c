#!/usr/bin/env bash
# In the postgres image: `postgres ARGUMENT…` creates the cluster when there is none and runs it; `init` installs
# extension, roles and first project in a running one (PGHOST). The passwords are files in NEBULA_SECRETS.
set -euo pipefail
cd /var/lib/pg_nebula

case ${1:-} in
postgres)
    if [[ ! -f data/PG_VERSION ]]; then
        # Under another name until it is complete, so that a container killed here starts over.
        rm -rf data data.new
        initdb -D data.new --username=nebula_admin --pwfile="$NEBULA_SECRETS/admin_database_password" \
            --auth=scram-sha-256 --data-checksums --encoding=UTF8 --locale=C.UTF-8
        # Clients connect from other hosts of the container network, by password.
        echo 'host all all all scram-sha-256' >>data.new/pg_hba.conf
        mv data.new data
    fi
    exec postgres -D /var/lib/pg_nebula/data -c listen_addresses='*' -c unix_socket_directories= \
        -c shared_preload_libraries=pg_nebula "${@:2}"
    ;;
init)
    PGPASSWORD=$(cat "$NEBULA_SECRETS/admin_database_password")
    export PGPASSWORD PGUSER=nebula_admin
    exec /usr/local/lib/pg_nebula/database.sh /usr/local/share/pg_nebula/roles.sql
    ;;
*) exec "$@" ;;
esac
