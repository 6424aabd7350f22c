#!/usr/bin/env bash
# images.sh: builds the three images with buildah, without a daemon, and starts the whole system from them once. Base
# and packages come from this machine's own Debian mirror. The images stay in target/containers.
source "$(dirname "$0")/lib.sh"
alone images

"$repo/docker/packages.sh" buildah debootstrap
"$repo/docker/stage.sh"
store=$repo/target/containers
base=localhost/nebula-base:$(debian_codename)
work=$(mktemp -d)
trap 'stop_ticker; as_root rm -rf "$work"' EXIT
root=()
[[ $EUID -eq 0 ]] || root=(sudo --)
buildah=("${root[@]}" buildah --root "$store" --runroot "$work/run" --storage-driver vfs)

if ! "${buildah[@]}" inspect --type image "$base" >/dev/null 2>&1; then
    step "Making a minimal Debian" "${root[@]}" debootstrap --variant=minbase --keyring="$debian_keys" \
        "$(debian_codename)" "$work/debian" "$(debian_mirror)"
    # Security updates too, because otherwise libraries in the image could be older than those of the build.
    debian_sources | as_root tee "$work/debian/etc/apt/sources.list" >/dev/null
    as_root rm -rf "$work/debian/var/cache/apt/archives" "$work/debian/var/lib/apt/lists"
    as_root mkdir -p "$work/debian/var/lib/apt/lists/partial" "$work/debian/var/cache/apt/archives/partial"
    container=$("${buildah[@]}" from scratch)
    step "Making the base image" "${buildah[@]}" copy -q "$container" "$work/debian" /
    step "Keeping the base image" "${buildah[@]}" commit -q --rm "$container" "$base"
    as_root rm -rf "$work/debian"
fi
for image in postgres gateway worker; do
    step "Building the $image image" "${buildah[@]}" build --isolation chroot --pull-never --layers=false \
        --build-arg BASE="$base" -f "$repo/target/image/$image.Dockerfile" -t "localhost/nebula-$image" "$repo/target/image"
done
"$repo/docker/images-check.sh" "${buildah[@]}"
"${buildah[@]}" images --format '{{.Name}} {{.Size}}' | grep -v nebula-base
