//! Settings and sessions, in `$XDG_CONFIG_HOME/nebulactl` or `~/.config/nebulactl`: folder 0700, files 0600.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use nebula_api::auth::TokenPair;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::atomic_file::{self, PRIVATE, PUBLIC};
use crate::error::{Code, Doing, Error, Result};

/// The gateway of `make up`.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// The settings folder, created when something is saved.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    folder: Option<PathBuf>,
}

#[derive(Default, Serialize, Deserialize)]
struct Saved {
    server: Option<String>,
    /// The project that commands are about, for each server.
    #[serde(default)]
    projects: BTreeMap<String, String>,
    /// Certificates that were accepted by their fingerprint, DER in base64, for each server.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    certificates: BTreeMap<String, String>,
}

/// The tokens for one server.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) username: String,
    /// For the `Authorization` header.
    pub(crate) access_token: String,
    /// Good for one refresh.
    pub(crate) refresh_token: String,
    /// By this the gateway knows this client again when it repeats a refresh whose answer was lost.
    #[serde(default)]
    pub(crate) refresh_key: Option<Uuid>,
    /// End of the access token, by this machine's clock.
    pub(crate) expires_at: DateTime<Utc>,
}

impl Session {
    /// From the response to a login or a refresh.
    pub(crate) fn new(username: String, tokens: TokenPair) -> Self {
        // Limited to a day, which is longer than any access token is valid, so that a wrong value does not
        // overflow.
        let seconds = i64::try_from(tokens.expires_in).unwrap_or(i64::MAX).min(86_400);
        Self {
            username,
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            refresh_key: Some(Uuid::new_v4()),
            expires_at: Utc::now() + TimeDelta::seconds(seconds),
        }
    }

    /// Whether the access token will still be valid at the end of a request that starts now.
    pub(crate) fn is_fresh(&self) -> bool {
        self.expires_at - Utc::now() > TimeDelta::seconds(20)
    }
}

// Without derived `Debug`, so that tokens are not logged.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("username", &self.username).finish_non_exhaustive()
    }
}

type Sessions = BTreeMap<String, Session>;

/// Defaults of all users, where the XDG specification looks first.
const MACHINE_SETTINGS: &str = "/etc/xdg/nebulactl";
const SETTINGS: &str = "settings.json";
const SESSIONS: &str = "sessions.json";

impl Settings {
    pub(crate) fn locate() -> Self {
        // The XDG specification says that relative paths are ignored.
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
        Self { folder: base.map(|base| base.join("nebulactl")) }
    }

