//! Names of devices: systemd-resolved asks the lighthouses for names below the project's domain, and for no others. Its
//! settings belong to the interface of the overlay and end with it; a resolver of another kind is left alone.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nebula_api::dnapi::Names;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::journal::log;
use super::state;
use super::tool;
use crate::atomic_file::{self, PRIVATE};
use crate::error::{Code, Doing, Error, Result};

/// Record of the settings, in the agent's folder, so that the next agent or `leave` can take it back.
pub(crate) const RECORD: &str = "resolver.json";
const PROGRAM: &str = "resolvectl";
/// Interval of attempts after a failure: systemd-resolved may start later.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The settings of one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Applied {
    interface: String,
    /// Tells the interface from a later one of the same name, which has none of the settings.
    index: u32,
    names: Names,
}

/// State for `nebulactl status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamesStatus {
    pub(crate) domain: String,
    pub(crate) servers: Vec<String>,
    /// Why names do not resolve, and how they would.
    pub(crate) error: Option<String>,
}

/// The resolver of this machine.
pub(super) struct MachineResolver {
    is_enabled: bool,
    program: PathBuf,
    record: PathBuf,
    /// Interface of the running nebula.
    interface: Option<String>,
    applied: Option<Applied>,
    error: Option<String>,
    retry_at: Instant,
}

impl MachineResolver {
    /// `folder` is the agent's. A record that cannot be read counts as missing.
    pub(super) fn new(is_enabled: bool, folder: &Path) -> Self {
        let record = folder.join(RECORD);
        let mut applied: Option<Applied> = state::read(&record).unwrap_or_default();
        // The machine may have been booted meanwhile, with the same numbers of interfaces and none of the settings.
        if let Some(applied) = &mut applied {
            applied.names.servers.clear();
        }
        let (program, retry_at) = (PROGRAM.into(), Instant::now());
        Self { is_enabled, program, record, interface: None, applied, error: None, retry_at }
    }

    /// Sets the interface of the overlay.
    pub(super) fn set_interface(&mut self, interface: &str) {
        self.interface = Some(interface.to_owned());
    }

    pub(super) fn status(&self, wanted: Option<&Names>) -> Option<NamesStatus> {
        let Names { domain, servers } = wanted.filter(|_| self.is_enabled)?.clone();
        Some(NamesStatus { domain, servers, error: self.error.clone() })
    }

    /// Makes the settings what is wanted, if they are not so yet.
    pub(super) async fn update(&mut self, wanted: Option<&Names>) {
        let Some(interface) = self.interface.clone() else { return };
        let index = index_of(&interface);
        let wanted = wanted.filter(|_| self.is_enabled).zip(index).map(|(names, index)| Applied {
            interface,
            index,
            names: names.clone(),
        });
        if self.applied == wanted {
            return;
        }
        let Some(wanted) = wanted else { return self.remove().await };
        if self.retry_at > Instant::now() {
            return;
        }
        match self.apply(wanted).await {
            Ok(()) => self.error = None,
            Err(error) => {
                self.retry_at = Instant::now() + RETRY_INTERVAL;
                let error = error.to_string();
                if self.error.as_ref() != Some(&error) {
                    log(&error);
                }
                self.error = Some(error);
            }
        }
    }

