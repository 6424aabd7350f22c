//! Output at the end of `join --code`.

use std::path::Path;

use nebula_api::dnapi::Host;
use serde_json::json;
use which::which;

use super::first_tunnel::Outcome;
use crate::agent::change::Release;
use crate::agent::nebula;
use crate::agent::state::Identity;
use crate::agent::systemd::AGENT_UNIT;
use crate::context::Context;
use crate::error::Result;
use crate::output::clean;

pub(super) fn confirm(
    context: &Context,
    path: &Path,
    identity: &Identity,
    tunnel: Option<&Outcome>,
) -> Result<()> {
    let command = format!("nebulactl agent --dir {}", super::quoted(path));
    let peer = match tunnel {
        Some(Outcome::Connected(peer)) => Some(peer),
        _ => None,
    };
    let value = json!({
        "nebulaIp": identity.host.ip_address,
        "deviceId": identity.host.id,
        "deviceName": identity.host.name,
        "projectId": identity.network.id,
        "dir": path,
        "command": command,
        "installed": tunnel.is_some(),
        "peer": peer.map(|peer| &peer.name),
    });
    context.output.confirm(&value, || {
        let host = &identity.host;
        let (name, network) = (clean(&host.name), clean(&identity.network.name));
        let (used, unused) = usable_addresses(host, release());
        let mut lines = vec![format!("{name} is a member of {network}: {}", clean(&used.join(" and ")))];
        if !unused.is_empty() {
            let unused = clean(&unused.join(" and "));
            lines.push(format!(
                "{unused} can be used with nebula 1.10 or newer; this machine has an older one"
            ));
        }
        lines.push(format!("Keys and configuration are in {}", path.display()));
        match tunnel {
            Some(_) => lines.push(format!("It is kept up to date by {AGENT_UNIT}:  nebulactl status")),
            None => {
                lines.push(format!("Start nebula and keep it up to date:  {}{command}", super::sudo()));
                if which("nebula").is_err() {
                    lines.push(super::NEBULA_MISSING.to_owned());
                }
            }
        }
        lines.extend(tunnel.map(next_step));
        lines.join("\n")
    })
}

/// The release of the nebula on this machine.
fn release() -> Option<Release> {
    Release::parse(&nebula::version(&which("nebula").ok()?).ok()?)
}

/// The addresses of a device that its nebula has, and those that it does not: certificates of version 1, the
/// only ones before release 1.10, hold one IPv4 address.
fn usable_addresses(host: &Host, release: Option<Release>) -> (Vec<&str>, Vec<&str>) {
    let all = host.ip_addresses.iter().map(String::as_str);
    let all: Vec<&str> = if host.ip_addresses.is_empty() { vec![&host.ip_address] } else { all.collect() };
    let has_v4 = all.iter().any(|address| !address.contains(':'));
    let old = release.is_some_and(|release| release < Release(1, 10));
    all.into_iter().partition(|address| !(old && has_v4 && address.contains(':')))
}

fn next_step(tunnel: &Outcome) -> String {
    match tunnel {
        Outcome::Connected(peer) => {
            format!(
                "Connected. Try it:  {}nebulactl ping {}\n\
                 Other programs reach devices by address; ping prints it.",
                super::sudo(),
                super::quoted(Path::new(&clean(&peer.name)))
            )
        }
        Outcome::NoLighthouse => "The project has no lighthouse yet, by which devices find each other: \
                                  nebulactl enrolment create --role lighthouse --endpoint HOST:4242"
            .to_owned(),
        Outcome::IsLighthouse => {
            "It is a lighthouse: other devices must reach its UDP port through every firewall.".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_nebula_is_not_said_to_have_the_ipv6_address() {
        let host = Host {
            ip_address: "10.42.0.5".to_owned(),
            ip_addresses: vec!["10.42.0.5".to_owned(), "fd42::5".to_owned()],
            ..Host::default()
        };
        let (old, new) = (Some(Release(1, 6)), Some(Release(1, 11)));
        assert_eq!(usable_addresses(&host, old), (vec!["10.42.0.5"], vec!["fd42::5"]));
        for release in [new, None] {
            assert_eq!(usable_addresses(&host, release), (vec!["10.42.0.5", "fd42::5"], vec![]));
        }
    }
}
