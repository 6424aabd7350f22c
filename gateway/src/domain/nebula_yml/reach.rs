//! The lighthouses, relays and routes that one device can use. A file that names others is refused by nebula
//! 1.6 or takes the machine off its network.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nebula_api::endpoint;
use nebula_certificate::Version;

use super::DeviceConfig;
use crate::database::device::Role;
use crate::database::project::{Route, StaticHost};

/// Metric of a route for which the project sets none. Higher than those of a LAN (0 with static addresses,
/// 100 to 1024 otherwise), so that a device which sits in the network itself keeps reaching it directly.
/// Without a metric nebula 1.11 replaces the route of the LAN, and 1.6 ends with "file exists".
const ROUTE_METRIC: u32 = 2000;

/// The metric to write for a route.
pub(super) fn metric(set: Option<u32>) -> u32 {
    set.filter(|metric| *metric > 0).unwrap_or(ROUTE_METRIC)
}

impl DeviceConfig {
    /// The lighthouses and relays that the device can reach, without the device itself: those with an address
    /// in a network of its certificates. nebula 1.6 refuses a file that names any other, or a lighthouse without
    /// an endpoint.
    pub(super) fn static_hosts(&self) -> impl Iterator<Item = &StaticHost> {
        let only_v4 = self.is_only_v4();
        self.project.static_hosts.iter().filter(move |host| {
            host.device_id != self.device.device_id
                && (!host.lighthouse || !self.endpoints_of(host).is_empty())
                && host.ip.parse().is_ok_and(|ip: IpAddr| {
                    (ip.is_ipv4() || !only_v4) && self.device.networks.iter().any(|own| own.contains(ip))
                })
        })
    }

    /// The endpoints of a lighthouse or relay that the device can use, also if others are in the table from
    /// before those were refused: nebula 1.6 does not start with a host that it cannot resolve, and one inside the
    /// overlay is reached by the tunnel that is to be built.
    pub(super) fn endpoints_of(&self, host: &StaticHost) -> Vec<String> {
        let inside = |address: IpAddr| self.device.networks.iter().any(|own| own.contains(address));
        let usable =
            |text: &&String| endpoint::fault(text).is_none() && !endpoint::address(text).is_some_and(inside);
        host.endpoints.iter().filter(usable).cloned().collect()
    }

    /// Whether the project has devices that only relay. Without them its lighthouses do that, too, so that one server is
    /// enough for devices behind any router.
    fn has_relays(&self) -> bool {
        self.project.static_hosts.iter().any(|host| !host.lighthouse)
    }

    /// Whether the device carries packets of others.
    pub(super) fn is_relay(&self) -> bool {
        match self.device.role {
            Role::Relay => true,
            Role::Lighthouse => !self.has_relays(),
            Role::Host => false,
        }
    }

    /// The devices through which others reach this one; only hosts are reached that way.
    pub(super) fn relays(&self) -> Vec<String> {
        let has_relays = self.has_relays();
        let carriers = self.static_hosts().filter(|host| host.lighthouse != has_relays);
        let is_host = self.device.role == Role::Host;
        carriers.filter(|_| is_host).map(|host| host.ip.clone()).collect()
    }

    /// Whether the device has a certificate of version 1, which older releases read and which carries IPv4
    /// alone.
    fn is_only_v4(&self) -> bool {
        self.device.networks.iter().any(IpNetwork::is_ipv4) && self.versions().contains(&Version::V1)
    }

    /// The routes that the device can use: not those through itself, and none that nebula or the kernel could
    /// not carry, also if it is in the table from before such routes were refused.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Route> {
        let only_v4 = self.is_only_v4();
        self.project.routes.iter().filter(move |route| {
            route.device_id != self.device.device_id
                && route.via.parse().is_ok_and(|via: IpAddr| {
                    (via.is_ipv4() || !only_v4) && self.device.networks.iter().any(|own| own.contains(via))
                })
                && route.network.parse().is_ok_and(|network| self.can_route(network))
        })
    }

    fn can_route(&self, network: IpNetwork) -> bool {
        let endpoints = self.project.static_hosts.iter().flat_map(|host| &host.endpoints);
        let gateway = self.project.gateway.iter().copied();
        let mut carriers = endpoints.filter_map(|text| endpoint::address(text)).chain(gateway);
        // nebula does not start with a route whose first address is in its own network, however wide it is.
        let inside = |own: &IpNetwork| own.contains(network.network());
        !is_too_wide(network)
            && !carriers.any(|carrier| network.contains(carrier))
            && !self.device.networks.iter().any(inside)
    }
}

