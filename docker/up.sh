#!/usr/bin/env bash
# up.sh: starts the system under .nebula/: creates missing files, starts stopped services, restarts rebuilt ones. Every
# step checks the present state, so the script can be interrupted anywhere.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/stack.sh"
source "$(dirname "$0")/launch.sh"
source "$(dirname "$0")/lighthouse.sh"
source "$(dirname "$0")/settings.sh"

refuse_sudo
make_home
claim_home
load_settings
check_listen
read_lighthouse
read_env
check_settings
[[ -z $endpoint ]] || check_lighthouse
ask_for_root
begin=$SECONDS
cd "$home" # the services' user may have no right to be where we are
first=
[[ -f $home/settings ]] || first=yes

# -- files
chmod 0755 "$home"
"${become[@]}" test -x "$home" ||
    die "the user pg_nebula cannot reach $home" "move it, with .nebula as a link to it, or choose another folder: NEBULA_HOME=… make up"
install -d -m 0755 bin
for folder in store ca secrets log run; do
    [[ -d $folder ]] || mkdir "$folder"
    if [[ $EUID -eq 0 ]]; then chown pg_nebula:pg_nebula "$folder"; fi
    chmod 0700 "$folder"
done
"${become[@]}" bash -s -- "$home/secrets" 0600 <"$repo/docker/secrets.sh"
for binary in nebula-gateway nebula-worker nebulactl; do
    install_changed "$repo/target/release/$binary" "bin/$binary"
done
(umask 022 && bin/nebulactl --quiet completions --share share) # completions and manual pages
install_postgresql

# -- database
start_postgres
export PGHOST=127.0.0.1 PGPORT=$pg_port PGUSER=nebula_admin PGPASSWORD
PGPASSWORD=$(cat "$(secret admin_database_password)")
PATH=$postgres_bin:$PATH NEBULA_SECRETS=$home/secrets bash "$repo/docker/database.sh" "$repo/sql/roles.sql" ||
    die "the database could not be set up" "the server's log is $home/log/postgres.log"

# -- certificate authority and first account
if [[ ! -f ca/ca.crt ]]; then
    rm -f ca/ca.key # from a start that was interrupted between the two
    "${become[@]}" bin/nebulactl --quiet ca create --name "$(uname -n) CA" --cert "$home/ca/ca.crt" --key "$home/ca/ca.key" ||
        die "the certificate authority could not be made"
fi
NEBULA_DATABASE_URL=$(database_url admin) "${become[@]}" \
    bin/nebula-gateway account admin --role admin --password-file "$(secret admin_password)" >/dev/null ||
    die "the account admin could not be made"
NEBULA_DATABASE_URL=$(database_url admin) NEBULA_TOKEN_KEY=$(secret token_key) "${become[@]}" \
    bin/nebula-gateway token-key --register >/dev/null ||
    die "the key of the gateway could not be registered"

# -- services
[[ -f env ]] || write env <<<'# Lines NAME=value for gateway and worker, such as NEBULA_MAX_UPLOAD=10737418240; then: make up'
[[ " ${own[*]} " == *' NEBULA_PUBLIC_URL='* || -z $(public_url) ]] || own+=("$(public_url)")
common=(PATH=/usr/bin:/bin LANG=C.UTF-8 HOME="$home" RUST_LOG="${RUST_LOG:-info}" NEBULA_STORAGE_URL="file://$home/store" "${own[@]}")
start_gateway() {
    start_service gateway "${listen%%,*}" "${common[@]}" \
        NEBULA_DATABASE_URL="$(database_url gateway)" NEBULA_LISTEN="$(listen_everywhere)" \
        NEBULA_CA_CERT="$home/ca/ca.crt" NEBULA_CA_KEY="$home/ca/ca.key" NEBULA_CA_DIR="$home/ca" NEBULA_TOKEN_KEY="$(secret token_key)" \
        "$home/bin/nebula-gateway"
}
start_gateway
start_service worker "" "${common[@]}" NEBULA_DATABASE_URL="$(database_url worker)" "$home/bin/nebula-worker"
await gateway 60 http_ready
await worker 30 worker_ready
if [[ -n $endpoint ]]; then
    join_first_project
    start_agent
    start_gateway # on the overlay addresses, too
    await gateway 60 http_ready
elif [[ -e $(device_folder) ]] && is_device; then
    leave_network
fi
# Written last: the file exists only when the system has been complete once.
printf 'listen=%s\npg_port=%s\nlighthouse=%s\n' "$listen" "$pg_port" "$endpoint" | write "$home/settings"

bin/nebulactl --server "$server" doctor || die "nebulactl doctor is not content" "the logs are in $home/log"

# console_url: the address at which people reach the console.
console_url() {
    local setting
    for setting in "${own[@]}"; do
        [[ $setting != NEBULA_PUBLIC_URL=* ]] || { printf '%s' "${setting#*=}" && return; }
    done
    printf '%s' "$server"
}
# Nothing once somebody has signed in.
welcome=$(NEBULA_DATABASE_URL=$(database_url admin) "${become[@]}" bin/nebula-gateway first-run --server "$(console_url)") ||
    die "the link for the first sign-in could not be made"

say "
pg_nebula is up after $((SECONDS - begin)) s.

  Console    $server/"
[[ -z $welcome ]] || say "  Begin      $welcome
             (once, within a day: choose name and password of an operator's account in the browser)"
say "  Login      admin"
if [[ -n $first ]]; then
    say "  Password   $(cat "$(secret admin_password)")     (shown this once; kept in $shown/secrets/admin_password)"
else
    say "  Password   in $shown/secrets/admin_password"
fi
if [[ -n $endpoint ]]; then
    say "
  This server is the device $(identity name) at $(overlay_addresses | paste -sd ' '), lighthouse and relay, found at $endpoint (UDP).
  Its state:  sudo $shown/bin/nebulactl status"
fi
if [[ -z $first && $listen != "$listen_before" ]]; then
    say "
  The gateway has another address than before, $server: run eval \"\$(make env)\" again, and sign in again."
fi
case $listen_host in
127.* | localhost | '[::1]')
    say "
  Devices elsewhere cannot join yet: the gateway answers at $(listen_everywhere | sed 's/,/, /g') only.
  Put a TLS proxy in front and its address into $shown/env: NEBULA_PUBLIC_URL=https://…; or, in a LAN
  that you trust: NEBULA_LISTEN=192.0.2.10:8080 make up, with the address of this server." ;;
esac
[[ -n $endpoint ]] || say "
  Devices find each other through a lighthouse. To let this server be it: LIGHTHOUSE=192.0.2.10 make up."
say "
Next:
  eval \"\$(make env)\"                    addresses, project and PATH for this shell
  nebulactl login admin --password-file \"\$NEBULA_ADMIN_PASSWORD_FILE\"
  nebulactl enrolment create             the command that makes another machine a device
  nebulactl upload film.mkv              and watch it being converted in the console
  make psql                              the database
  make down                              stop; the data stays in $shown"
