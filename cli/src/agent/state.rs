//! The agent's files, in one folder of mode 0700; each file has mode 0600 and is replaced atomically.
//!
//! ```text
//! agent.json             which device this is
//! enrolment.json         keys of an enrolment that was not answered yet
//! update.json            keys of an update that was not answered yet
//! generations/7/         configuration with counter 7: nebula.yml and node.key for nebula, credential.json
//!                        with the keys of calls, received.yml as the gateway sent nebula.yml (refused: why
//!                        nebula refused the configuration; substitute.yml: an earlier one that it runs)
//! current                link to the generation that nebula runs
//! interface.json         name of the interface, where another program has the one that the gateway named
//! resolver.json          settings of systemd-resolved for names of the project's domain
//! syncthing.json         options of the project that were set in Syncthing
//! wireguard/             what the interfaces of a node run: state.json as the gateway said, a key each,
//!                        endpoints.json of peers, forwarding.json as the kernel's was before
//! ```
//!
//! Keys are saved before they are sent, and a configuration is saved before it is used, so that the next
//! agent can continue after a crash at any point.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nebula_api::dnapi::{Host, Network};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::atomic_file::{self, PRIVATE};
use crate::device_folder::AGENT_IDENTITY;
use crate::error::{Code, Doing, Error, Result};
use generation::{CONFIG, KEY};
pub(crate) use generation::{Generation, NewGeneration};

const GENERATIONS: &str = "generations";
const CURRENT: &str = "current";
/// The lock is tried this often, with this delay in between.
const MAX_LOCK_ATTEMPTS: u32 = 25;
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(20);
/// Older configurations that are kept in addition to those that may still be needed.
const SPARE_GENERATIONS: usize = 2;

mod generation;

/// Which device this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    /// Gateway it enrolled at.
    pub(crate) server: String,
    /// Its project.
    pub(crate) network: Network,
    /// The device, as the gateway knows it.
    pub(crate) host: Host,
}

/// The agent's folder, locked against other agents.
#[derive(Debug)]
pub(crate) struct AgentFolder {
    path: PathBuf,
    _lock: File,
}

impl AgentFolder {
    /// Opens and locks the folder, and creates it if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).doing(|| format!("find {}", path.display()))?;
        atomic_file::create_private_dir(&path)?;
        let name = path.join("agent.lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(PRIVATE)
            .open(&name)
            .doing(|| format!("open {}", name.display()))?;
        // `AgentFolder::holder` takes the lock for a moment only.
        let mut attempts = 0;
        while lock.try_lock().is_err() && attempts < MAX_LOCK_ATTEMPTS {
            attempts += 1;
            thread::sleep(LOCK_RETRY_DELAY);
        }
        if attempts == MAX_LOCK_ATTEMPTS {
            let mut holder = String::new();
            // Only shown in the message.
            let _ = lock.read_to_string(&mut holder);
            return Err(Error::new(
                Code::WrongState,
                format!("process {} works on {} already", holder.trim(), path.display()),
            )
            .hint(
                "A device has one agent; nebulactl status shows it. That of a unit takes further options \
                     from /etc/default/nebula-agent.",
            ));
        }
        let write = lock.set_len(0).and_then(|()| lock.rewind());
        write
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .doing(|| format!("write {}", name.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Pid of the agent that holds the folder, if one does.
    pub(crate) fn holder(path: &Path) -> Option<u32> {
        let mut lock = File::open(path.join("agent.lock")).ok()?;
        if lock.try_lock_shared().is_ok() {
            return None;
        }
        let mut text = String::new();
        lock.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// Absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The path for `nebula -config`: always the same, since it leads through the link `current`.
    pub(crate) fn config_path(&self) -> PathBuf {
        current_config_path(&self.path)
    }

    /// Path of nebula's key in a generation.
    pub(crate) fn key_path(&self, counter: u64) -> PathBuf {
        self.path.join(GENERATIONS).join(counter.to_string()).join(KEY)
    }

    /// Which device this is; `None` before it has enrolled.
    pub(crate) fn identity(&self) -> Result<Option<Identity>> {
        identity(&self.path)
    }

    pub(crate) fn save_identity(&self, identity: &Identity) -> Result<()> {
        self.save(AGENT_IDENTITY, identity)
    }

    /// Reads a JSON file of this folder.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        read(&self.path.join(name))
    }

    /// Writes a JSON file of this folder.
    pub(crate) fn save(&self, name: &str, value: &impl Serialize) -> Result<()> {
        write(&self.path.join(name), value)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        atomic_file::remove_if_exists(&self.path.join(name))
    }

    /// Writes a generation, all files or none; it is not used yet. An existing one with the same counter is
    /// replaced: a gateway restored from a backup counts from an older number.
    pub(crate) fn add(&self, new: &NewGeneration<'_>) -> Result<Generation> {
        let path = self.path.join(GENERATIONS).join(new.counter.to_string());
        atomic_file::create_private_dir(atomic_file::parent_dir(&path))?;
        Generation::write(&path, new)
    }

    /// The generation that nebula runs or shall run.
    pub(crate) fn current(&self) -> Result<Option<Generation>> {
        current(&self.path)
    }

    /// Makes a generation the current one.
    pub(crate) fn switch(&self, counter: u64) -> Result<()> {
        let target = Path::new(GENERATIONS).join(counter.to_string());
        atomic_file::replace_symlink(&self.path.join(CURRENT), &target)
    }

    /// All readable generations, the newest first.
    pub(crate) fn generations(&self) -> Result<Vec<Generation>> {
        let counters = self.counters()?.into_iter().rev();
        let path = self.path.join(GENERATIONS);
        Ok(counters.filter_map(|counter| Generation::open(path.join(counter.to_string())).ok()).collect())
    }

    /// Removes generations that are no longer needed, and temporary files of a process that died.
    pub(crate) fn prune(&self, running: u64) -> Result<()> {
        let older: Vec<u64> = self.counters()?.into_iter().filter(|counter| *counter < running).collect();
        for counter in older.iter().rev().skip(SPARE_GENERATIONS) {
            let path = self.path.join(GENERATIONS).join(counter.to_string());
            fs::remove_dir_all(&path).doing(|| format!("remove {}", path.display()))?;
        }
        for folder in [self.path.clone(), self.path.join(GENERATIONS)] {
            let entries = fs::read_dir(&folder).doing(|| format!("read {}", folder.display()))?;
            for entry in entries.flatten() {
                if entry.file_name().to_string_lossy().starts_with(".nebulactl-") {
                    // Tried again at the next call.
                    let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
                }
            }
        }
        Ok(())
    }

    fn counters(&self) -> Result<Vec<u64>> {
        let path = self.path.join(GENERATIONS);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.doing(|| format!("read {}", path.display()))?,
        };
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
        let mut counters: Vec<u64> = entries.flatten().filter_map(number).collect();
        counters.sort_unstable();
        Ok(counters)
    }
}

/// Reads which device the agent in this folder is; does not take the lock.
pub(crate) fn identity(folder: &Path) -> Result<Option<Identity>> {
    read(&folder.join(AGENT_IDENTITY))
}

/// The generation that nebula runs or shall run; does not take the lock.
pub(crate) fn current(folder: &Path) -> Result<Option<Generation>> {
    let link = folder.join(CURRENT);
    match fs::read_link(&link) {
        Ok(target) => Generation::open(folder.join(target)).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(|| format!("read {}", link.display())),
    }
}

/// Reads the current configuration in this folder; does not take the lock.
pub(crate) fn current_config(folder: &Path) -> Result<Option<String>> {
    atomic_file::read_if_exists(&current_config_path(folder))
}

/// Path of the current configuration in this folder, which nebula is started with.
pub(crate) fn current_config_path(folder: &Path) -> PathBuf {
    folder.join(CURRENT).join(CONFIG)
}

/// Reads a JSON file. The error does not quote the content, which may be a key.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = atomic_file::read_if_exists(path)?.map(Zeroizing::new) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Error::new(Code::Damaged, format!("{} is damaged at line {}", path.display(), error.line()))
            .hint("Join again with a new code: nebulactl leave, then nebulactl join --code CODE")
    })
}

