//! Fits a configuration to this machine: the name of the interface, no IPv6 where it is switched off, and no overlay
//! with the range of its own network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lan::{self, Overlap};
use crate::agent::change::Release;
use crate::agent::config::Config;
use crate::agent::state;
use crate::atomic_file::{self, PRIVATE};
use crate::error::{Code, Doing, Error, Result};

mod ipv6;

/// First release that opens an IPv4 socket when it is to listen on an IPv4 address.
const LISTENS_ON_IPV4: Release = Release(1, 9);
/// First release that reads certificates of version 2, and gives its interface the IPv6 addresses in them.
const READS_VERSION_2: Release = Release(1, 10);
/// Longest name of an interface in the kernel.
const MAX_INTERFACE_LENGTH: usize = 15;
/// Where the chosen interface is remembered, in the agent's folder.
pub(crate) const INTERFACE: &str = "interface.json";

/// The name that took the place of a taken one. It stays when the taken one becomes free, because rules of a
/// firewall may name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Replacement {
    wanted: String,
    used: String,
}

/// The parts of a configuration that depend on this machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// `--dev`.
    interface: Option<String>,
    replacement: Option<Replacement>,
    path: PathBuf,
    has_ipv6_sockets: fn() -> bool,
    has_ipv6_addresses: fn() -> bool,
    routes: fn() -> String,
}

impl Machine {
    /// `path` is that of the remembered interface. A file that cannot be read counts as missing.
    pub(crate) fn new(interface: Option<String>, path: PathBuf) -> Self {
        let replacement = state::read(&path).unwrap_or_default();
        let (has_ipv6_sockets, has_ipv6_addresses) = (ipv6::has_sockets, ipv6::has_addresses);
        Self { interface, replacement, path, has_ipv6_sockets, has_ipv6_addresses, routes: lan::routes }
    }

    /// Changes the configuration for this machine and this release of nebula.
    pub(crate) fn fit(&self, config: &mut Config, release: Release) -> Result<()> {
        if let Some(interface) = self.interface_instead_of(config.interface()) {
            config.set_interface(&interface);
        }
        self.check_lan(config)?;
        // nebula would end with "permission denied".
        if release >= READS_VERSION_2 && !(self.has_ipv6_addresses)() {
            config.leave_out_ipv6()?;
        }
        if (self.has_ipv6_sockets)() {
            return Ok(());
        }
        if release < LISTENS_ON_IPV4 {
            let Release(major, minor) = release;
            return Err(Error::new(
                Code::WrongState,
                format!("nebula {major}.{minor} needs IPv6 in the kernel, which this machine does not have"),
            )
            .hint("Install nebula 1.9 or newer, or boot without ipv6.disable=1."));
        }
        config.listen_without_ipv6();
        Ok(())
    }

    /// Refuses an overlay that would take away a network which this machine is in.
    pub(crate) fn check_lan(&self, config: &Config) -> Result<()> {
        let certificates = config.certificates().unwrap_or_default();
        let networks = certificates.iter().flat_map(|one| one.details().networks.iter().copied());
        // Its own interface by name: /sys may be that of another network namespace, and shows no tunnel then.
        let is_tunnel = |name: &str| name == config.interface() || lan::is_tunnel(name);
        let Some(found) = lan::overlap(&(self.routes)(), &networks.collect::<Vec<_>>(), is_tunnel) else {
            return Ok(());
        };
        let Overlap { interface, lan, overlay } = found;
        Err(Error::new(
            Code::WrongState,
            format!(
                "the overlay {overlay} has addresses of {lan}, the network of this machine at {interface}"
            ),
        )
        .hint("nebula would cut the machine off from it. Give that network, or the overlay, another range."))
    }

    fn interface_instead_of(&self, wanted: &str) -> Option<String> {
        let replacement = self.replacement.as_ref().filter(|one| one.wanted == wanted);
        self.interface.clone().or_else(|| replacement.map(|one| one.used.clone()))
    }

