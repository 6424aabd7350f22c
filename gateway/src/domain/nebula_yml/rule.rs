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

    /// Whether nebula would let in more than the rule says. `any` is a word of nebula's: beside groups it
    /// overrules them, and as a name it means every device; so do, before 1.9, networks that contain the address
    /// 0.0.0.0. Such names are refused today, but a table may have them from before.
    pub(super) fn is_wider_than_it_says(&self) -> bool {
        let is_reserved = |name: &str| name.is_empty() || name.trim().eq_ignore_ascii_case("any");
        let is_wide = |network: &String| network.starts_with("0.0.0.0/") && !network.ends_with("/0");
        self.host.as_deref().is_some_and(is_reserved)
            || self.groups.iter().any(|group| is_reserved(group))
            || self.cidr.as_ref().is_some_and(is_wide)
            || self.local.as_ref().is_some_and(is_wide)
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
    let rules: Vec<_> = rules.iter().filter(|rule| !rule.is_wider_than_it_says()).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_would_let_in_more_than_it_says_is_not_written() {
        let groups = |words: &[&str]| FirewallRule {
            groups: words.iter().map(ToString::to_string).collect(),
            ..FirewallRule::all("tcp")
        };
        let host = |name: &str| FirewallRule { host: Some(name.into()), ..FirewallRule::all("tcp") };
        let cidr = |network: &str| FirewallRule { cidr: Some(network.into()), ..FirewallRule::all("tcp") };
        for rule in [
            groups(&["any", "admins"]),
            groups(&["ANY"]),
            groups(&[""]),
            host("any"),
            host("Any"),
            cidr("0.0.0.0/8"),
            FirewallRule::behind("0.0.0.0/1"),
        ] {
            assert_eq!(block("inbound", &[rule]), "  inbound: []\n");
        }
        for rule in [groups(&["anyone"]), host("nas"), cidr("0.0.0.0/0"), FirewallRule::all("any")] {
            assert!(block("inbound", &[rule]).contains("- port: any"));
        }
    }
}
