#!/usr/bin/env bash
# database.sh ROLES: the database with extension, service roles and first project. Run at every start, changes only
# what differs. ROLES is sql/roles.sql; PGHOST and so on say where, as superuser; the roles' passwords are files in
# NEBULA_SECRETS. Used by up.sh and by the container images, so it stands alone.
set -euo pipefail
sql() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }

[[ $(sql -d postgres -c "SELECT 1 FROM pg_database WHERE datname = 'nebula'") == 1 ]] ||
    sql -d postgres -c 'CREATE DATABASE nebula'

versions=$(sql -d nebula -F ' ' -c "SELECT installed_version, default_version FROM pg_available_extensions WHERE name = 'pg_nebula'")
read -r installed available <<<"${versions/#\ /none }"
if [[ -z $versions ]]; then
    echo 'error: the extension pg_nebula is not installed beside this PostgreSQL' >&2
    exit 1
elif [[ $installed == none ]]; then
    sql -d nebula -c 'CREATE EXTENSION pg_nebula'
elif [[ $installed != "$available" ]]; then
    sql -d nebula -c "ALTER EXTENSION pg_nebula UPDATE TO '$available'"
    echo "pg_nebula updated from $installed to $available."
fi

export PGOPTIONS='-c client_min_messages=warning'
sql -d nebula -f "$1"
# The passwords come by file, not by argument, and a failing statement must not put them into the server's log.
sql -d nebula <<'SQL'
SET log_min_error_statement = panic;
SET log_statement = none;
\set gateway `cat "$NEBULA_SECRETS/gateway_database_password"`
\set worker `cat "$NEBULA_SECRETS/worker_database_password"`
ALTER ROLE nebula_gateway LOGIN PASSWORD :'gateway';
ALTER ROLE nebula_worker LOGIN PASSWORD :'worker';
SELECT format('%s addresses in the first project, home', nebula.populate_pool(nebula.create_project('home', '10.42.0.0/16'), '10.42.0.0/16'))
 WHERE NOT EXISTS (SELECT FROM nebula.project);
SQL
