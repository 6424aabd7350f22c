//! The authorities whose keys this gateway holds: the shared one named by the settings, and a folder of others.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use nebula_certificate::{Certificate, CertificateAuthority, Fingerprint, Zeroizing};

use super::Authority;
use crate::ApiError;
use crate::database::authority::Trusted;
use crate::error::UNAVAILABLE;

/// Where keys are and what opens them.
#[derive(Clone)]
pub struct Source {
    /// Certificate of the shared authority; several during a rotation by hand.
    pub cert: PathBuf,
    /// Its key: a file, or a `pkcs11:` URI.
    pub key: PathBuf,
    /// Folder with `NAME.crt` and `NAME.key` pairs of further authorities; `NAME.uri` holds a `pkcs11:` URI instead.
    pub folder: Option<PathBuf>,
    /// Passphrase of encrypted keys.
    pub passphrase: Option<String>,
}

/// Holds keys, and finds those of a project.
#[derive(Debug)]
pub struct Keyring {
    shared: Arc<CertificateAuthority>,
    folder: Option<Folder>,
    found: RwLock<HashMap<Fingerprint, Arc<CertificateAuthority>>>,
}

struct Folder {
    path: PathBuf,
    passphrase: Option<String>,
}

/// Without the passphrase.
impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

impl Keyring {
    /// Reads the shared authority and the folder. An encrypted key takes seconds and up to 2 GiB: call it off the
    /// request threads.
    ///
    /// # Errors
    /// A sentence naming the file and what is wrong with it.
    pub fn load(source: Source) -> Result<Self, String> {
        let shared = pair(&source.cert, &source.key, source.passphrase.as_deref())?;
        let folder = source.folder.map(|path| Folder { path, passphrase: source.passphrase });
        let keyring = Self::new(shared);
        let keyring = Self { folder, ..keyring };
        keyring.look()?;
        Ok(keyring)
    }

    /// Takes an authority that is in memory already.
    pub fn new(shared: CertificateAuthority) -> Self {
        Self { shared: Arc::new(shared), folder: None, found: RwLock::default() }
    }

    /// The authority of projects that have none of their own.
    pub fn shared(&self) -> Authority {
        let [signer, voice] = [&self.shared, &self.shared].map(Arc::clone);
        Authority::new(signer, voice, self.shared.trusted().to_vec())
    }

    /// The authority of projects that have none of their own: what is recorded of it.
    pub fn shared_certificate(&self) -> &Certificate {
        self.shared.certificate()
    }

    /// Who signs for a project and whom its devices trust, as the database says.
    ///
    /// # Errors
    /// 503 when this gateway does not hold the key.
    pub fn authority(&self, trusted: &[Trusted]) -> Result<Authority, ApiError> {
        let find = |is_meant: fn(&Trusted) -> bool| {
            let fingerprint =
                trusted.iter().find(|one| is_meant(one)).map(Trusted::fingerprint).transpose()?;
            fingerprint.and_then(|fingerprint| self.key(&fingerprint)).ok_or_else(|| {
                ApiError::new(UNAVAILABLE, "this gateway does not hold the key of the project's authority")
                    .hint("Put certificate and key into NEBULA_CA_DIR, or set NEBULA_CA_CERT and NEBULA_CA_KEY to them.")
            })
        };
        let (signer, voice) = (find(|one| one.signs)?, find(|one| one.speaks)?);
        let mut certificates = trusted.iter().map(Trusted::certificate).collect::<Result<Vec<_>, _>>()?;
        // What the operator put into the file beside the shared authority is trusted with it.
        if Arc::ptr_eq(&signer, &self.shared) {
            let more = self.shared.trusted().iter().filter(|one| !certificates.contains(one)).cloned();
            certificates.extend(more.collect::<Vec<_>>());
        }
        Ok(Authority::new(signer, voice, certificates))
    }

    /// The certificates of all keys held here, the shared one first.
    ///
    /// # Errors
    /// 503 with what is wrong in the folder.
    pub fn held(&self) -> Result<Vec<Certificate>, ApiError> {
        self.look().map_err(|problem| ApiError::new(UNAVAILABLE, problem))?;
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        let more = found.values().map(|one| one.certificate().clone());
        Ok(std::iter::once(self.shared.certificate().clone()).chain(more).collect())
    }

    /// A key that came into the folder since the last look is found too, so that a rotation needs no restart.
    fn key(&self, fingerprint: &Fingerprint) -> Option<Arc<CertificateAuthority>> {
        if self.shared.fingerprint() == *fingerprint {
            return Some(Arc::clone(&self.shared));
        }
        let known = || self.found.read().unwrap_or_else(PoisonError::into_inner).get(fingerprint).cloned();
        known().or_else(|| {
            if let Err(problem) = self.look() {
                tracing::warn!(problem, "a folder of authorities cannot be read");
            }
            known()
        })
    }

