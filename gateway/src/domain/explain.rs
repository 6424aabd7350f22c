//! "May this device reach that one, and what stops it first?" By what the configurations of both say.

use chrono::{DateTime, Utc};
use nebula_api::access::{AccessCheck, Explanation};
use nebula_api::device::Device;

use super::nebula_yml::DeviceConfig;
use super::nebula_yml::packet::Packet;
use crate::database::device::{FirewallRule, Role};

/// A device as lists show it, with its configuration.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) shown: Device,
    pub(crate) config: DeviceConfig,
}

/// Checks in the order in which packets pass them; the first one that fails is the last.
pub(crate) fn explain(from: &End, to: &End, packet: Packet<'_>, now: DateTime<Utc>) -> Explanation {
    let steps: [&dyn Fn() -> AccessCheck; 6] = [
        &|| not_revoked(from, to),
        &|| addresses(from, to),
        &|| certificates(from, to, now),
        &|| lighthouse(from, to),
        &|| {
            rules(
                "outbound",
                from,
                from.config.lets_out(packet, &to.config),
                from.config.project.outbound_open,
            )
        },
        &|| rules("inbound", to, to.config.lets_in(packet, &from.config), to.config.project.inbound_open),
    ];
    let mut checks = Vec::new();
    for step in steps {
        let check = step();
        let goes_on = check.passed;
        checks.push(check);
        if !goes_on {
            break;
        }
    }
    let stopped_by = checks.last().filter(|check| !check.passed).map(|check| check.check.clone());
    Explanation { allowed: stopped_by.is_none(), stopped_by, checks }
}

fn check(name: &str, passed: bool, detail: String) -> AccessCheck {
    AccessCheck { check: name.to_owned(), passed, detail, rule_id: None }
}

fn not_revoked(from: &End, to: &End) -> AccessCheck {
    match [from, to].into_iter().find(|end| end.shown.revoked_at.is_some()) {
        Some(end) => {
            check("revoked", false, format!("{} was revoked, and all others refuse it.", end.shown.name))
        }
        None => check("revoked", true, "Neither device was revoked.".to_owned()),
    }
}

fn addresses(from: &End, to: &End) -> AccessCheck {
    if let Some(end) = [from, to].into_iter().find(|end| end.config.device.networks.is_empty()) {
        return check("address", false, format!("{} has no address.", end.shown.name));
    }
    match from.config.addresses_with(&to.config) {
        Some((own, other)) => check("address", true, format!("{own} sends to {other}.")),
        None => {
            let detail =
                format!("{} and {} have no addresses in one network.", from.shown.name, to.shown.name);
            check("address", false, detail)
        }
    }
}

fn certificates(from: &End, to: &End, now: DateTime<Utc>) -> AccessCheck {
    let is_good = |end: &&End| end.shown.certificate_not_after.is_none_or(|end| end <= now);
    match [from, to].into_iter().find(is_good) {
        Some(end) => {
            let what =
                if end.shown.certificate_not_after.is_some() { "has expired" } else { "was never issued" };
            check("certificate", false, format!("The certificate of {} {what}.", end.shown.name))
        }
        None => check("certificate", true, "Both certificates are in force.".to_owned()),
    }
}

/// One of the two has to find the other: by itself, or by a lighthouse that both ask.
fn lighthouse(from: &End, to: &End) -> AccessCheck {
    let is_known =
        |end: &End| end.config.device.role != Role::Host && !end.config.device.endpoints.is_empty();
    if is_known(from) || is_known(to) {
        return check("lighthouse", true, "One of them has an address that all know.".to_owned());
    }
    match [from, to].into_iter().find(|end| end.config.has_no_lighthouse()) {
        Some(end) => {
            let detail = format!("No lighthouse tells {} where others are.", end.shown.name);
            check("lighthouse", false, detail)
        }
        None => check("lighthouse", true, "A lighthouse tells them where they are.".to_owned()),
    }
}

fn rules(direction: &str, end: &End, rule: Option<FirewallRule>, is_open: bool) -> AccessCheck {
    let name = &end.shown.name;
    let does = if direction == "outbound" { "sends" } else { "takes" };
    match rule {
        Some(FirewallRule { rule_id: Some(rule_id), .. }) => AccessCheck {
            rule_id: Some(rule_id),
            ..check(direction, true, format!("{name} {does} it by rule {rule_id}."))
        },
        Some(_) if is_open => {
            check(direction, true, format!("{name} {does} everything: the project is open."))
        }
        Some(_) => check(direction, true, format!("{name} {does} it by a rule that every device has.")),
        None => check(direction, false, format!("No {direction} rule of {name} lets it pass.")),
    }
}
