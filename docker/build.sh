#!/usr/bin/env bash
# build.sh: what `make up` and the images run, in release builds.
source "$(dirname "$0")/lib.sh"

"$repo/docker/console.sh"
"$repo/docker/extension.sh" release
cd "$repo"
step "Building gateway, worker and nebulactl" \
    cargo build --release --locked -p nebula-gateway -p nebula-worker -p nebulactl
