//! Forwarding of packets in the kernel: switched on while the node serves peers, and put back as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::agent::journal::log;
use crate::agent::state;
use crate::atomic_file;
use crate::error::Result;

const FILE: &str = "forwarding.json";
const IPV4: &str = "net/ipv4/conf/all/forwarding";
const IPV6: &str = "net/ipv6/conf/all/forwarding";

/// Values of `/proc/sys` as they were before, on disk.
pub(super) struct Forwarding {
    system: PathBuf,
    path: PathBuf,
    before: BTreeMap<String, String>,
}

impl Forwarding {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let before = state::read(&path)?.unwrap_or_default();
        Ok(Self { system: PathBuf::from("/proc/sys"), path, before })
    }

    /// Switches forwarding on; returns what is in the way, each with the command that helps. Interfaces in
    /// `advertised` have their default route from router advertisements, which a forwarding kernel ignores
    /// unless it is told not to.
    pub(super) fn switch_on(&mut self, with_ipv6: bool, advertised: &[String]) -> Result<Vec<String>> {
        let mut obstacles = self.set(IPV4, "1")?;
        if with_ipv6 {
            for interface in advertised {
                let accept = format!("net/ipv6/conf/{interface}/accept_ra");
                // 0 means that something else in user space listens to routers.
                if self.value(&accept).as_deref() == Some("1") {
                    obstacles.extend(self.set(&accept, "2")?);
                }
            }
            obstacles.extend(self.set(IPV6, "1")?);
        }
        Ok(obstacles)
    }

    /// Whether the kernel has IPv6 and forwards none of it yet.
    pub(super) fn must_switch_ipv6_on(&self) -> bool {
        self.value(IPV6).is_some_and(|value| value != "1")
    }

    /// Puts the noted values back, unless someone else has changed them meanwhile.
    pub(super) fn put_back(&mut self) -> Result<()> {
        for (name, before) in &self.before {
            let ours = if name.ends_with("accept_ra") { "2" } else { "1" };
            if self.value(name).as_deref() == Some(ours)
                && let Err(error) = fs::write(self.system.join(name), before)
            {
                log(&format!("cannot set {name} back to {before}: {error}"));
            }
        }
        self.before.clear();
        atomic_file::remove_if_exists(&self.path)
    }

    fn value(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.system.join(name)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Sets a value, and notes the one before first. A kernel without the value needs nothing.
    fn set(&mut self, name: &str, value: &str) -> Result<Vec<String>> {
        let Some(found) = self.value(name).filter(|found| found != value) else { return Ok(Vec::new()) };
        if !self.before.contains_key(name) {
            self.before.insert(name.to_owned(), found);
            state::write(&self.path, &self.before)?;
        }
        let written = fs::write(self.system.join(name), value);
        Ok(written
            .err()
            .map(|error| {
                let key = name.replace('/', ".");
                format!("this machine may not forward packets ({error}): sysctl -w {key}={value}")
            })
            .into_iter()
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(values: &[(&str, &str)]) -> (tempfile::TempDir, Forwarding) {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in values {
            let path = folder.path().join("sys").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }
        let forwarding = anew(folder.path());
        (folder, forwarding)
    }

    fn anew(folder: &Path) -> Forwarding {
        Forwarding { system: folder.join("sys"), ..Forwarding::open(folder).unwrap() }
    }

    #[test]
    fn values_are_put_back_even_by_a_later_agent() {
        let ra = "net/ipv6/conf/eth0/accept_ra";
        let (folder, mut first) = system(&[(IPV4, "0"), (IPV6, "0"), (ra, "1")]);
        assert!(first.must_switch_ipv6_on());
        assert!(first.switch_on(true, &["eth0".to_owned()]).unwrap().is_empty());
        assert_eq!(
            (first.value(IPV4), first.value(IPV6), first.value(ra)),
            (Some("1".into()), Some("1".into()), Some("2".into()))
        );
        let mut second = anew(folder.path());
        second.switch_on(true, &["eth0".to_owned()]).unwrap();
        second.put_back().unwrap();
        assert_eq!(
            (second.value(IPV4), second.value(IPV6), second.value(ra)),
            (Some("0".into()), Some("0".into()), Some("1".into()))
        );
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn what_was_on_before_or_was_changed_since_stays() {
        let (_folder, mut forwarding) = system(&[(IPV4, "1"), (IPV6, "0")]);
        forwarding.switch_on(true, &[]).unwrap();
        fs::write(forwarding.system.join(IPV6), "2").unwrap();
        forwarding.put_back().unwrap();
        assert_eq!((forwarding.value(IPV4), forwarding.value(IPV6)), (Some("1".into()), Some("2".into())));
    }

    #[test]
    fn a_kernel_without_ipv6_needs_nothing_and_a_refusal_names_the_command() {
        let (_folder, mut forwarding) = system(&[(IPV4, "1")]);
        assert!(forwarding.switch_on(true, &[]).unwrap().is_empty() && !forwarding.must_switch_ipv6_on());
        let (folder, mut forwarding) = system(&[(IPV4, "0")]);
        // A folder in the place of the file can be read by nobody, so that the value is set aside first.
        let path = folder.path().join("sys").join(IPV4);
        let link = folder.path().join("elsewhere");
        fs::write(&link, "0").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/proc/version", &path).unwrap();
        let obstacles = forwarding.switch_on(false, &[]).unwrap();
        assert!(obstacles[0].ends_with("sysctl -w net.ipv4.conf.all.forwarding=1"), "{obstacles:?}");
    }
}