    /// Remembers another name, because `taken` belongs to something else; `wanted` is what the gateway says.
    pub(crate) fn replace_interface(&mut self, wanted: &str, taken: &str) -> Result<String> {
        if self.interface.is_some() {
            return Err(Error::new(
                Code::WrongState,
                format!("the interface {taken} belongs to another program"),
            )
            .hint("Choose another one: nebulactl agent --dev NAME"));
        }
        let used = free_name(wanted, taken, &interfaces()?);
        let replacement = Replacement { wanted: wanted.to_owned(), used: used.clone() };
        let text = serde_json::to_vec_pretty(&replacement).map_err(std::io::Error::from);
        let text = text.doing(|| format!("write {}", self.path.display()))?;
        atomic_file::write_atomic(&self.path, &text, PRIVATE)?;
        self.replacement = Some(replacement);
        Ok(used)
    }
}

/// The next number that no interface has: `nebula2` after `nebula1`.
fn free_name(wanted: &str, taken: &str, present: &[String]) -> String {
    let stem = wanted.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let first: u32 = wanted[stem.len()..].parse().unwrap_or(0);
    let name = |number: u32| {
        let number = number.to_string();
        let room = MAX_INTERFACE_LENGTH - number.len();
        // The kernel counts bytes; a name cut within a letter loses the rest of it.
        let stem = &stem[..stem.floor_char_boundary(room)];
        format!("{stem}{number}")
    };
    let names = (1..).map(|step| name(first.wrapping_add(step)));
    let mut free = names.filter(|name| name != taken && !present.contains(name));
    free.next().unwrap_or_else(|| wanted.to_owned())
}

/// Names of the interfaces in the network namespace of this process.
fn interfaces() -> Result<Vec<String>> {
    let path = "/proc/self/net/dev";
    let text = std::fs::read_to_string(path).doing(|| format!("read {path}"))?;
    let name = |line: &str| Some(line.split_once(':')?.0.trim().to_owned());
    Ok(text.lines().filter_map(name).collect())
}

/// Parses `--dev`: a name that the kernel and nftables take.
pub(crate) fn parse_interface(text: &str) -> std::result::Result<String, crate::error::UsageError> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let sound = !text.is_empty()
        && text.len() <= MAX_INTERFACE_LENGTH
        && text.chars().all(plain)
        && !matches!(text, "." | ".." | "lo" | "all" | "default");
    if sound {
        return Ok(text.to_owned());
    }
    Err(crate::error::UsageError::new("write a name of 1 to 15 letters, digits and -_., for example nebula2"))
}

#[cfg(test)]
mod tests {
    use ipnetwork::IpNetwork;
    use nebula_certificate::Version;

    use super::*;
    use crate::agent::config::tests::config_in;

    const TEXT: &str = "pki: {}\ntun: {dev: nebula1}\nlisten: {host: \"::\", port: 4242}\n\
        lighthouse: {dns: {host: \"[::]\", port: 53}}\n";

