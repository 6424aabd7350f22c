//! Effects of other firewall rules before anybody makes them: which devices gain and lose connections to which.
//!
//! Devices that the same rules are for, and the same rules name as the other end, are one class, so that classes are
//! compared instead of devices. As in `nebula.yml`, rules only allow, and what no rule allows is dropped. Connections
//! of WireGuard peers and to networks behind devices are not looked at.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use nebula_api::access::{AccessReach, AccessSide, Draft, Preview};
use nebula_api::firewall::Rule;

use crate::database::firewall::Member;

mod ports;

use ports::Allowed;

/// Entries of a list: more are not read by anybody.
const MAX_ENTRIES: usize = 200;
const MAX_NAMES: usize = 10;

/// The firewall of a project.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) rules: Vec<Rule>,
    pub(crate) inbound_open: bool,
    pub(crate) outbound_open: bool,
}

impl Policy {
    /// The firewall with the changes of a draft.
    pub(crate) fn changed(&self, draft: &Draft) -> Self {
        let open = |word: &Option<String>, now: bool| word.as_ref().map_or(now, |word| word == "open");
        let mut rules = self.rules.clone();
        rules.retain(|rule| rule.rule_id.is_none_or(|id| !draft.remove.contains(&id)));
        rules.extend_from_slice(&draft.add);
        Self {
            rules,
            inbound_open: open(&draft.inbound, self.inbound_open),
            outbound_open: open(&draft.outbound, self.outbound_open),
        }
    }

    /// Connections that the devices of one class make and those of the other take.
    fn allowed(&self, from: &Member, to: &Member) -> Allowed {
        let mut sent = if self.outbound_open { Allowed::everything() } else { Allowed::nothing() };
        let mut taken = if self.inbound_open { Allowed::everything() } else { Allowed::ping() };
        for rule in &self.rules {
            let (side, own, other) = match rule.direction.as_str() {
                "outbound" => (&mut sent, from, to),
                _ => (&mut taken, to, from),
            };
            if is_for(rule, own) && names(rule, other) {
                side.add(rule);
            }
        }
        sent.and(&taken)
    }
}

/// Whether a device has the rule in its configuration, and it covers the device's own addresses.
fn is_for(rule: &Rule, device: &Member) -> bool {
    let is_meant = match (&rule.for_device, &rule.for_group) {
        (Some(id), _) => *id == device.device_id,
        (None, Some(group)) => device.groups.contains(group),
        (None, None) => true,
    };
    is_meant && rule.local_cidr.as_ref().is_none_or(|network| is_in(network, device))
}

/// Whether a device is the other end that the rule names.
fn names(rule: &Rule, device: &Member) -> bool {
    match (&rule.remote_device, &rule.remote_cidr) {
        (Some(id), _) => *id == device.device_id,
        (None, Some(network)) => is_in(network, device),
        (None, None) => rule.remote_groups.iter().all(|group| device.groups.contains(group)),
    }
}

fn is_in(network: &str, device: &Member) -> bool {
    let network: Result<IpNetwork, _> = network.parse();
    network.is_ok_and(|network| device.addresses.iter().any(|address| network.contains(*address)))
}

/// Devices by what rules say of them.
fn classes<'a>(members: &'a [Member], rules: &[&Rule]) -> Vec<Vec<&'a Member>> {
    let mut classes: BTreeMap<Vec<(bool, bool)>, Vec<&Member>> = BTreeMap::new();
    for member in members {
        let key = rules.iter().map(|rule| (is_for(rule, member), names(rule, member))).collect();
        classes.entry(key).or_default().push(member);
    }
    classes.into_values().collect()
}

/// Gains and losses of these devices by a change of the firewall.
pub(crate) fn preview(members: &[Member], before: &Policy, after: &Policy) -> Preview {
    let rules: Vec<_> = before.rules.iter().chain(&after.rules).collect();
    let classes = classes(members, &rules);
    let mut preview = Preview { gains: Vec::new(), losses: Vec::new(), truncated: false };
    for from in &classes {
        for to in &classes {
            // A device needs no rule for itself.
            if std::ptr::eq(from, to) && from.len() == 1 {
                continue;
            }
            let (now, then) = (before.allowed(from[0], to[0]), after.allowed(from[0], to[0]));
            preview.gains.extend(reach(from, to, &then.without(&now)));
            preview.losses.extend(reach(from, to, &now.without(&then)));
        }
    }
    preview.truncated = preview.gains.len().max(preview.losses.len()) > MAX_ENTRIES;
    for list in [&mut preview.gains, &mut preview.losses] {
        list.sort_by_key(|reach| std::cmp::Reverse(reach.from.devices * reach.to.devices));
        list.truncate(MAX_ENTRIES);
    }
    preview
}

