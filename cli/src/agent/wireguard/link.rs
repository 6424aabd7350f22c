//! The network links of interfaces: created, given addresses and routes, removed. By `ip`, with lists of
//! arguments.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use nebula_api::node_sync::InterfaceState;
use serde_json::Value;
use tokio::task::spawn_blocking;
use which::which;

use super::backend::{Kernel, Timed};
use super::delta::WantedPeers;
use crate::agent::tool;
use crate::error::{Code, Error, Result};

/// Where wireguard-go makes its sockets; no option changes it.
const SOCKETS: &str = "/var/run/wireguard";
const PROGRAM: &str = "wireguard-go";
/// Marks routes of peers whose addresses are in no pool of the interface.
const ROUTE_PROTOCOL: &str = "77";

/// Kinds of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Kernel,
    /// A program has it: wireguard-go.
    Userspace,
    /// Neither: another interface has the name.
    Other,
}

/// The kind of the link of this name, if there is one.
pub(super) fn find(name: &str) -> Option<Kind> {
    kind(&Path::new("/sys/class/net").join(name))
}

fn kind(folder: &Path) -> Option<Kind> {
    let uevent = fs::read_to_string(folder.join("uevent")).ok()?;
    Some(if uevent.lines().any(|line| line == "DEVTYPE=wireguard") {
        Kind::Kernel
    } else if folder.join("tun_flags").exists() {
        Kind::Userspace
    } else {
        Kind::Other
    })
}

/// A client of the WireGuard that runs this link.
pub(super) fn client(name: &str, kind: Kind) -> Result<Timed> {
    match kind {
        Kind::Kernel => Ok(Timed::kernel(name)),
        Kind::Userspace => Ok(Timed::userspace(name, PathBuf::from(format!("{SOCKETS}/{name}.sock")))),
        Kind::Other => Err(taken(name)),
    }
}

/// Something else has the name.
pub(super) fn taken(name: &str) -> Error {
    Error::new(Code::AlreadyExists, format!("the interface {name} belongs to something else"))
        .hint(format!("Give the node's interface another name, or remove that one: ip link delete {name}"))
}

/// Creates a link: in the kernel if it can, else by wireguard-go, which outlives the agent.
pub(super) async fn create(name: &str) -> Result<Kind> {
    let owned = name.to_owned();
    let in_kernel = spawn_blocking(move || Kernel::create(&owned)).await;
    if in_kernel.map_err(|error| Error::new(Code::Io, format!("cannot create {name}: {error}")))?? {
        return Ok(Kind::Kernel);
    }
    let program = which(PROGRAM).map_err(|_| {
        Error::new(Code::NotFound, "this kernel has no WireGuard, and wireguard-go is not on PATH")
            .hint("Install it: apt install wireguard-go; or boot a kernel with the module wireguard.")
    })?;
    // The link answers as soon as this ends.
    let started = tool::output(&program, &[name], "").await?;
    if started.status.success() {
        return Ok(Kind::Userspace);
    }
    let said = [started.stderr, started.stdout].concat();
    let reason = last_words(&String::from_utf8_lossy(&said));
    Err(Error::new(Code::WrongState, format!("{PROGRAM} cannot create {name}: {reason}")))
}

/// The reason of a failure: the last line, behind level and time. A picture of advice comes first.
fn last_words(said: &str) -> String {
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it gives no reason");
    last.split_once("Failed to ").map_or(last, |(_, reason)| reason).trim().to_owned()
}

/// Removes a link; wireguard-go ends with it. A missing one is no error.
pub(super) async fn remove(name: &str) -> Result<()> {
    if find(name).is_none() {
        return Ok(());
    }
    ip(&["link", "delete", "dev", name], "").await.map(drop)
}

/// Whether the kernel has IPv6 switched on.
pub(super) fn has_ipv6() -> bool {
    fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6").is_ok_and(|value| value.trim() == "0")
}