    #[cfg(test)]
    fn at(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// The server of the last login, else that of this machine's device, else the one that a join as root has
    /// written down for all users, else the default.
    pub(crate) fn server(&self, of_device: impl FnOnce() -> Option<String>) -> Result<String> {
        if let Some(server) = self.read::<Saved>(SETTINGS)?.server {
            return Ok(server);
        }
        let of_machine = || Self::of_machine().read::<Saved>(SETTINGS).ok()?.server;
        Ok(of_device().or_else(of_machine).unwrap_or_else(|| DEFAULT_SERVER.to_owned()))
    }

    /// The defaults for all users of this machine.
    pub(crate) fn of_machine() -> Self {
        Self { folder: Some(PathBuf::from(MACHINE_SETTINGS)) }
    }

    /// Writes the server down for all users, who may not read the folder of a device that runs as root.
    pub(crate) fn set_machine_server(server: &str) -> Result<()> {
        let saved = Self::of_machine().read::<Saved>(SETTINGS)?;
        Self::write_of_machine(&Saved { server: Some(server.to_owned()), ..saved })
    }

    fn write_of_machine(saved: &Saved) -> Result<()> {
        let folder = Path::new(MACHINE_SETTINGS);
        let text = serde_json::to_vec_pretty(saved);
        let text = text.map_err(std::io::Error::from).doing(|| "write the settings".to_owned())?;
        std::fs::create_dir_all(folder).doing(|| format!("make {}", folder.display()))?;
        atomic_file::write_atomic(&folder.join(SETTINGS), &text, PUBLIC)
    }

    /// Removes what [`Self::set_machine_server`] has written, if it names this server.
    pub(crate) fn forget_machine_server(server: &str) -> Result<()> {
        if Self::of_machine().read::<Saved>(SETTINGS)?.server.as_deref() == Some(server) {
            atomic_file::remove_if_exists(&Path::new(MACHINE_SETTINGS).join(SETTINGS))?;
            // Fails if there are other files, which stay.
            let _ = std::fs::remove_dir(MACHINE_SETTINGS);
        }
        Ok(())
    }

    pub(crate) fn set_server(&self, server: &str) -> Result<()> {
        let saved = self.read::<Saved>(SETTINGS)?;
        self.write(SETTINGS, &Saved { server: Some(server.to_owned()), ..saved })
    }

    /// The project that commands at this server are about, if one was chosen.
    pub(crate) fn project(&self, server: &str) -> Result<Option<String>> {
        Ok(self.read::<Saved>(SETTINGS)?.projects.remove(server))
    }

    pub(crate) fn set_project(&self, server: &str, project: &str) -> Result<()> {
        let mut saved = self.read::<Saved>(SETTINGS)?;
        saved.projects.insert(server.to_owned(), project.to_owned());
        self.write(SETTINGS, &saved)
    }

    /// The certificate that was accepted for a server, here or for all users.
    pub(crate) fn certificate(&self, server: &str) -> Option<String> {
        let find = |settings: &Self| settings.read::<Saved>(SETTINGS).ok()?.certificates.remove(server);
        find(self).or_else(|| find(&Self::of_machine()))
    }

    /// Keeps a certificate; as root for all users, as whom the agent may run.
    pub(crate) fn set_certificate(&self, server: &str, certificate: &str) -> Result<()> {
        let add = |mut saved: Saved| {
            saved.certificates.insert(server.to_owned(), certificate.to_owned());
            saved
        };
        if rustix::process::geteuid().is_root() {
            Self::write_of_machine(&add(Self::of_machine().read::<Saved>(SETTINGS)?))?;
        }
        self.write(SETTINGS, &add(self.read::<Saved>(SETTINGS)?))
    }

    /// Servers with a session.
    pub(crate) fn servers(&self) -> Result<Vec<String>> {
        Ok(self.read::<Sessions>(SESSIONS)?.into_keys().collect())
    }

    /// The session with a server, if there is one.
    pub(crate) fn session(&self, server: &str) -> Result<Option<Session>> {
        Ok(self.read::<Sessions>(SESSIONS)?.remove(server))
    }

    /// Saves the session with a server or, with `None`, removes it. The caller must hold the lock.
    pub(crate) fn set_session(&self, _: &Lock, server: &str, session: Option<Session>) -> Result<()> {
        let mut sessions = self.read::<Sessions>(SESSIONS)?;
        match session {
            Some(session) => sessions.insert(server.to_owned(), session),
            None => sessions.remove(server),
        };
        self.write(SESSIONS, &sessions)
    }

    /// Waits until no other process of this user changes sessions. Two processes that used the same refresh
    /// token would look like a theft to the gateway, which then ends the session.
    pub(crate) async fn lock(&self) -> Result<Lock> {
        let path = self.folder_made()?.join("sessions.lock");
        let acquire = {
            let path = path.clone();
            move || {
                let file = OpenOptions::new().create(true).append(true).mode(PRIVATE).open(path)?;
                file.lock()?;
                Ok(Lock { _file: file })
            }
        };
        let acquired = tokio::task::spawn_blocking(acquire).await.map_err(std::io::Error::other);
        acquired.flatten().doing(|| format!("lock {}", path.display()))
    }

    fn folder_made(&self) -> Result<&PathBuf> {
        let folder = self.folder.as_ref().ok_or_else(|| {
            Error::new(Code::Io, "there is no folder to keep settings in")
                .hint("Set HOME or XDG_CONFIG_HOME.")
        })?;
        atomic_file::create_private_dir(folder)?;
        Ok(folder)
    }

    fn read<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(name)) else {
            return Ok(T::default());
        };
        let Some(text) = atomic_file::read_if_exists(&path)? else { return Ok(T::default()) };
        serde_json::from_str(&text).map_err(|error| {
            // Not the whole message, which may quote a token.
            let detail = format!("{} is damaged at line {}", path.display(), error.line());
            Error::new(Code::Damaged, detail).hint("Remove it and sign in again: nebulactl login")
        })
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        let path = self.folder_made()?.join(name);
        let text = serde_json::to_vec_pretty(value).map_err(std::io::Error::from);
        atomic_file::write_atomic(&path, &text.doing(|| format!("write {}", path.display()))?, PRIVATE)
    }
}

/// Held while sessions are changed. The system releases it if the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn session(name: &str) -> Session {
        let tokens = TokenPair { access_token: "a".into(), refresh_token: "r".into(), expires_in: 900 };
        Session::new(name.to_owned(), tokens)
    }

    #[tokio::test]
    async fn sessions_are_separate_per_server_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::at(folder.path().join("nebulactl"));
        assert!(settings.session("http://a").unwrap().is_none());
        let lock = settings.lock().await.unwrap();
        settings.set_session(&lock, "http://a", Some(session("ann"))).unwrap();
        settings.set_session(&lock, "http://b", Some(session("bob"))).unwrap();
        settings.set_session(&lock, "http://b", None).unwrap();
        assert_eq!(settings.session("http://a").unwrap().unwrap().username, "ann");
        assert!(settings.session("http://b").unwrap().is_none());
        let mode = |name| folder.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("nebulactl"), mode("nebulactl/sessions.json")), (0o700, 0o600));
    }

    #[test]
    fn errors_of_damaged_files_do_not_quote_the_content() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SESSIONS), r#"{"http://a": "secret"}"#).unwrap();
        let error = Settings::at(folder.path().to_owned()).session("http://a").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(error.failure().error, "data_corrupted");
    }

    #[test]
    fn the_server_of_the_last_login_comes_before_that_of_the_device() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::at(folder.path().to_owned());
        let of_device = || Some("http://10.42.0.1:8080".to_owned());
        assert_eq!(settings.server(of_device).unwrap(), "http://10.42.0.1:8080");
        settings.set_server("https://home.example").unwrap();
        assert_eq!(settings.server(of_device).unwrap(), "https://home.example");
        settings.set_project("https://home.example", "lab").unwrap();
        settings.set_server("https://other.example").unwrap();
        assert_eq!(settings.project("https://home.example").unwrap().as_deref(), Some("lab"));
        assert_eq!(settings.project("https://other.example").unwrap(), None);
    }

    #[test]
    fn a_token_about_to_expire_is_not_fresh() {
        let mut session = session("ann");
        assert!(session.is_fresh());
        session.expires_at = Utc::now() + TimeDelta::seconds(5);
        assert!(!session.is_fresh());
    }
}