fn reach(from: &[&Member], to: &[&Member], what: &Allowed) -> Option<AccessReach> {
    if what.is_nothing() {
        return None;
    }
    let (tcp, udp, icmp) = what.shown();
    Some(AccessReach { from: side(from), to: side(to), tcp, udp, icmp })
}

fn side(members: &[&Member]) -> AccessSide {
    let common = |group: &&String| members.iter().all(|member| member.groups.contains(group));
    AccessSide {
        devices: members.len(),
        names: members.iter().take(MAX_NAMES).map(|member| member.name.clone()).collect(),
        groups: members[0].groups.iter().filter(common).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn member(number: u128, name: &str, groups: &[&str]) -> Member {
        Member {
            device_id: Uuid::from_u128(number),
            name: name.into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            addresses: vec![format!("10.0.0.{number}").parse().unwrap()],
        }
    }

    fn rule(direction: &str, protocol: &str, ports: Option<(i32, i32)>) -> Rule {
        Rule {
            direction: direction.into(),
            protocol: protocol.into(),
            port_first: ports.map(|ports| ports.0),
            port_last: ports.map(|ports| ports.1),
            ..Rule::default()
        }
    }

    fn closed(rules: Vec<Rule>) -> Policy {
        Policy { rules, inbound_open: false, outbound_open: true }
    }

    #[test]
    fn a_rule_for_a_group_is_a_gain_of_those_that_it_names() {
        let members =
            [member(1, "nas", &["backup"]), member(2, "laptop", &["staff"]), member(3, "phone", &["staff"])];
        let ssh = Rule {
            for_group: Some("backup".into()),
            remote_groups: vec!["staff".into()],
            ..rule("inbound", "tcp", Some((22, 22)))
        };
        let change = preview(&members, &closed(vec![]), &closed(vec![ssh.clone()]));
        let [gain] = &change.gains[..] else { panic!("{change:?}") };
        assert_eq!(
            (gain.from.names.clone(), gain.to.names.clone()),
            (vec!["laptop".to_owned(), "phone".to_owned()], vec!["nas".to_owned()])
        );
        assert_eq!((gain.tcp.clone(), gain.udp.len(), gain.icmp), (vec!["22".to_owned()], 0, false));
        assert_eq!((gain.from.groups.clone(), gain.from.devices), (vec!["staff".to_owned()], 2));
        assert!(change.losses.is_empty());
        let back = preview(&members, &closed(vec![ssh]), &closed(vec![]));
        assert_eq!((back.losses, back.gains.len()), (change.gains, 0));
    }

    #[test]
    fn what_another_rule_allows_is_no_loss() {
        let members = [member(1, "nas", &[]), member(2, "laptop", &[])];
        let (wide, narrow) = (rule("inbound", "tcp", Some((1, 100))), rule("inbound", "any", Some((50, 60))));
        let both = closed(vec![wide.clone(), narrow.clone()]);
        let change = preview(&members, &both, &closed(vec![narrow]));
        let [loss] = &change.losses[..] else { panic!("{change:?}") };
        assert_eq!(loss.tcp, ["1-49", "61-100"]);
        assert_eq!((loss.from.devices, loss.to.devices, loss.udp.len()), (2, 2, 0));
        let change = preview(&members, &both, &closed(vec![wide]));
        assert_eq!((change.losses[0].tcp.len(), change.losses[0].udp.clone()), (0, vec!["50-60".to_owned()]));
    }

    #[test]
    fn opening_and_closing_a_project_is_a_change_for_everybody() {
        let members = [member(1, "nas", &[]), member(2, "laptop", &[])];
        let draft = |inbound: &str| Draft {
            project_id: Uuid::nil(),
            add: vec![],
            remove: vec![],
            inbound: Some(inbound.into()),
            outbound: None,
        };
        let before = closed(vec![]);
        let change = preview(&members, &before, &before.changed(&draft("open")));
        let [gain] = &change.gains[..] else { panic!("{change:?}") };
        assert_eq!((gain.tcp.clone(), gain.udp.clone()), (vec!["any".to_owned()], vec!["any".to_owned()]));
        assert!(!gain.icmp, "it is always taken");
        assert!(preview(&members, &before, &before.changed(&draft("closed"))).gains.is_empty());
        // Nothing is sent where nothing may be.
        let silent = Policy { outbound_open: false, ..before };
        assert!(preview(&members, &silent, &silent.changed(&draft("open"))).gains.is_empty());
    }
}
