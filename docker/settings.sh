# shellcheck shell=bash
# Functions of up.sh that check the settings before anything is started or stopped. Source after launch.sh and lighthouse.sh.
# shellcheck disable=SC2154 # home, listen, endpoint and the like are set by stack.sh and lighthouse.sh

# read_env: sets `own` to the lines of .nebula/env. What would be ignored is refused: without NEBULA_PUBLIC_URL, for instance,
# devices are sent to another address than the one written there.
read_env() {
    local line name number=0 known
    own=()
    [[ -f $home/env ]] || return 0
    known=$({ "$repo/target/release/nebula-gateway" --help && "$repo/target/release/nebula-worker" --help; } | tr -s '[:space:]' ' ')
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        line=${line%$'\r'}
        [[ ! $line =~ ^[[:space:]]*(#.*)?$ ]] || continue
        [[ $line =~ ^([A-Z][A-Z0-9_]*)=[^\'\"] ]] || die "line $number of $shown/env is not NAME=value" \
            "write it without export, blanks and quotes, for example NEBULA_PUBLIC_URL=https://nebula.example.org"
        name=${BASH_REMATCH[1]}
        case $name in
        NEBULA_LISTEN | NEBULA_PG_PORT | NEBULA_HOME | PORT | LIGHTHOUSE)
            die "line $number of $shown/env has $name, which make up takes from its own environment" "remove the line, and: $name=… make up" ;;
        NEBULA_DATABASE_URL | NEBULA_CA_CERT | NEBULA_CA_KEY | NEBULA_CA_DIR | NEBULA_TOKEN_KEY)
            die "line $number of $shown/env has $name, which make up sets itself" "remove the line" ;;
        NEBULA_*)
            [[ $known == *"[env: $name"[]=]* ]] || die "line $number of $shown/env: neither gateway nor worker has a setting $name" \
                "docker/README.md lists them" ;;
        esac
        own+=("$line")
    done <"$home/env"
}

# check_settings: lets the gateway judge its settings, and the endpoint of a lighthouse.
check_settings() {
    local reason placeholders=(NEBULA_DATABASE_URL=postgresql://localhost NEBULA_STORAGE_URL=file:///store NEBULA_CA_CERT=ca.crt
        NEBULA_CA_KEY=ca.key NEBULA_TOKEN_KEY="hex:$(printf '00%.0s' {1..32})")
    reason=$(env -i "${own[@]}" "${placeholders[@]}" NEBULA_LISTEN="$listen" "$repo/target/release/nebula-gateway" check \
        ${endpoint:+--endpoint "$endpoint"} 2>&1) ||
        die "${reason#nebula-gateway: }" "correct it in $shown/env, NEBULA_LISTEN or LIGHTHOUSE; nothing was started or stopped"
}
