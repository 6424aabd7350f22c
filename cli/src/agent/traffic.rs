//! Bytes per peer, which nebula does not report. nftables counts them, in a table of its own without
//! verdicts, which is removed when the agent ends. Without nft or the right to use it, nothing is counted.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde_json::Value;
use tokio::time::Instant;

use super::journal::log;
use super::tool;
use crate::error::{Code, Error, Result};

/// Interval of reading the counters.
const READ_INTERVAL: Duration = Duration::from_secs(10);
/// Addresses that are counted; the kernel ignores further ones.
const MAX_ADDRESSES: usize = 16_384;

/// Bytes of one peer since the agent started to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// The counters.
pub(super) struct Traffic {
    /// `None` without nft, or after it has failed.
    nft: Option<PathBuf>,
    /// Interface of the running nebula.
    interface: Option<String>,
    /// Interface and networks of the present table.
    counted: Option<(String, Vec<String>)>,
    peers: HashMap<String, Bytes>,
    read_at: Option<Instant>,
}

impl Traffic {
    pub(super) fn new(nft: Option<PathBuf>) -> Self {
        Self { nft, interface: None, counted: None, peers: HashMap::new(), read_at: None }
    }

    /// Sets the interface of the overlay.
    pub(super) fn set_interface(&mut self, interface: &str) {
        self.interface = Some(interface.to_owned());
    }

    /// Bytes of an overlay address; `None` where nothing is counted.
    pub(super) fn bytes_of(&self, address: &str) -> Option<Bytes> {
        self.counted.as_ref().map(|_| self.peers.get(address).copied().unwrap_or_default())
    }

    /// Reads the counters. They restart at zero when the interface or the networks changed, or when another
    /// program has flushed the ruleset.
    pub(super) async fn refresh(&mut self, overlay: &[String]) {
        let Some(interface) = self.interface.clone() else { return };
        if self.nft.is_none() || self.read_at.is_some_and(|at| at.elapsed() < READ_INTERVAL) {
            return;
        }
        self.read_at = Some(Instant::now());
        let same =
            self.counted.as_ref().is_some_and(|(name, networks)| *name == interface && networks == overlay);
        if same
            && let Ok(listed) = self.run(&["-j", "list", "table", "inet", &table_name(&interface)], "").await
        {
            self.peers = parse_counters(&listed);
            return;
        }
        self.remove().await;
        self.peers.clear();
        let Some(rules) = rules(&interface, overlay) else { return };
        match self.run(&["-f", "-"], &rules).await {
            Ok(_) => self.counted = Some((interface, overlay.to_vec())),
            Err(error) => {
                log(&format!("bytes per peer are not counted: {error}"));
                self.nft = None;
            }
        }
    }

    /// Removes the table, also one left by an agent that was killed.
    pub(super) async fn remove(&mut self) {
        let made = self.counted.take().map(|(interface, _)| interface);
        if let Some(interface) = made.or_else(|| self.interface.clone()) {
            // Fails if the table does not exist, which is fine.
            let _ = self.run(&["delete", "table", "inet", &table_name(&interface)], "").await;
        }
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Result<String> {
        let nft = self.nft.as_ref().ok_or_else(|| Error::new(Code::NotFound, "there is no nft"))?;
        tool::run(nft, arguments, input).await
    }
}

/// One table per interface, since several agents may run on a machine.
fn table_name(interface: &str) -> String {
    format!("nebulactl-{interface}")
}

/// Commands that replace the table; `None` if the interface name contains characters that nft would
/// interpret.
fn rules(interface: &str, overlay: &[String]) -> Option<String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if interface.is_empty() || !interface.chars().all(plain) {
        return None;
    }
    let table = table_name(interface);
    let mut sets = String::new();
    for (name, of) in [("received4", "ipv4"), ("received6", "ipv6"), ("sent4", "ipv4"), ("sent6", "ipv6")] {
        sets += &format!("  set {name} {{ type {of}_addr; size {MAX_ADDRESSES}; flags dynamic; }}\n");
    }
    let mut chains = String::new();
    // The first and the last hook, so that forwarded traffic is counted, too.
    for (chain, hook, priority, meta, end, set) in [
        ("in", "prerouting", "-300", "iifname", "saddr", "received"),
        ("out", "postrouting", "300", "oifname", "daddr", "sent"),
    ] {
        chains += &format!("  chain {chain} {{\n    type filter hook {hook} priority {priority};\n");
        // Only addresses of members: networks behind a member could fill the set.
        for network in overlay {
            let network: IpNetwork = network.parse().ok()?;
            let (ip, family) = if network.is_ipv4() { ("ip", 4) } else { ("ip6", 6) };
            chains += &format!(
                "    {meta} \"{interface}\" {ip} {end} {network} add @{set}{family} {{ {ip} {end} counter }}\n"
            );
        }
        chains += "  }\n";
    }
    Some(format!(
        "add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n{sets}{chains}}}\n"
    ))
}