/// Writes a JSON file of mode 0600, durably.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(std::io::Error::from);
    let text = Zeroizing::new(text.doing(|| format!("write {}", path.display()))?);
    atomic_file::write_atomic(path, &text, PRIVATE)
}

#[cfg(test)]
pub(crate) mod tests {
    use nebula_certificate::Curve;

    use super::*;
    use crate::agent::keys::HostKey;

    pub(crate) const TRUSTED: &str = "-----BEGIN NEBULA ED25519 PUBLIC KEY-----\n\
        11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END NEBULA ED25519 PUBLIC KEY-----\n";

    fn add(folder: &AgentFolder, counter: u64) -> Generation {
        let host_key = HostKey::generate(Curve::Curve25519).unwrap();
        let config = format!("counter: {counter}\n");
        let new = NewGeneration {
            host_id: "device",
            counter,
            config: &config,
            host_key: &host_key,
            nebula_key: "PEM",
            trusted_keys: TRUSTED,
        };
        folder.add(&new).unwrap()
    }

    #[test]
    fn only_generations_that_are_no_longer_needed_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = AgentFolder::open(&parent.path().join("agent")).unwrap();
        assert!(folder.current().unwrap().is_none());
        for counter in 1..=6 {
            assert_eq!(add(&folder, counter).counter(), counter);
        }
        folder.switch(5).unwrap();
        assert_eq!(folder.current().unwrap().unwrap().counter(), 5);
        assert_eq!(fs::read_to_string(folder.config_path()).unwrap(), "counter: 5\n");
        fs::create_dir(folder.file("generations/.nebulactl-half")).unwrap();
        folder.prune(5).unwrap();
        let counters: Vec<u64> = folder.generations().unwrap().iter().map(Generation::counter).collect();
        assert_eq!(counters, [6, 5, 4, 3]);
        assert!(!folder.file("generations/.nebulactl-half").exists());
        // As from a gateway restored from a backup.
        add(&folder, 5);
        assert_eq!(folder.current().unwrap().unwrap().counter(), 5);
    }

    #[test]
    fn a_folder_has_one_agent_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let folder = AgentFolder::open(parent.path()).unwrap();
        let error = AgentFolder::open(parent.path()).unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        assert_eq!(AgentFolder::holder(parent.path()), Some(std::process::id()));
        drop(folder);
        assert_eq!(AgentFolder::holder(parent.path()), None);
        AgentFolder::open(parent.path()).unwrap();
    }
}
