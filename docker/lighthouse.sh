# shellcheck shell=bash
# Functions of up.sh that make this server a device of the first project, its lighthouse and relay. Source after launch.sh.
# shellcheck disable=SC2154 # home, become and the like are set by stack.sh

# The device's folder; its agent and nebula run as root, because they make a network interface.
device_folder() { printf '%s/device' "$home"; }

# read_lighthouse: sets `endpoint`, host:port, from LIGHTHOUSE, or from the last start. Empty, as with LIGHTHOUSE=none: this
# server is no device.
read_lighthouse() {
    local wanted=${LIGHTHOUSE:-} host="" port=""
    endpoint=$lighthouse
    [[ -n $wanted ]] || return 0
    [[ $wanted != none ]] || { endpoint= && return; }
    if [[ $wanted =~ ^(\[[^]]*\])(:([0-9]+))?$ || $wanted =~ ^([^:]+)(:([0-9]+))?$ ]]; then
        host=${BASH_REMATCH[1]} port=${BASH_REMATCH[3]:-4242}
    elif [[ $wanted == *:*:* ]]; then
        host=[$wanted] port=4242
    fi
    [[ $host =~ ^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)$ && $port =~ ^[0-9]{1,5}$ && $port -gt 0 && $port -lt 65536 ]] ||
        die "LIGHTHOUSE is '$wanted', not a host or an address" "for example LIGHTHOUSE=192.0.2.10, or LIGHTHOUSE=home.example.org:4243"
    endpoint=$host:$port
}

# check_lighthouse: fails before anything is started when this machine cannot be a device.
check_lighthouse() {
    "$repo/docker/packages.sh" nebula iproute2
    nebula=$(command -v nebula) || die "nebula is not on PATH" "install it: apt install nebula"
    [[ -c /dev/net/tun ]] || die "this machine has no /dev/net/tun, by which nebula makes its interface" \
        "load the module tun; a container needs the device and CAP_NET_ADMIN"
}

# ask_for_root: has sudo ask for its password before anything is started, when a device is to be made, kept or given up.
ask_for_root() {
    [[ -n $endpoint || -e $(device_folder) ]] || return 0
    [[ $EUID -eq 0 ]] || sudo -v || die "sudo refused" "run make up as root"
}

# join_first_project: makes this server a device, once. A server that has another address now tells the others; endpoints that
# an administrator added stay.
join_first_project() {
    local code name project
    project=$(sql "SELECT project_id FROM nebula.project ORDER BY created_at, project_id LIMIT 1")
    if is_device && [[ -n $(sql "SELECT revoked_at FROM nebula.device WHERE device_id = '$(identity id)'") ]]; then
        leave_network
    fi
    if is_device; then
        sql "UPDATE nebula.device d
                SET endpoints = text '$endpoint' || array_remove(array_remove(d.endpoints, '$lighthouse'), '$endpoint')
              WHERE d.device_id = '$(identity id)' AND '$endpoint' <> '$lighthouse'"
        return
    fi
    # Two codes for one name are refused, and an interrupted start may have left one.
    sql "SELECT nebula.revoke_enrolment(enrolment_id, 'make up') FROM nebula.enrolment
          WHERE created_by = 'make up' AND uses = 0 AND revoked_at IS NULL" >/dev/null
    name=$(uname -n | cut -d . -f 1 | tr -c 'A-Za-z0-9-\n' -)
    code=$(sql "SELECT code FROM nebula.create_enrolment('$project', name => '$name', role => 'lighthouse',
                  endpoints => ARRAY['$endpoint'], lifetime => '10 minutes', created_by => 'make up')")
    as_root "$home/bin/nebulactl" --quiet --server "$server" join --code-file - --dir "$(device_folder)" <<<"$code" ||
        die "this server could not join the first project" "run make up again"
    # Names of devices are answered on the usual port of the overlay address, unless another program has it on all addresses.
    if ! ss -Hlun 'sport = :53' | grep -qE ' (0\.0\.0\.0|\*|\[::\]):53 '; then
        sql "UPDATE nebula.project SET dns_port = 53 WHERE project_id = '$project' AND dns_port IS NULL"
    else
        say "Note: another program uses UDP port 53 on all addresses of this server, so the lighthouse does not answer for names of devices." \
            "Free it, or take another port: nebulactl project options dnsPort=5353"
    fi
}

