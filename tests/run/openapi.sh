#!/usr/bin/env bash
# openapi.sh: the tools that judge /openapi.json and a gateway by it, in a Python environment of their own in the cache folder.
# Nothing is installed in the system but Debian's venv module.
source "$(dirname "$0")/../../docker/lib.sh"

wanted=(openapi-spec-validator==0.9.0 schemathesis==4.32.5)
folder=$cache/openapi
[[ $(cat "$folder/wanted" 2>/dev/null) != "${wanted[*]}" ]] || exit 0
alone openapi
"$repo/docker/packages.sh" python3-venv
rm -rf "$folder"
mkdir -p "$cache"
step "Making a Python environment for the tests" python3 -m venv "$folder"
step "Fetching openapi-spec-validator and schemathesis" "$folder/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
printf '%s\n' "${wanted[*]}" >"$folder/wanted"
