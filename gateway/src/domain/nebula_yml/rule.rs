//! Firewall rules of `nebula.yml`.

use super::{list, quoted};
use crate::database::device::FirewallRule;

impl FirewallRule {
    /// Every packet of a protocol.
    pub(super) fn all(protocol: &str) -> Self {
        Self { protocol: protocol.into(), ..Self::default() }
    }

    /// Every packet to a network behind the device; since nebula 1.9 a rule without `local_cidr` covers only
    /// the device's own addresses.
    pub(super) fn behind(network: impl ToString) -> Self {
        Self { local: Some(network.to_string()), ..Self::all("any") }
    }

    fn port(&self) -> String {
        match (self.port_first, self.port_last) {
            (None, _) => "any".into(),
            (Some(first), Some(last)) if last > first => format!("{first}-{last}"),
            (Some(first), _) => first.to_string(),
        }
    }

    fn remote(&self) -> String {
        match (&self.host, &self.cidr) {
            (Some(host), _) => format!("host: {}", quoted(host)),
            (None, Some(cidr)) => format!("cidr: {}", quoted(cidr)),
            (None, None) if self.groups.is_empty() => "host: any".into(),
            (None, None) => format!("groups: [{}]", list(&self.groups)),
        }
    }
}

/// The rules of one direction.
pub(super) fn block(direction: &str, rules: &[FirewallRule]) -> String {
    if rules.is_empty() {
        return format!("  {direction}: []\n");
    }
    let mut text = format!("  {direction}:\n");
    for rule in rules {
        let (port, remote) = (rule.port(), rule.remote());
        text.push_str(&format!("    - port: {port}\n      proto: {}\n      {remote}\n", rule.protocol));
        if let Some(local) = &rule.local {
            text.push_str(&format!("      local_cidr: {}\n", quoted(local)));
        }
    }
    text
}
