#!/bin/sh
# Tests the extension inside a server of its own: a private copy of PostgreSQL to install into, a data folder under
# /tmp, removed afterwards. As root the server runs as user postgres. Arguments go to `cargo pgrx test`.
set -eu

repo=$(cd "$(dirname "$0")/.." && pwd -P)
major=${PG_MAJOR:-15}
export PATH="$HOME/.cache/pg_nebula/tools/bin:$PATH"
unset RUST_BACKTRACE # would append a backtrace to every error

# The test build carries the tests as SQL functions: never where a real server looks.
"$repo/docker/prefix.sh" "$major-pgrx"
bin=$repo/target/postgresql/$major-pgrx/usr/lib/postgresql/$major/bin
export PGRX_HOME="$repo/target/pgrx-test"
mkdir -p "$PGRX_HOME"
printf '[configs]\npg%s = "%s/pg_config"\n' "$major" "$bin" >"$PGRX_HOME/config.toml"

scratch=$(mktemp -d /tmp/pg_nebula-test.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
cd "$repo/pg_nebula"

if [ "$(id -u)" -ne 0 ]; then
    cargo pgrx test "pg$major" --pgdata "$scratch/data" "$@"
    exit
fi
# cargo-pgrx calls sudo to become postgres; root needs none. It passes VAR=value words, hence env.
mkdir "$scratch/bin"
cat >"$scratch/bin/sudo" <<'SUDO'
#!/bin/sh
user=root
while :; do
    case "$1" in
    -u) user=$2; shift 2 ;;
    --) shift; break ;;
    -*) shift ;;
    *) break ;;
    esac
done
exec runuser -u "$user" -- env "$@"
SUDO
chmod +x "$scratch/bin/sudo"
chown postgres "$scratch"
chmod 755 "$scratch"
PATH="$scratch/bin:$PATH" cargo pgrx test "pg$major" --runas postgres --pgdata "$scratch/data" "$@"