is_device() { as_root test -f "$(device_folder)/agent.json"; }

# leave_network: revokes this server's device, stops its agent and nebula, and removes its keys.
leave_network() {
    as_root "$home/bin/nebulactl" leave --yes --dir "$(device_folder)" ||
        die "this server could not leave the network" "run the same command again; the agent's log is $home/log/agent.log"
    rm -f "$home/run/agent.pid"
}

# identity FIELD: of the host in the device's identity.
identity() { as_root sed -n '/"host"/,/}/s/^ *"'"$1"'": "\(.*\)",\{0,1\}$/\1/p' "$(device_folder)/agent.json"; }

# overlay_addresses: those that this server has when nebula runs, one a line; none as long as it is no device.
overlay_addresses() {
    local address
    [[ -n $endpoint ]] && is_device || return 0
    as_root sed -n '/"ipAddresses": \[/,/\]/s/^ *"\(.*\)",\{0,1\}$/\1/p' "$(device_folder)/agent.json" |
        while read -r address; do
            [[ $address == *:* ]] && ! nebula_has_ipv6 || printf '%s\n' "$address"
        done
}

# nebula_has_ipv6: from 1.10 on, where new interfaces take IPv6 addresses.
nebula_has_ipv6() {
    local version
    version=$("$nebula" -version 2>/dev/null | sed 's/^Version: //')
    [[ $(cat /proc/sys/net/ipv6/conf/default/disable_ipv6 2>/dev/null) == 0 && $(printf '1.10\n%s\n' "$version" | sort -V | head -n 1) == 1.10 ]]
}

# listen_everywhere: prints what the gateway listens on: what is set, and with a lighthouse the loopback and the overlay
# addresses, unless that covers them.
listen_everywhere() {
    local all=$listen address
    case $listen_host in 0.0.0.0 | '[::]') printf '%s' "$listen" && return ;; esac
    [[ ",$all" == *,127.* || ",$all" == *,localhost:* || -z $endpoint ]] || all+=,127.0.0.1:$listen_port
    for address in $(overlay_addresses); do
        [[ $address != *:* ]] || address=[$address]
        [[ ",$all," == *",$address:$listen_port,"* ]] || all+=,$address:$listen_port
    done
    printf '%s' "$all"
}

# public_url: the address for links: that of the lighthouse when the gateway listens on all of this server's, or the one that it
# listens on. On the loopback alone it has none.
public_url() {
    [[ -n $endpoint ]] || return 0
    case $listen_host in
    127.* | localhost | '[::1]') ;;
    0.0.0.0 | '[::]') printf 'NEBULA_PUBLIC_URL=http://%s:%s' "${endpoint%:*}" "$listen_port" ;;
    *) printf 'NEBULA_PUBLIC_URL=http://%s' "${listen%%,*}" ;;
    esac
}

start_agent() {
    # For start_service.
    # shellcheck disable=SC2034
    local become=()
    # shellcheck disable=SC2034
    [[ $EUID -eq 0 ]] || become=(sudo -n --)
    start_service agent "" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root \
        "$home/bin/nebulactl" agent --dir "$(device_folder)" --nebula "$nebula"
    await agent 60 nebula_runs
}

nebula_runs() { [[ -n $(ip -o addr show to "$(overlay_addresses | head -n 1)" 2>/dev/null) ]]; }

sql() { "$postgres_bin/psql" -XAtq -v ON_ERROR_STOP=1 -v SHOW_CONTEXT=never -d nebula -c "$1"; }
