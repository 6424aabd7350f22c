#!/usr/bin/env bash
# extension.sh [NAME…]: the extension's own tests (#[test] and #[pg_test]) or those whose paths contain a NAME, on version
# PG_MAJOR of PostgreSQL, in a copy of it that is removed afterwards. With NEBULA_OTHER_TESTS a NAME may be that of a test
# of another kind.
source "$(dirname "$0")/../../docker/lib.sh"
alone "extension-test-$pg_major"

work=$(mktemp -d /tmp/pg_nebula.XXXXXX)
# A server that a failed run has left behind ends at once, without a checkpoint.
finish() {
    stop_ticker
    for file in "$work"/data/*/postmaster.pid; do
        [[ ! -f $file ]] || kill -QUIT "$(head -n 1 "$file")" || true
    done
    rm -rf "$work"
}
trap finish EXIT
chmod 0755 "$work"
"$repo/docker/prefix.sh" "$pg_major-test"
cp -a "$repo/target/postgresql/$pg_major-test/usr" "$work/usr"
# Cargo compiles pgrx and all that uses it again when config.toml is gone or newer than the build. So the file stays, and
# names a link that leads to this run's copy.
export PGRX_HOME=$repo/target/pgrx-test-$pg_major
mkdir -p "$PGRX_HOME"
ln -sfn "$work/usr/lib/postgresql/$pg_major/bin/pg_config" "$PGRX_HOME/pg_config"
write_changed "$PGRX_HOME/config.toml" "[configs]"$'\n'"pg$pg_major = \"$PGRX_HOME/pg_config\""

flags=()
if [[ $EUID -eq 0 ]]; then
    # PostgreSQL does not run as root: pgrx starts it through `sudo -u`, for which this script stands in.
    install -d -o postgres -m 0700 "$work/data"
    mkdir "$work/bin"
    cat >"$work/bin/sudo" <<'SUDO'
#!/bin/sh
user=root
while :; do
    case $1 in
    -u) user=$2 && shift 2 ;;
    -*) shift ;;
    *) break ;;
    esac
done
exec runuser -u "$user" -- env "$@"
SUDO
    chmod 0755 "$work/bin/sudo"
    export PATH=$work/bin:$PATH
    flags=(--runas postgres --pgdata "$work/data")
fi
cd "$repo"
# One at a time: each test is one transaction, and one that reshapes a pool holds its lock until the end.
for name in "${@:-}"; do
    step "Testing the extension on PostgreSQL $pg_major" \
        env RUST_TEST_THREADS=1 cargo pgrx test "pg$pg_major" ${name:+"$name"} -p pg_nebula "${flags[@]}"
    passed=$(sed -n "s/^test result: ok\. \([1-9].*\)/extension on PostgreSQL $pg_major: \1/p" \
        "$repo/target/log/testing-the-extension-on-postgresql-$pg_major.log")
    [[ -z $passed ]] || say "$passed"
    [[ -n $passed || -z $name || -n ${NEBULA_OTHER_TESTS:-} ]] ||
        die "no test of the extension has '$name' in its path" "list them: grep -rA1 pg_test pg_nebula/src/tests"
done
