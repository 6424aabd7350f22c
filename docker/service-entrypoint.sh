#!/bin/sh
# In the gateway and worker images: runs a command with a database URL made from the role's password file, unless
# NEBULA_DATABASE_URL is given. `init` creates the certificate authority and the account admin when they are missing, and lets
# the database accept the tokens of the gateway.
set -eu

if [ "${1:-}" = init ]; then NEBULA_ROLE="admin"; fi
password=$NEBULA_SECRETS/${NEBULA_ROLE}_database_password
if [ -z "${NEBULA_DATABASE_URL:-}" ] && [ -r "$password" ]; then
    NEBULA_DATABASE_URL="postgresql://nebula_$NEBULA_ROLE:$(cat "$password")@${PGHOST:-postgres}:${PGPORT:-5432}/nebula"
    export NEBULA_DATABASE_URL
fi
if [ "${1:-}" = init ]; then
    if [ ! -f "$NEBULA_CA_CERT" ]; then
        rm -f "$NEBULA_CA_KEY" # from a start that was interrupted between the two
        nebulactl --quiet ca create --name "${NEBULA_CA_NAME:-pg_nebula CA}" --cert "$NEBULA_CA_CERT" --key "$NEBULA_CA_KEY"
    fi
    nebula-gateway token-key --register
    set -- nebula-gateway account admin --role admin --password-file "$NEBULA_SECRETS/admin_password"
fi
exec "$@"
