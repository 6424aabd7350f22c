#!/usr/bin/env bash
# env.sh [psql]: export lines of the running system, for eval; or psql there.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/stack.sh"

require_home
pid_of postgres >/dev/null || die "PostgreSQL is not running" "run: make up"
NEBULA_DATABASE_URL=$(database_url admin)
if [[ ${1:-} == psql ]]; then
    # In the environment, because arguments are visible to every user of the machine.
    export PGHOST=127.0.0.1 PGPORT=$pg_port PGUSER=nebula_admin PGDATABASE=nebula PGPASSWORD PGOPTIONS='-c search_path=nebula,public'
    PGPASSWORD=$(cat "$(secret admin_database_password)")
    exec "$postgres_bin/psql"
fi
project=$(PGPASSWORD=$(cat "$(secret admin_database_password)") "$postgres_bin/psql" -XAtq -h 127.0.0.1 -p "$pg_port" -U nebula_admin -d nebula \
    -c 'SELECT project_id FROM nebula.project ORDER BY created_at, project_id LIMIT 1')
printf 'export %s=%q\n' NEBULA_DATABASE_URL "$NEBULA_DATABASE_URL" NEBULA_SERVER "$server" \
    NEBULA_ADMIN_PASSWORD_FILE "$(secret admin_password)" NEBULA_PROJECT "$project"
# PATH is expanded by the shell that evaluates this. Shells look for completions in XDG_DATA_DIRS, and man for manual pages
# beside the folders of PATH.
# shellcheck disable=SC2016
printf 'export PATH=%q:"$PATH" XDG_DATA_DIRS=%q:"${XDG_DATA_DIRS:-/usr/local/share:/usr/share}"\n' "$home/bin" "$home/share"