/// Gives the link its addresses, MTU and state.
pub(super) async fn configure(state: &InterfaceState) -> Result<()> {
    let name = state.name.as_str();
    let found = ip(&["-json", "address", "show", "dev", name], "").await?;
    let found = Found::parse(&found);
    let wanted = addresses(state)?;
    let mut commands = String::new();
    for address in found.addresses.difference(&wanted) {
        commands += &format!("address delete {address} dev {name}\n");
    }
    if found.mtu != Some(u64::from(state.mtu)) || !found.up {
        commands += &format!("link set dev {name} mtu {} up\n", state.mtu);
    }
    for address in wanted.difference(&found.addresses) {
        commands += &format!("address add {address} dev {name}\n");
    }
    batch(&commands).await
}

/// Gives peers whose addresses are outside the interface's own networks, as after a move, a route each.
pub(super) async fn route(state: &InterfaceState, wanted: &WantedPeers) -> Result<()> {
    let own = addresses(state)?;
    let allowed = wanted.values().flat_map(|peer| &peer.allowed_ips);
    let outside = allowed.filter(|one| !own.iter().any(|network| network.contains(one.network())));
    let with_ipv6 = has_ipv6();
    let wanted: BTreeSet<IpNetwork> = outside.filter(|one| one.is_ipv4() || with_ipv6).copied().collect();
    let mut present = BTreeSet::new();
    for family in ["-4", "-6"] {
        let shown = ["-json", family, "route", "show", "dev", &state.name, "proto", ROUTE_PROTOCOL];
        let shown = ip(&shown, "").await?;
        let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
        let routes = shown.as_array().into_iter().flatten();
        // A host is shown without its length.
        present.extend(routes.filter_map(|route| route["dst"].as_str()?.parse::<IpNetwork>().ok()));
    }
    let name = &state.name;
    let mut commands = String::new();
    for network in present.difference(&wanted) {
        commands += &format!("route delete {network} dev {name} proto {ROUTE_PROTOCOL}\n");
    }
    for network in wanted.difference(&present) {
        commands += &format!("route replace {network} dev {name} proto {ROUTE_PROTOCOL}\n");
    }
    batch(&commands).await
}

/// Interfaces whose IPv6 default route came from a router's advertisement.
pub(super) async fn advertised() -> Vec<String> {
    let shown = ip(&["-json", "-6", "route", "show", "default", "proto", "ra"], "").await.unwrap_or_default();
    let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
    let routes = shown.as_array().into_iter().flatten();
    let names: BTreeSet<&str> = routes.filter_map(|route| route["dev"].as_str()).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Public networks that this machine is attached to, but by these interfaces: hosts there are its neighbours, and not the
/// internet. Wider ones, such as `2000::/3` of a tunnel, are ways to the internet.
pub(super) async fn attached(except: &[&str]) -> Result<BTreeSet<IpNetwork>> {
    let mut networks = BTreeSet::new();
    for family in ["-4", "-6"] {
        networks.extend(attached_in(&ip(&["-json", family, "route", "show"], "").await?, except));
    }
    Ok(networks)
}

fn attached_in(shown: &str, except: &[&str]) -> Vec<IpNetwork> {
    let shown: Value = serde_json::from_str(shown).unwrap_or_default();
    let routes = shown.as_array().into_iter().flatten();
    let direct = routes.filter(|route| {
        let is_except = route["dev"].as_str().is_none_or(|name| except.contains(&name));
        !is_except && ["gateway", "via", "nexthops"].iter().all(|way| route.get(way).is_none())
    });
    // A host is shown without its length, the default route by a word.
    let networks = direct.filter_map(|route| route["dst"].as_str()?.parse::<IpNetwork>().ok());
    networks.filter(|one| one.prefix() >= if one.is_ipv4() { 8 } else { 32 }).collect()
}

/// The interface's own addresses, without IPv6 where the kernel has none.
fn addresses(state: &InterfaceState) -> Result<BTreeSet<IpNetwork>> {
    let with_ipv6 = has_ipv6();
    let parsed = state.addresses.iter().map(|text| {
        let wrong = |_| Error::new(Code::Protocol, format!("{text} is no address for {}", state.name));
        text.parse::<IpNetwork>().map_err(wrong)
    });
    let all = parsed.collect::<Result<BTreeSet<_>>>()?;
    Ok(all.into_iter().filter(|one| one.is_ipv4() || with_ipv6).collect())
}

/// A link as `ip` shows it.
#[derive(Debug, Default, PartialEq)]
struct Found {
    addresses: BTreeSet<IpNetwork>,
    mtu: Option<u64>,
    up: bool,
}

impl Found {
    fn parse(shown: &str) -> Self {
        let shown: Value = serde_json::from_str(shown).unwrap_or_default();
        // Some releases put empty objects before the interface.
        let links = shown.as_array().into_iter().flatten();
        let Some(link) = links.into_iter().find(|link| link["ifname"].is_string()) else {
            return Self::default();
        };
        let addresses = link["addr_info"].as_array().into_iter().flatten().filter_map(|address| {
            // Addresses of scope link are the kernel's own.
            let (local, length) = (address["local"].as_str()?, address["prefixlen"].as_u64()?);
            let network = IpNetwork::new(local.parse().ok()?, length.try_into().ok()?).ok()?;
            (address["scope"] != "link").then_some(network)
        });
        let flags = link["flags"].as_array().into_iter().flatten();
        Self {
            addresses: addresses.collect(),
            mtu: link["mtu"].as_u64(),
            up: flags.into_iter().any(|flag| flag == "UP"),
        }
    }
}

async fn batch(commands: &str) -> Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    ip(&["-batch", "-"], commands).await.map(drop)
}