    fn look(&self) -> Result<(), String> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let shown = folder.path.display();
        let entries = fs::read_dir(&folder.path)
            .map_err(|error| format!("the folder {shown} (NEBULA_CA_DIR) cannot be read: {error}"))?;
        let certificates = entries.filter_map(Result::ok).map(|entry| entry.path());
        for cert in certificates.filter(|path| path.extension().is_some_and(|kind| kind == "crt")) {
            let (key, uri) = (cert.with_extension("key"), cert.with_extension("uri"));
            let text = read(&cert, "NEBULA_CA_DIR")?;
            let parsed = Certificate::parse(&text).map_err(|error| format!("{}: {error}", cert.display()))?;
            // A certificate alone is one to trust, not one to sign with.
            let known = self.found.read().unwrap_or_else(PoisonError::into_inner);
            let shared = self.shared.fingerprint();
            let is_known = |print| print == shared || known.contains_key(&print);
            if parsed.iter().any(|one| is_known(one.fingerprint())) || !(key.exists() || uri.exists()) {
                continue;
            }
            drop(known);
            let key = if key.exists() { key } else { PathBuf::from(read(&uri, "NEBULA_CA_DIR")?.trim()) };
            let authority = pair(&cert, &key, folder.passphrase.as_deref())?;
            let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
            found.insert(authority.fingerprint(), Arc::new(authority));
        }
        Ok(())
    }
}

/// An authority from its certificate and its key, in a file or in a token.
fn pair(cert: &Path, key: &Path, passphrase: Option<&str>) -> Result<CertificateAuthority, String> {
    let certificate = read(cert, "NEBULA_CA_CERT")?;
    let unusable =
        |error| format!("the authority in {} and {} cannot be used: {error}", cert.display(), key.display());
    if let Some(uri) = key.to_str().filter(|text| text.starts_with("pkcs11:")) {
        // The URI may hold a PIN, which no message repeats.
        return CertificateAuthority::from_token(&certificate, uri).map_err(|error| {
            format!("the authority in {} cannot be used with its token: {error}", cert.display())
        });
    }
    refuse_open_key(key)?;
    let secret = fs::read_to_string(key).map_err(|error| {
        let shown = key.display();
        match error.kind() {
            ErrorKind::PermissionDenied => format!(
                "the key {shown} may not be read by the user this gateway runs as; give it to that user: chown USER {shown}"
            ),
            _ => format!("the key {shown} cannot be read: {error}"),
        }
    });
    let secret = Zeroizing::new(secret?);
    CertificateAuthority::load(&certificate, &secret, passphrase).map_err(unusable)
}

fn read(path: &Path, setting: &str) -> Result<String, String> {
    fs::read_to_string(path)
        .map_err(|error| format!("{} ({setting}) cannot be read: {error}", path.display()))
}

/// A key that others on the machine can read signs for them too.
fn refuse_open_key(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let metadata = fs::metadata(path)
        .map_err(|error| format!("the key {shown} (NEBULA_CA_KEY) cannot be read: {error}"))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "the key {shown} (NEBULA_CA_KEY) has mode {mode:04o}, so others can read it; run: chmod 600 {shown}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use nebula_certificate::NewAuthority;

    use super::*;

    fn write(folder: &Path, name: &str) -> Fingerprint {
        let day = Duration::from_secs(24 * 3600);
        let made = CertificateAuthority::create(&NewAuthority::new(name, day), SystemTime::now()).unwrap();
        fs::write(folder.join(format!("{name}.crt")), made.pem()).unwrap();
        let key = folder.join(format!("{name}.key"));
        fs::write(&key, made.key_pem().unwrap().as_bytes()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        made.fingerprint()
    }

    #[test]
    fn a_key_others_can_read_is_refused_with_the_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let seen = refuse_open_key(file.path());
            assert_eq!(seen.is_ok(), fine, "{mode:o}");
            assert!(fine || seen.unwrap_err().contains("chmod 600"));
        }
    }

    #[test]
    fn keys_that_come_later_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let shared = write(folder.path(), "shared");
        let more = folder.path().join("more");
        fs::create_dir(&more).unwrap();
        let source = Source {
            cert: folder.path().join("shared.crt"),
            key: folder.path().join("shared.key"),
            folder: Some(more.clone()),
            passphrase: None,
        };
        let keyring = Keyring::load(source).unwrap();
        assert_eq!(keyring.held().unwrap().len(), 1);
        let later = write(&more, "later");
        assert!(keyring.key(&later).is_some() && keyring.key(&shared).is_some());
        assert!(keyring.key(&[7; 32]).is_none());
        // Its certificate alone is not enough.
        let alone = write(&more, "alone");
        fs::remove_file(more.join("alone.key")).unwrap();
        assert!(keyring.key(&alone).is_none());
        assert_eq!(keyring.held().unwrap().len(), 2);
    }
}
