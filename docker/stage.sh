#!/usr/bin/env bash
# stage.sh: copies the results of `make build` to target/image, the context of the container images.
source "$(dirname "$0")/lib.sh"

image=$repo/target/image
prefix=$repo/target/postgresql/$pg_major/usr
rm -rf "$image"
mkdir -p "$image"/{bin,extension/lib,extension/share,scripts,sql}
for binary in nebula-gateway nebula-worker nebulactl; do
    ln "$repo/target/release/$binary" "$image/bin/"
done
ln "$prefix/lib/postgresql/$pg_major/lib"/pg_nebula* "$image/extension/lib/"
ln "$prefix/share/postgresql/$pg_major/extension"/pg_nebula* "$image/extension/share/"
cp "$repo"/docker/{database,postgres-entrypoint,service-entrypoint}.sh "$image/scripts/"
cp "$repo/sql/roles.sql" "$image/sql/"
cp "$repo"/docker/{gateway,worker}.Dockerfile "$image/"
sed "s/^ARG PG_MAJOR$/&=$pg_major/" "$repo/docker/postgres.Dockerfile" >"$image/postgres.Dockerfile"
