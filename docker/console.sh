#!/usr/bin/env bash
# console.sh: builds the web console when its sources are newer than the last build.
source "$(dirname "$0")/lib.sh"
alone console

cd "$repo/gateway/web" 2>/dev/null && [[ -f package.json ]] || exit 0
if [[ ! -f node_modules/.package-lock.json || package-lock.json -nt node_modules/.package-lock.json ]]; then
    step "Fetching the console's packages" npm ci --no-audit --no-fund
fi
if [[ ! -f dist/index.html ]] ||
    [[ -n $(find . \( -name node_modules -o -name dist \) -prune -o -type f -newer dist/index.html -print -quit) ]]; then
    step "Building the web console" npm run build
fi
