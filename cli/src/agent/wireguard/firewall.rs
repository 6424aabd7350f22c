//! The firewall and the forwarding of the node's kernel, kept as wanted.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use which::which;

use super::desired::Desired;
use super::forwarding::Forwarding;
use super::{legacy, link, nft, obstacles};
use crate::agent::change::Release;
use crate::agent::journal::log;
use crate::agent::tool;
use crate::error::{Code, Error, Result};

/// Interval of looking for rules of other programs, which can be many.
const LOOK_INTERVAL: Duration = Duration::from_secs(300);
/// While something is in the way, so that a remedy is seen soon.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

pub(super) struct Firewall {
    forwarding: Forwarding,
    release: Release,
    /// The tables as they were last loaded.
    loaded: String,
    obstacles: Vec<String>,
    looked_at: Option<Instant>,
    in_rules: Vec<String>,
}

impl Firewall {
    pub(super) fn new(forwarding: Forwarding, release: Release) -> Self {
        Self {
            forwarding,
            release,
            loaded: String::new(),
            obstacles: Vec::new(),
            looked_at: None,
            in_rules: Vec::new(),
        }
    }

    pub(super) fn obstacles(&self) -> &[String] {
        &self.obstacles
    }

    /// Loads the tables of all interfaces at once and switches forwarding on; without interfaces, puts
    /// forwarding back.
    pub(super) async fn apply(&mut self, desired: &Desired, overlay: Option<&str>) -> Result<()> {
        if desired.interfaces.is_empty() {
            self.loaded.clear();
            self.obstacles.clear();
            return self.forwarding.put_back();
        }
        let own = desired.interfaces.iter().map(|one| one.state.name.as_str()).chain(overlay);
        let attached = link::attached(&own.collect::<Vec<_>>()).await?;
        let attached: Vec<String> = attached.iter().map(ToString::to_string).collect();
        let tables = desired.interfaces.iter().map(|one| nft::table(&one.state, overlay, &attached));
        let text: String = tables.collect();
        if text != self.loaded || !self.is_loaded(desired).await? {
            nft(&["-f", "-"], &text).await?;
            self.loaded = text;
            self.looked_at = None;
        }
        let addresses = desired.interfaces.iter().flat_map(|one| &one.state.addresses);
        let with_ipv6 = addresses.into_iter().any(|address| address.contains(':'));
        let has_ipv6 = link::has_ipv6();
        let must_switch = with_ipv6 && self.forwarding.must_switch_ipv6_on();
        let advertised = if must_switch { link::advertised().await } else { Vec::new() };
        let mut found = self.forwarding.switch_on(with_ipv6 && has_ipv6, &advertised)?;
        found.extend(obstacles::in_ipv6(with_ipv6, has_ipv6));
        found.extend(obstacles::in_nebula(self.release));
        self.look(desired).await;
        found.extend(self.in_rules.iter().cloned());
        for new in found.iter().filter(|new| !self.obstacles.contains(new)) {
            log(&format!("in the way of peers: {new}"));
        }
        self.obstacles = found;
        Ok(())
    }

    /// Whether another program has flushed our tables.
    async fn is_loaded(&self, desired: &Desired) -> Result<bool> {
        let listed = nft(&["list", "tables", "inet"], "").await?;
        let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_prefix("table inet ")).collect();
        Ok(desired.interfaces.iter().all(|one| names.contains(&nft::table_name(&one.state.name).as_str())))
    }

    async fn look(&mut self, desired: &Desired) {
        let interval = if self.in_rules.is_empty() { LOOK_INTERVAL } else { LOOK_AGAIN };
        if self.looked_at.is_some_and(|at| at.elapsed() < interval) {
            return;
        }
        self.looked_at = Some(Instant::now());
        // Rules that nft cannot list cannot be judged.
        let Ok(listed) = nft(&["-j", "list", "ruleset"], "").await else { return };
        let ruleset: Value = serde_json::from_str(&listed).unwrap_or_default();
        let names: Vec<&str> = desired.interfaces.iter().map(|one| one.state.name.as_str()).collect();
        self.in_rules = names.iter().flat_map(|name| obstacles::in_ruleset(&ruleset, name)).collect();
        self.in_rules.extend(legacy::in_the_way(&names).await);
    }
}

/// Removes the table of an interface. Without nft there is none.
pub(super) async fn remove(interface: &str) -> Result<()> {
    if which("nft").is_err() {
        return Ok(());
    }
    nft(&["-f", "-"], &nft::removal(interface)).await.map(drop)
}

async fn nft(arguments: &[&str], input: &str) -> Result<String> {
    let program = which("nft").map_err(|_| {
        Error::new(Code::NotFound, "nft is not on PATH, and without a firewall no peer is let in")
            .hint("Install it: apt install nftables")
    })?;
    tool::run(&program, arguments, input).await
}
