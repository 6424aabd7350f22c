//! Lists of networks as nft takes them.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

/// Parses networks and leaves out those that lie in others: nft refuses a set with overlaps. What is no
/// network is left out.
pub(super) fn networks(texts: &[String]) -> Vec<IpNetwork> {
    let parsed = texts.iter().filter_map(|text| text.parse::<IpNetwork>().ok());
    let masked = parsed.filter_map(|one| IpNetwork::new(one.network(), one.prefix()).ok());
    // Shorter prefixes come first, so that each network is compared with all that can hold it.
    let sorted: BTreeSet<(u8, IpNetwork)> = masked.map(|one| (one.prefix(), one)).collect();
    let (hosts, wide): (Vec<_>, Vec<_>) =
        sorted.into_iter().partition(|(prefix, one)| *prefix == width(*one));
    let mut kept: Vec<IpNetwork> = Vec::new();
    for (_, one) in wide {
        if !kept.iter().any(|other| other.contains(one.network())) {
            kept.push(one);
        }
    }
    let apart = |one: &IpNetwork| !kept.iter().any(|other| other.contains(one.network()));
    let hosts: Vec<IpNetwork> = hosts.into_iter().map(|(_, one)| one).filter(apart).collect();
    kept.extend(hosts);
    kept
}

fn width(network: IpNetwork) -> u8 {
    if network.is_ipv4() { 32 } else { 128 }
}

pub(super) fn families(networks: &[IpNetwork]) -> (Vec<IpNetwork>, Vec<IpNetwork>) {
    networks.iter().copied().partition(|network| network.is_ipv4())
}

pub(super) fn list(networks: &[IpNetwork]) -> String {
    let element = |one: &IpNetwork| match one.prefix() == width(*one) {
        true => one.network().to_string(),
        false => one.to_string(),
    };
    let elements: Vec<String> = networks.iter().map(element).collect();
    format!("{{ {} }}", elements.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_inside_others_are_left_out() {
        let texts = ["10.42.0.5/32", "10.42.0.0/16", "10.42.7.0/24", "10.43.0.1", "fd42::/64", "fd42::1"];
        let kept = networks(&texts.map(str::to_owned));
        assert_eq!(list(&kept), "{ 10.42.0.0/16, fd42::/64, 10.43.0.1 }");
    }
}
