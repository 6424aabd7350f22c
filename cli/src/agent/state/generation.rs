//! One configuration on disk, with its keys.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::read;
use crate::agent::config::Config;
use crate::agent::keys::{Credential, HostKey, TrustedKeys};
use crate::atomic_file::{self, PRIVATE};
use crate::error::{Code, Doing, Error, Result};

pub(super) const CONFIG: &str = "nebula.yml";
/// nebula's key has a file of its own because `nebula -test` prints the configuration, and users show it to
/// others.
pub(super) const KEY: &str = "node.key";
/// `nebula.yml` before it was fitted to this machine.
const RECEIVED: &str = "received.yml";
/// An earlier configuration, which nebula runs as long as it does not start with the one that was received.
const SUBSTITUTE: &str = "substitute.yml";
const CREDENTIAL: &str = "credential.json";
const REFUSED: &str = "refused";

/// The keys that sign calls, and nebula's key, which the next generation may reuse.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    host_id: String,
    counter: u64,
    host_key: Zeroizing<String>,
    nebula_key: Zeroizing<String>,
    trusted_keys: String,
}

/// A configuration with its keys.
pub(crate) struct Generation {
    pub(crate) path: PathBuf,
    /// Used for calls while this generation runs.
    pub(crate) credential: Credential,
    /// Private key in PEM.
    pub(crate) nebula_key: Zeroizing<String>,
}

impl Generation {
    pub(crate) fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    pub(crate) fn counter(&self) -> u64 {
        self.credential.counter
    }

    /// Rewrites `nebula.yml` with `fit` applied to what the gateway sent, or to its substitute; returns whether
    /// it has changed.
    pub(crate) fn fit(&self, fit: impl FnOnce(&mut Config) -> Result<()>) -> Result<bool> {
        let (path, received) = (self.config_path(), self.path.join(RECEIVED));
        let present = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        if !received.exists() {
            // Written by an agent that fitted nothing.
            atomic_file::write_atomic(&received, present.as_bytes(), PRIVATE)?;
        }
        let mut config = self.unfitted()?;
        fit(&mut config)?;
        let fitted = config.render();
        if fitted == present {
            return Ok(false);
        }
        atomic_file::write_atomic(&path, fitted.as_bytes(), PRIVATE)?;
        Ok(true)
    }

    fn unfitted(&self) -> Result<Config> {
        let substitute = atomic_file::read_if_exists(&self.path.join(SUBSTITUTE))?;
        substitute.map_or_else(|| self.received(), |text| Config::parse(&text))
    }

    fn received(&self) -> Result<Config> {
        let path = self.path.join(RECEIVED);
        let text = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        Config::parse(&text)
    }

    /// The interface that the gateway named.
    pub(crate) fn received_interface(&self) -> Result<String> {
        self.unfitted().map(|config| config.interface().to_owned())
    }

    /// Lets nebula run an earlier configuration in the place of this one. The keys of calls stay, because the
    /// gateway has forgotten earlier ones, and so does the blocklist: the gateway counts it as applied.
    pub(crate) fn substitute(&self, earlier: &Self) -> Result<()> {
        let mut config = earlier.unfitted()?;
        config.take_blocklist(&self.received()?);
        atomic_file::write_atomic(&self.path.join(SUBSTITUTE), config.render().as_bytes(), PRIVATE)
    }

    pub(crate) fn has_substitute(&self) -> bool {
        self.path.join(SUBSTITUTE).exists()
    }

    /// Lets nebula run this configuration again.
    pub(crate) fn remove_substitute(&self) -> Result<()> {
        atomic_file::remove_if_exists(&self.path.join(SUBSTITUTE))
    }

    /// The reason why this release of nebula refused the configuration, if it did.
    pub(crate) fn refused(&self, nebula: &str) -> Result<Option<String>> {
        let text = atomic_file::read_if_exists(&self.path.join(REFUSED))?;
        let verdict = text.as_deref().and_then(|text| text.split_once('\n'));
        Ok(verdict.filter(|(release, _)| *release == nebula).map(|(_, reason)| reason.to_owned()))
    }

    /// Records that this release of nebula refuses the configuration.
    pub(crate) fn refuse(&self, nebula: &str, reason: &str) -> Result<()> {
        atomic_file::write_atomic(&self.path.join(REFUSED), format!("{nebula}\n{reason}").as_bytes(), PRIVATE)
    }