/// Parses the counters in the output of `nft -j list`.
fn parse_counters(listed: &str) -> HashMap<String, Bytes> {
    let mut peers: HashMap<String, Bytes> = HashMap::new();
    let listed: Value = serde_json::from_str(listed).unwrap_or_default();
    for set in listed["nftables"].as_array().into_iter().flatten().map(|object| &object["set"]) {
        let name = set["name"].as_str().unwrap_or_default();
        for element in set["elem"].as_array().into_iter().flatten().map(|element| &element["elem"]) {
            let (Some(address), Some(bytes)) =
                (element["val"].as_str(), element["counter"]["bytes"].as_u64())
            else {
                continue;
            };
            let peer = peers.entry(address.to_owned()).or_default();
            if name.starts_with("received") {
                peer.received = bytes;
            } else {
                peer.sent = bytes;
            }
        }
    }
    peers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_counts_members_on_one_interface() {
        let rules = rules("nebula1", &["10.42.0.0/16".to_owned(), "fd00::/64".to_owned()]).unwrap();
        for line in [
            "delete table inet nebulactl-nebula1\n",
            "    iifname \"nebula1\" ip saddr 10.42.0.0/16 add @received4 { ip saddr counter }\n",
            "    oifname \"nebula1\" ip6 daddr fd00::/64 add @sent6 { ip6 daddr counter }\n",
        ] {
            assert!(rules.contains(line), "{line}: {rules}");
        }
        for verdict in ["accept", "drop", "reject", "queue", "policy"] {
            assert!(!rules.contains(verdict), "{verdict}: it decides nothing");
        }
    }

    #[test]
    fn invalid_interface_names_and_networks_are_not_passed_to_nft() {
        let overlay = ["10.42.0.0/16".to_owned()];
        for wrong in ["", "a b", "x\" accept", "a;b", "a}"] {
            assert_eq!(rules(wrong, &overlay), None, "{wrong}");
        }
        assert_eq!(rules("nebula1", &["10.42.0.0/16 accept".to_owned()]), None);
    }

    #[test]
    fn counters_are_parsed_from_a_listing() {
        let listed = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet"}},
            {"set": {"name": "received4", "elem": [{"elem": {"val": "10.42.0.2", "counter": {"packets": 4, "bytes": 336}}}]}},
            {"set": {"name": "sent4", "elem": [{"elem": {"val": "10.42.0.2", "counter": {"packets": 1, "bytes": 84}}},
                                               {"elem": {"val": "10.42.0.3", "counter": {"packets": 2, "bytes": 7}}}]}},
            {"set": {"name": "received6"}}]}"#;
        let peers = parse_counters(listed);
        assert_eq!(peers["10.42.0.2"], Bytes { received: 336, sent: 84 });
        assert_eq!(peers["10.42.0.3"], Bytes { received: 0, sent: 7 });
        assert_eq!(peers.len(), 2);
        assert!(parse_counters("").is_empty() && parse_counters("[]").is_empty());
    }

    #[tokio::test]
    async fn without_nft_nothing_is_counted() {
        for nft in [None, Some("/nowhere/nft".into()), Some("/bin/false".into())] {
            let mut traffic = Traffic::new(nft);
            traffic.set_interface("nebula1");
            traffic.refresh(&["10.42.0.0/16".to_owned()]).await;
            assert_eq!(traffic.bytes_of("10.42.0.2"), None);
            assert!(traffic.nft.is_none());
        }
    }
}
