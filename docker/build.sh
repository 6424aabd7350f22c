#!/usr/bin/env bash
# build.sh: release builds of everything that `make up` and the images run.
source "$(dirname "$0")/lib.sh"

"$repo/docker/console.sh"
"$repo/docker/extension.sh" release
cd "$repo"
step "Building gateway, worker and nebulactl" \
    cargo build --release --locked -p nebula-gateway -p nebula-worker -p nebulactl