async fn ip(arguments: &[&str], input: &str) -> Result<String> {
    let program = which("ip").map_err(|_| {
        Error::new(Code::NotFound, "ip is not on PATH").hint("Install it: apt install iproute2")
    })?;
    tool::run(&program, arguments, input).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_told_by_what_the_kernel_says_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, uevent: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("uevent"), uevent).unwrap();
            path
        };
        assert_eq!(kind(&make("a", "DEVTYPE=wireguard\nINTERFACE=a\n")), Some(Kind::Kernel));
        let tun = make("b", "INTERFACE=b\n");
        assert_eq!(kind(&tun), Some(Kind::Other));
        fs::write(tun.join("tun_flags"), "0x1001\n").unwrap();
        assert_eq!(kind(&tun), Some(Kind::Userspace));
        assert_eq!(kind(&folder.path().join("c")), None);
        assert_eq!(find("lo"), Some(Kind::Other));
        assert!(client("lo", Kind::Other).is_err());
    }

    #[test]
    fn the_reason_of_wireguard_go_is_found_behind_its_advice() {
        let said = "┌──┐\n│ Running wireguard-go is not required │\n└──┘\nERROR: (wg0) 2026/11/30 04:00:00 Failed to create \
                    TUN device: operation not permitted\n";
        assert_eq!(last_words(said), "create TUN device: operation not permitted");
        assert_eq!(last_words("\n"), "it gives no reason");
    }

    #[test]
    fn networks_are_attached_that_are_reached_without_a_gateway_and_are_no_way_to_the_internet() {
        let shown = r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"},{"dst":"default","dev":"ppp0"},
            {"dst":"192.0.2.0/24","dev":"eth0","protocol":"kernel"},{"dst":"198.51.100.7","dev":"eth1"},
            {"dst":"203.0.113.0/24","gateway":"192.0.2.9","dev":"eth0"},{"dst":"10.77.0.0/16","dev":"wg0"},
            {"dst":"2001:db8:1::/64","dev":"eth0","protocol":"ra"},{"dst":"2000::/3","dev":"sit1"},
            {"dst":"2001:db8:2::/64","dev":"eth0","nexthops":[]},{"dst":"128.0.0.0/1","dev":"tun0"}]"#;
        let found: Vec<String> = attached_in(shown, &["wg0"]).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.0/24", "198.51.100.7/32", "2001:db8:1::/64"]);
        assert_eq!(attached_in("", &[]), []);
    }

    #[test]
    fn addresses_are_read_without_those_of_the_kernel() {
        let shown = r#"[{},{"ifname":"wg0","flags":["POINTOPOINT","NOARP","UP","LOWER_UP"],"mtu":1280,"addr_info":[
            {"family":"inet","local":"10.77.0.1","prefixlen":24,"scope":"global"},
            {"family":"inet6","local":"fd77::1","prefixlen":64,"scope":"global"},
            {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]}]"#;
        let found = Found::parse(shown);
        let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(
            (addresses, found.mtu, found.up),
            (vec!["10.77.0.1/24".into(), "fd77::1/64".into()], Some(1280), true)
        );
        assert_eq!(Found::parse("[]"), Found::default());
    }
}
