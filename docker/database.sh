#!/usr/bin/env bash
# database.sh ROLES: creates the database with extension, service roles and first project. It runs at every start and
# changes only what differs. ROLES is sql/roles.sql. It connects as superuser by PGHOST and the like; the roles'
# passwords are files in NEBULA_SECRETS. The container images use it too, so it sources no other file.
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
# The passwords come from files, because arguments are visible to every user. A failing statement must not log them.
sql -d nebula <<'SQL'
SET log_min_error_statement = panic;
SET log_statement = none;
\set gateway `cat "$NEBULA_SECRETS/gateway_database_password"`
\set worker `cat "$NEBULA_SECRETS/worker_database_password"`
ALTER ROLE nebula_gateway LOGIN PASSWORD :'gateway';
ALTER ROLE nebula_worker LOGIN PASSWORD :'worker';
-- Devices of the first project get an address of each family. The IPv6 range is a random one of those for private use
-- (RFC 4193), so that two installations that meet do not have the same.
WITH home AS MATERIALIZED (
  SELECT nebula.create_project('home', '10.42.0.0/16') AS project_id
   WHERE NOT EXISTS (SELECT FROM nebula.project)
), random AS MATERIALIZED (
  SELECT replace(gen_random_uuid()::text, '-', '') AS digits
), range AS MATERIALIZED (
  SELECT format('fd%s:%s:%s::/64', left(digits, 2), substr(digits, 3, 4), substr(digits, 7, 4))::inet AS ipv6
    FROM random
)
SELECT format('The first project, home, has %s addresses of IPv4 and the IPv6 range %s.',
              nebula.populate_pool(project_id, '10.42.0.0/16'),
              CASE WHEN nebula.populate_pool(project_id, ipv6, 'ipv6') > 0 THEN ipv6 END)
  FROM home, range;
SQL
