//! Names of devices: the DNS of lighthouses, and which of them a device asks.

use std::net::{IpAddr, SocketAddr};

use nebula_api::dnapi::Names;

use super::{DEFAULT_PORT, DeviceConfig, port_of};
use crate::database::device::Role;
use crate::database::project::StaticHost;

impl DeviceConfig {
    /// Where this device answers DNS: at its address in the overlay, so that only members learn names. None unless it is
    /// a lighthouse, or on the port of nebula itself, where DNS would not start.
    pub(super) fn own_dns(&self) -> Option<SocketAddr> {
        let address = self.device.networks.first()?.ip();
        let port = self.project.dns_port.filter(|port| *port != self.port())?;
        (self.device.role == Role::Lighthouse).then_some(SocketAddr::new(address, port))
    }

    /// Where this device looks up names of the project's domain: at itself, and at the lighthouses that it reaches.
    pub(crate) fn names(&self) -> Option<Names> {
        let domain = self.project.dns_domain.clone()?;
        let others = self.static_hosts().filter(|host| host.lighthouse).filter_map(|host| self.dns_of(host));
        let servers: Vec<_> =
            self.own_dns().into_iter().chain(others).map(|server| server.to_string()).collect();
        (!servers.is_empty()).then_some(Names { domain, servers })
    }

    /// Where a lighthouse answers DNS, if that is at this address: of several only the first one, an IPv4 address if
    /// it has one.
    fn dns_of(&self, host: &StaticHost) -> Option<SocketAddr> {
        let address: IpAddr = host.ip.parse().ok()?;
        let all = self.project.static_hosts.iter().filter(|other| other.device_id == host.device_id);
        let first = all.filter_map(|other| other.ip.parse::<IpAddr>().ok()).min_by_key(IpAddr::is_ipv6)?;
        let nebula = port_of(&host.endpoints).unwrap_or(DEFAULT_PORT);
        let port = self.project.dns_port.filter(|port| *port != nebula)?;
        (address == first).then_some(SocketAddr::new(address, port))
    }
}

/// In brackets if it is of IPv6: nebula before 1.9 joins host and port with a colon.
pub(super) fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::super::tests::{config_in, static_host};
    use super::*;

    fn names(
        role: Role,
        networks: &[&str],
        port: Option<u16>,
        domain: Option<&str>,
    ) -> Option<(String, Vec<String>)> {
        let of =
            |device_id: u128, host: StaticHost| StaticHost { device_id: Uuid::from_u128(device_id), ..host };
        let hosts = [
            of(1, static_host(true, "fd61::1", &["192.0.2.10:4242"])),
            of(1, static_host(true, "10.61.0.1", &["192.0.2.10:4242"])),
            of(2, static_host(true, "fd61::2", &["192.0.2.11:53"])),
            of(3, static_host(false, "10.61.0.3", &["192.0.2.12:4242"])),
            of(4, static_host(true, "10.62.0.4", &["192.0.2.13:4242"])),
        ];
        let mut config = config_in(&[2], networks, &hosts, &[]);
        config.device.role = role;
        let project = Arc::make_mut(&mut config.project);
        (project.dns_port, project.dns_domain) = (port, domain.map(str::to_owned));
        config.names().map(|names| (names.domain, names.servers))
    }

    #[test]
    fn a_device_asks_the_lighthouses_that_it_reaches_where_they_answer() {
        let domain = Some("home.arpa");
        let asks = |servers: &[&str]| {
            Some(("home.arpa".to_owned(), servers.iter().map(|server| (*server).to_owned()).collect()))
        };
        let dual = ["10.61.0.7/24", "fd61::7/64"];
        assert_eq!(names(Role::Host, &dual, Some(5353), domain), asks(&["10.61.0.1:5353", "[fd61::2]:5353"]));
        // The port of nebula itself.
        assert_eq!(names(Role::Host, &dual, Some(53), domain), asks(&["10.61.0.1:53"]));
        assert_eq!(names(Role::Host, &["10.62.0.7/24"], Some(53), domain), asks(&["10.62.0.4:53"]));
        // The first lighthouse answers at its IPv4 address alone.
        assert_eq!(names(Role::Host, &["fd61::7/64"], Some(5353), domain), asks(&["[fd61::2]:5353"]));
        let own = ["10.61.0.9/24"];
        assert_eq!(names(Role::Lighthouse, &own, Some(53), domain), asks(&["10.61.0.9:53", "10.61.0.1:53"]));
        for (port, domain) in [(None, domain), (Some(53), None)] {
            assert_eq!(names(Role::Host, &dual, port, domain), None);
        }
        assert_eq!(names(Role::Host, &["10.63.0.7/24"], Some(53), domain), None);
    }
}