/// Whether a network is as good as everything: default routes, halves of them, and the like. The packets of
/// nebula itself would go into the tunnel that they are to build. `nebula.add_route` refuses the same.
fn is_too_wide(network: IpNetwork) -> bool {
    match network {
        IpNetwork::V4(v4) => v4.prefix() < 8,
        // Private addresses, fc00::/7, are not the internet.
        IpNetwork::V6(v6) => {
            v6.prefix() < 16 && (v6.ip().segments()[0] & 0xfe00 != 0xfc00 || v6.prefix() < 7)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::super::tests::{config_in, static_host};
    use super::*;
    use crate::database::project::ProjectConfig;

    fn route(network: &str, via: &str) -> Route {
        let (network, via) = (network.into(), via.into());
        Route { device_id: Uuid::max(), network, via, mtu: None, metric: None }
    }

    #[test]
    fn a_file_names_only_lighthouses_in_a_network_of_the_device_and_of_its_families() {
        let hosts =
            ["10.61.0.1", "10.62.0.1", "fd61::1"].map(|ip| static_host(true, ip, &["192.0.2.10:4242"]));
        let named = |versions: &[u8], networks: &[&str]| {
            let config = config_in(versions, networks, &hosts, &[]);
            config.static_hosts().map(|host| host.ip.clone()).collect::<Vec<_>>()
        };
        assert_eq!(named(&[1, 2], &["10.61.0.7/24"]), ["10.61.0.1"]);
        assert_eq!(named(&[1, 2], &["10.61.0.7/24", "fd61::7/64"]), ["10.61.0.1"]);
        assert_eq!(named(&[2], &["10.61.0.7/24", "fd61::7/64"]), ["10.61.0.1", "fd61::1"]);
        assert_eq!(named(&[1, 2], &["fd61::7/64"]), ["fd61::1"]);
        assert!(config_in(&[1, 2], &["10.63.0.7/24"], &hosts, &[]).has_no_lighthouse());
    }

    #[test]
    fn endpoints_that_no_other_device_can_use_are_left_out_and_lighthouses_without_any() {
        let bad =
            ["1.2.3:4242", "127.0.0.1:4242", "[::ffff:192.0.2.9]:4242", "10.61.0.1:4242", "a:0", "nonsense"];
        let mixed: Vec<_> = bad.into_iter().chain(["192.0.2.10:4242"]).collect();
        let hosts = [
            static_host(true, "10.61.0.1", &mixed),
            static_host(true, "10.61.0.2", &bad),
            static_host(false, "10.61.0.3", &bad),
        ];
        let text =
            config_in(&[1, 2], &["10.61.0.7/24"], &hosts, &[]).yaml("1.6", super::super::PkiSource::Files);
        let map = "static_host_map:\n  \"10.61.0.1\": [\"192.0.2.10:4242\"]\n\n";
        assert!(text.contains(map) && text.contains("hosts: [\"10.61.0.1\"]\n"), "{text}");
        assert!(text.contains("relays: [\"10.61.0.3\"]\n"), "{text}");
    }

    #[test]
    fn lighthouses_relay_as_long_as_nobody_else_does() {
        let lighthouse = static_host(true, "10.61.0.1", &["192.0.2.10:4242"]);
        let relay = static_host(false, "10.61.0.2", &[]);
        for (hosts, relays) in [
            (vec![lighthouse.clone()], vec!["10.61.0.1"]),
            (vec![lighthouse.clone(), relay], vec!["10.61.0.2"]),
        ] {
            let mut config = config_in(&[1, 2], &["10.61.0.7/24"], &hosts, &[]);
            assert_eq!(
                (config.relays(), config.is_relay()),
                (relays.iter().map(ToString::to_string).collect(), false)
            );
            config.device.role = Role::Lighthouse;
            assert_eq!((config.relays(), config.is_relay()), (vec![], hosts.len() == 1));
        }
    }

    #[test]
    fn a_route_never_takes_the_way_to_the_internet_a_static_host_the_gateway_or_into_the_overlay() {
        let hosts = [static_host(true, "10.61.0.1", &["192.0.2.10:4242", "[2001:db8::1]:4242", "lh.test:1"])];
        let given = [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "128.0.0.0/1",
            "64.0.0.0/2",
            "192.0.2.0/24",
            "192.0.2.10/32",
            "10.61.0.128/25",
            "10.61.0.0/16",
            "::/0",
            "8000::/1",
            "2000::/3",
            "f800::/5",
            "2001:db8::/32",
            "nonsense",
        ];
        let routes: Vec<_> = given.iter().map(|network| route(network, "10.61.0.9")).collect();
        let config = config_in(&[1, 2], &["10.61.0.7/24"], &hosts, &routes);
        assert_eq!(config.routes().map(|route| &route.network).collect::<Vec<_>>(), Vec::<&String>::new());
        let good = ["10.0.0.0/8", "192.168.77.0/24", "fd00::/8", "2001:db9::/32"];
        let routes: Vec<_> = good.iter().map(|network| route(network, "10.61.0.9")).collect();
        assert_eq!(config_in(&[1, 2], &["10.61.0.7/24"], &hosts, &routes).routes().count(), good.len());
        // nebula 1.6, which reads version 1, knows no IPv6 in the overlay.
        let six = [route("fd77::/64", "fd61::9")];
        let dual = ["10.61.0.7/24", "fd61::7/64"];
        let count = |versions: &[u8]| config_in(versions, &dual, &hosts, &six).routes().count();
        assert_eq!((count(&[1, 2]), count(&[2])), (0, 1));
        let mut config = config_in(&[1, 2], &["10.61.0.7/24"], &hosts, &routes);
        let gateway = vec!["192.168.77.5".parse().unwrap(), "10.200.0.1".parse().unwrap()];
        config.project = Arc::new(ProjectConfig { gateway, ..ProjectConfig::clone(&config.project) });
        assert_eq!(config.routes().count(), good.len() - 2);
        // Through a router in another pool there is no way.
        assert_eq!(config_in(&[1, 2], &["10.62.0.7/24"], &hosts, &routes).routes().count(), 0);
    }

    #[test]
    fn a_route_without_a_metric_stands_behind_those_of_the_machine_itself() {
        let text = |metric| {
            let one = Route { metric, ..route("192.168.77.0/24", "10.61.0.9") };
            config_in(&[1], &["10.61.0.7/24"], &[], &[one]).yaml("1.6", super::super::PkiSource::Files)
        };
        for (metric, written) in [(None, 2000), (Some(0), 2000), (Some(50), 50)] {
            assert!(text(metric).contains(&format!("\n      metric: {written}\n")), "{}", text(metric));
        }
    }
}