    /// Sets everything or nothing.
    async fn apply(&mut self, wanted: Applied) -> Result<()> {
        let Names { domain, servers } = &wanted.names;
        let servers: Vec<_> = servers.iter().filter_map(|server| for_resolvectl(server)).collect();
        let (of_domain, together) = (format!("~{domain}"), servers.join(" or "));
        let dns: Vec<_> =
            ["dns", &wanted.interface].into_iter().chain(servers.iter().map(String::as_str)).collect();
        save(&self.record, &wanted)?;
        // The servers come last: with them alone the interface would be asked for every name. nebula neither signs its
        // answers nor speaks TLS, which the machine may demand of other resolvers; the overlay encrypts.
        for arguments in [
            &["domain", &wanted.interface, &of_domain][..],
            &["default-route", &wanted.interface, "no"],
            &["dnssec", &wanted.interface, "no"],
            &["dnsovertls", &wanted.interface, "no"],
            &dns,
        ] {
            if let Err(error) = tool::run(&self.program, arguments, "").await {
                // Some of them may have been set.
                let _ = tool::run(&self.program, &["revert", &wanted.interface], "").await;
                self.applied = None;
                atomic_file::remove_if_exists(&self.record)?;
                return Err(Error::new(
                    Code::WrongState,
                    format!(
                        "names below {domain} do not resolve on this machine: {error}; its resolver must ask {together} \
                         for them, or systemd-resolved must run"
                    ),
                ));
            }
        }
        log(&format!("systemd-resolved asks {together} for names below {domain}"));
        self.applied = Some(wanted);
        Ok(())
    }

    /// Takes the settings back.
    pub(super) async fn remove(&mut self) {
        (self.error, self.retry_at) = (None, Instant::now());
        if let Some(applied) = self.applied.take() {
            revert(&self.program, &self.record, &applied).await;
        }
    }
}

/// Takes back what an agent of this folder has set, after it has ended.
pub(crate) async fn take_back(folder: &Path) {
    let record = folder.join(RECORD);
    if let Some(applied) = state::read(&record).unwrap_or_default() {
        revert(Path::new(PROGRAM), &record, &applied).await;
    }
}

async fn revert(program: &Path, record: &Path, applied: &Applied) {
    // Another interface has none of the settings, or those of somebody else.
    if index_of(&applied.interface) == Some(applied.index)
        && let Err(error) = tool::run(program, &["revert", &applied.interface], "").await
    {
        log(&format!("the settings of {} stay in systemd-resolved: {error}", applied.interface));
    }
    if let Err(error) = atomic_file::remove_if_exists(record) {
        log(&error.to_string());
    }
}

fn save(record: &Path, applied: &Applied) -> Result<()> {
    let text = serde_json::to_vec_pretty(applied).map_err(std::io::Error::from);
    atomic_file::write_atomic(record, &text.doing(|| format!("write {}", record.display()))?, PRIVATE)
}

/// Number of an interface of this machine.
fn index_of(interface: &str) -> Option<u32> {
    fs::read_to_string(Path::new("/sys/class/net").join(interface).join("ifindex")).ok()?.trim().parse().ok()
}