    fn machine(interface: Option<&str>, has_ipv6: fn() -> bool) -> (tempfile::TempDir, Machine) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(INTERFACE);
        (folder, Machine { has_ipv6_sockets: has_ipv6, ..Machine::new(interface.map(str::to_owned), path) })
    }

    fn fitted(machine: &Machine, release: Release) -> Result<String> {
        let mut config = Config::parse(TEXT).unwrap();
        machine.fit(&mut config, release).map(|()| config.render())
    }

    #[test]
    fn a_machine_with_ipv6_takes_the_configuration_as_it_is() {
        let (_folder, machine) = machine(None, || true);
        assert_eq!(fitted(&machine, Release(1, 6)).unwrap(), Config::parse(TEXT).unwrap().render());
    }

    #[test]
    fn without_ipv6_nebula_listens_on_ipv4_and_old_releases_are_refused_with_the_remedy() {
        let (_folder, machine) = machine(None, || false);
        let text = fitted(&machine, Release(1, 9)).unwrap();
        assert!(!text.contains("::") && text.matches("\"0.0.0.0\"").count() == 2, "{text}");
        for release in [Release(1, 6), Release(1, 8)] {
            let error = fitted(&machine, release).unwrap_err();
            assert!(error.to_string().contains("needs IPv6 in the kernel"), "{error}");
            assert!(error.failure().hint.as_ref().unwrap().contains("1.9"), "{error}");
        }
    }

    #[test]
    fn where_interfaces_take_no_ipv6_the_certificate_without_it_is_used_or_the_remedy_named() {
        let fitted = |versions: &[Version], release| {
            let (_folder, machine) = machine(None, || true);
            let machine = Machine { has_ipv6_addresses: || false, routes: String::new, ..machine };
            let mut config = config_in(&["10.42.0.5/16", "fd42::5/64"], versions);
            machine.fit(&mut config, release).map(|()| config.certificates().unwrap())
        };
        let kept = fitted(&[Version::V1, Version::V2], READS_VERSION_2).unwrap();
        assert_eq!(kept.len(), 1);
        assert!(kept[0].details().networks.iter().all(IpNetwork::is_ipv4));
        let error = fitted(&[Version::V2], READS_VERSION_2).unwrap_err();
        assert!(error.failure().hint.as_ref().unwrap().contains("disable_ipv6=0"), "{error}");
        // An older release passes over what it does not read.
        assert_eq!(fitted(&[Version::V1, Version::V2], Release(1, 9)).unwrap().len(), 2);
    }

    #[test]
    fn its_own_interface_is_no_network_of_the_machine_even_where_sys_does_not_show_it() {
        const ROUTE: &str = "\t00002A0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let (_folder, machine) = machine(None, || true);
        let own = Machine { routes: || format!("nebula1{ROUTE}"), ..machine };
        let config = config_in(&["10.42.0.5/16"], &[Version::V1]);
        assert_eq!(config.interface(), "nebula1");
        own.check_lan(&config).unwrap();
        let other = Machine { routes: || format!("absent0{ROUTE}"), ..own };
        assert!(other.check_lan(&config).unwrap_err().to_string().contains("absent0"));
    }

    #[test]
    fn a_taken_interface_gets_another_name_which_is_remembered() {
        let (_folder, mut machine) = machine(None, || true);
        let used = machine.replace_interface("nebula1", "nebula1").unwrap();
        assert_eq!(used, "nebula2");
        // Another agent was faster.
        assert_eq!(machine.replace_interface("nebula1", "nebula2").unwrap(), "nebula3");
        let again = Machine::new(None, machine.path.clone());
        assert!(fitted(&again, Release(1, 11)).unwrap().contains("\"nebula3\""));
        // A name chosen by the gateway later counts anew.
        assert_eq!(again.interface_instead_of("overlay"), None);
    }

    #[test]
    fn the_option_decides_and_is_never_replaced() {
        let (_folder, mut machine) = machine(Some("home0"), || true);
        assert!(fitted(&machine, Release(1, 11)).unwrap().contains("\"home0\""));
        let error = machine.replace_interface("nebula1", "home0").unwrap_err();
        assert!(error.failure().hint.as_ref().unwrap().contains("--dev"), "{error}");
    }

    #[test]
    fn free_names_count_on_and_fit_the_kernel() {
        let present = ["nebula2".to_owned(), "nebula3".to_owned()];
        assert_eq!(free_name("nebula1", "nebula1", &present), "nebula4");
        assert_eq!(free_name("tun", "tun", &[]), "tun1");
        assert_eq!(free_name("abcdefghijklmno", "abcdefghijklmno", &[]), "abcdefghijklmn1");
    }

    #[test]
    fn the_loopback_is_found_among_the_interfaces() {
        assert!(interfaces().unwrap().contains(&"lo".to_owned()));
    }

    #[test]
    fn interface_names_that_the_kernel_or_nftables_would_misread_are_refused() {
        for good in ["nebula2", "a", "tun-home_0.1"] {
            assert_eq!(parse_interface(good).as_deref(), Ok(good));
        }
        for wrong in ["", "a b", "a/b", "sixteen_letters_", "..", "lo", "ä", "a\"b"] {
            assert!(parse_interface(wrong).is_err(), "{wrong}");
        }
    }
}