    /// Writes all files or none.
    pub(super) fn write(path: &Path, new: &NewGeneration<'_>) -> Result<Self> {
        let saved = Saved {
            host_id: new.host_id.to_owned(),
            counter: new.counter,
            host_key: new.host_key.private_pem()?,
            nebula_key: Zeroizing::new(new.nebula_key.to_owned()),
            trusted_keys: new.trusted_keys.to_owned(),
        };
        let text = serde_json::to_vec_pretty(&saved).map_err(std::io::Error::from);
        let text = Zeroizing::new(text.doing(|| format!("write {}", path.display()))?);
        let files = [
            (CONFIG, new.config.as_bytes()),
            (RECEIVED, new.config.as_bytes()),
            (KEY, new.nebula_key.as_bytes()),
            (CREDENTIAL, text.as_slice()),
        ];
        atomic_file::install_dir(path, &files)?;
        Self::open(path.to_owned())
    }

    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let saved: Saved = read(&path.join(CREDENTIAL))?
            .ok_or_else(|| Error::new(Code::Damaged, format!("{} has no {CREDENTIAL}", path.display())))?;
        let credential = Credential {
            host_id: saved.host_id,
            counter: saved.counter,
            key: HostKey::parse(&saved.host_key)?,
            trusted: TrustedKeys::parse(&saved.trusted_keys)?,
        };
        Ok(Self { path, credential, nebula_key: saved.nebula_key })
    }
}

/// Content of a new generation.
pub(crate) struct NewGeneration<'a> {
    /// Name of the device in calls.
    pub(crate) host_id: &'a str,
    /// Counter from the gateway.
    pub(crate) counter: u64,
    /// `nebula.yml` with the path of the key.
    pub(crate) config: &'a str,
    /// Signs calls from now on.
    pub(crate) host_key: &'a HostKey,
    /// Private key in PEM.
    pub(crate) nebula_key: &'a str,
    /// Public keys that verify responses, in PEM.
    pub(crate) trusted_keys: &'a str,
}

#[cfg(test)]
mod tests {
    use nebula_certificate::Curve;

    use super::*;

    #[test]
    fn what_fits_the_machine_is_derived_from_what_the_gateway_sent() {
        let folder = tempfile::tempdir().unwrap();
        let host_key = HostKey::generate(Curve::Curve25519).unwrap();
        let received = Config::parse("pki: {}\ntun: {dev: nebula1}\n").unwrap().render();
        let new = NewGeneration {
            host_id: "device",
            counter: 2,
            config: &received,
            host_key: &host_key,
            nebula_key: "PEM",
            trusted_keys: crate::agent::state::tests::TRUSTED,
        };
        let generation = Generation::write(&folder.path().join("2"), &new).unwrap();
        let named = |name: &'static str| {
            move |config: &mut Config| {
                config.set_interface(name);
                Ok(())
            }
        };
        let text = || fs::read_to_string(generation.config_path()).unwrap();
        assert!(generation.fit(named("nebula2")).unwrap() && text().contains("nebula2"));
        assert!(!generation.fit(named("nebula2")).unwrap(), "nothing is written twice");
        assert_eq!(generation.received_interface().unwrap(), "nebula1");
        assert!(generation.fit(|_| Ok(())).unwrap());
        assert_eq!(text(), received);
        // An earlier agent has saved only nebula.yml.
        fs::remove_file(folder.path().join("2").join(RECEIVED)).unwrap();
        assert!(generation.fit(named("nebula3")).unwrap());
        assert_eq!(generation.received_interface().unwrap(), "nebula1");
    }

    #[test]
    fn a_substitute_runs_with_the_blocklist_of_the_configuration_that_it_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let host_key = HostKey::generate(Curve::Curve25519).unwrap();
        let write = |counter: u64, config: &str| {
            let new = NewGeneration {
                host_id: "device",
                counter,
                config,
                host_key: &host_key,
                nebula_key: "PEM",
                trusted_keys: crate::agent::state::tests::TRUSTED,
            };
            Generation::write(&folder.path().join(counter.to_string()), &new).unwrap()
        };
        let earlier = write(2, "pki: {ca: old}\ntun: {mtu: 1300}\n");
        let later = write(3, "pki: {ca: new, blocklist: [c0ffee]}\ntun: {mtu: 1280}\n");
        let text = || fs::read_to_string(later.config_path()).unwrap();
        later.substitute(&earlier).unwrap();
        assert!(later.fit(|_| Ok(())).unwrap() && later.has_substitute());
        for part in ["1300", "old", "c0ffee"] {
            assert!(text().contains(part), "{part}: {}", text());
        }
        later.remove_substitute().unwrap();
        assert!(later.fit(|_| Ok(())).unwrap() && !later.has_substitute());
        assert!(text().contains("1280") && !text().contains("old"), "{}", text());
    }

    #[test]
    fn a_refusal_applies_only_to_the_release_that_refused() {
        let folder = tempfile::tempdir().unwrap();
        let host_key = HostKey::generate(Curve::Curve25519).unwrap();
        let new = NewGeneration {
            host_id: "device",
            counter: 2,
            config: "",
            host_key: &host_key,
            nebula_key: "PEM",
            trusted_keys: crate::agent::state::tests::TRUSTED,
        };
        let generation = Generation::write(&folder.path().join("2"), &new).unwrap();
        assert_eq!(generation.refused("1.6.1").unwrap(), None);
        generation.refuse("1.6.1", "no such option\nat all").unwrap();
        assert_eq!(generation.refused("1.6.1").unwrap().as_deref(), Some("no such option\nat all"));
        assert_eq!(generation.refused("1.11.0").unwrap(), None);
    }
}