/// A server as resolvectl takes it; releases before 246 take no port. None for a text that is no address.
fn for_resolvectl(server: &str) -> Option<String> {
    let server: SocketAddr = server.parse().ok()?;
    Some(if server.port() == 53 { server.ip().to_string() } else { server.to_string() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Keeps the settings of each interface as systemd-resolved does, and fails while a file exists.
    const STAND_IN: &str = r#"#!/bin/sh
cd "${0%/*}" || exit
[ ! -e fault ] || { echo 'Failed to set domain configuration: Unit dbus-org.freedesktop.resolve1.service not found.' >&2; exit 1; }
echo "$@" >> asked
verb=$1; link=$2; shift 2
case $verb in
    revert) rm -f "$link".* ;;
    *) echo "$@" > "$link.$verb" ;;
esac
"#;

    struct Machine {
        folder: tempfile::TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            atomic_file::write_atomic(&folder.path().join(PROGRAM), STAND_IN.as_bytes(), 0o700).unwrap();
            Self { folder }
        }

        /// The resolver of an agent on the loopback, which every machine has.
        fn agent(&self, is_enabled: bool) -> MachineResolver {
            let mut resolver = MachineResolver::new(is_enabled, self.folder.path());
            resolver.program = self.folder.path().join(PROGRAM);
            resolver.set_interface("lo");
            resolver
        }

        fn settings(&self) -> BTreeMap<String, String> {
            let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let names = files.filter_map(|name| Some(name.to_str()?.strip_prefix("lo.")?.to_owned()));
            let read =
                |name: &str| fs::read_to_string(self.folder.path().join(format!("lo.{name}"))).unwrap();
            names.map(|name| (name.clone(), read(&name).trim().to_owned())).collect()
        }

        fn calls(&self) -> usize {
            fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default().lines().count()
        }
    }

    fn names(domain: &str, servers: &[&str]) -> Names {
        Names { domain: domain.into(), servers: servers.iter().map(ToString::to_string).collect() }
    }

    #[tokio::test]
    async fn names_of_the_domain_alone_are_asked_of_lighthouses_until_the_agent_ends() {
        let (machine, wanted) = (Machine::new(), names("home.arpa", &["10.42.0.1:53", "[fd42::1]:5353"]));
        let mut agent = machine.agent(true);
        agent.update(Some(&wanted)).await;
        let set = machine.settings();
        assert_eq!(set["domain"], "~home.arpa", "a domain without ~ is also appended to names");
        for verb in ["default-route", "dnssec", "dnsovertls"] {
            assert_eq!(set[verb], "no");
        }
        assert_eq!(set["dns"], "10.42.0.1 [fd42::1]:5353");
        assert_eq!(agent.status(Some(&wanted)).unwrap().error, None);
        let calls = machine.calls();
        agent.update(Some(&wanted)).await;
        assert_eq!(machine.calls(), calls, "nothing has changed");

        agent.update(Some(&names("lab.arpa", &["10.42.0.1:53"]))).await;
        assert_eq!(
            (machine.settings()["domain"].as_str(), machine.settings()["dns"].as_str()),
            ("~lab.arpa", "10.42.0.1")
        );
        agent.remove().await;
        assert!(machine.settings().is_empty() && !machine.folder.path().join(RECORD).exists());
    }

    #[tokio::test]
    async fn settings_of_an_agent_that_was_killed_are_set_again_or_taken_back() {
        let (machine, wanted) = (Machine::new(), names("home.arpa", &["10.42.0.1:53"]));
        machine.agent(true).update(Some(&wanted)).await;
        // The machine was booted meanwhile: the interface has its old number again, and no settings.
        fs::remove_file(machine.folder.path().join("lo.dns")).unwrap();
        machine.agent(true).update(Some(&wanted)).await;
        assert_eq!(machine.settings()["dns"], "10.42.0.1");
        for (is_enabled, wanted) in [(true, None), (false, Some(&wanted))] {
            machine.agent(true).update(Some(&names("home.arpa", &["10.42.0.2:53"]))).await;
            let mut agent = machine.agent(is_enabled);
            agent.update(wanted).await;
            assert!(machine.settings().is_empty() && agent.status(wanted).is_none());
        }
    }

    #[tokio::test]
    async fn without_systemd_resolved_one_sentence_says_what_to_do() {
        let (machine, wanted) = (Machine::new(), names("home.arpa", &["10.42.0.1:5353"]));
        fs::write(machine.folder.path().join("fault"), "").unwrap();
        let mut agent = machine.agent(true);
        agent.update(Some(&wanted)).await;
        let told = agent.status(Some(&wanted)).unwrap().error.unwrap();
        assert!(told.contains("not found") && told.contains("must ask 10.42.0.1:5353 for them"), "{told}");
        assert!(!machine.folder.path().join(RECORD).exists());
        fs::remove_file(machine.folder.path().join("fault")).unwrap();
        agent.update(Some(&wanted)).await;
        assert!(machine.settings().is_empty(), "not at every look");
        agent.retry_at = Instant::now();
        agent.update(Some(&wanted)).await;
        assert_eq!(machine.settings()["dns"], "10.42.0.1:5353");
        assert_eq!(agent.status(Some(&wanted)).unwrap().error, None);
    }

    #[tokio::test]
    async fn an_interface_that_took_the_place_of_another_keeps_its_own_settings() {
        let (machine, wanted) = (Machine::new(), names("home.arpa", &["10.42.0.1:53"]));
        let mut agent = machine.agent(true);
        agent.update(Some(&wanted)).await;
        agent.applied.as_mut().unwrap().index += 1;
        agent.remove().await;
        assert_eq!(machine.settings()["dns"], "10.42.0.1");
    }
}
