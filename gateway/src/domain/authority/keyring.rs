//! The authorities whose keys this gateway holds: the shared one named by the settings, and those of a
//! folder.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use nebula_certificate::{Certificate, CertificateAuthority, Fingerprint, Zeroizing};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, stamps};
use super::key_form::{AuthorityFolder, KeyForm};
use super::keyring_error::KeyringError;
use super::signer::Authority;
use crate::database::authority::TrustedAuthority;
use crate::error::{ApiError, UNAVAILABLE};

/// How often the folder is looked at for keys that were put there meanwhile.
const SCAN_INTERVAL: Duration = Duration::from_secs(3);

/// The remedy for a key that is not here.
pub(crate) const MISSING_KEY_HINT: &str = "Copy NAME.crt and NAME.key (or NAME.uri) into its NEBULA_CA_DIR from the gateway that has them: one that \
     made them begins NAME with the project's identifier. All gateways of a database need the same pairs.";

/// The places of the keys, and the passphrase that decrypts them.
#[derive(Clone)]
pub(crate) struct KeySource {
    /// Certificate of the shared authority; several during a rotation by hand.
    pub(crate) cert: PathBuf,
    /// Key of the shared authority: a file, or a `pkcs11:` URI.
    pub(crate) key: PathBuf,
    /// Folder with `NAME.crt` and `NAME.key` pairs of further authorities; `NAME.uri` holds a `pkcs11:` URI
    /// instead. Those that the gateway makes go there.
    pub(crate) folder: AuthorityFolder,
    /// Passphrase of encrypted keys.
    pub(crate) passphrase: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Keyring {
    shared: Arc<CertificateAuthority>,
    pub(super) folder: Option<Folder>,
    /// Held while an authority is made, so that a project gets one.
    pub(super) making: Mutex<()>,
    found: RwLock<HashMap<Fingerprint, Arc<CertificateAuthority>>>,
    /// Certificates of the folder that were looked at. Locked during a scan: opening an encrypted key takes
    /// seconds and up to 2 GiB, so each is opened once, and one at a time.
    tried: Mutex<HashMap<PathBuf, Attempt>>,
    /// Pairs of the folder that cannot be used.
    bad: AtomicUsize,
}

pub(super) struct Folder {
    pub(super) place: AuthorityFolder,
    passphrase: Option<String>,
    /// How the key of the shared authority is kept, and so those that are made.
    pub(super) form: KeyForm,
}

/// Leaves out the passphrase.
impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place.fmt(f)
    }
}

impl Keyring {
    /// Reads the shared authority and the folder. An encrypted key takes seconds and up to 2 GiB, so do not
    /// call it on a thread that serves requests.
    pub(crate) fn load(source: KeySource) -> Result<Self, KeyringError> {
        let shared = pair(&source.cert, &source.key, source.passphrase.as_deref())?;
        let form = KeyForm::of(&source.key, source.passphrase.as_deref());
        let folder = Folder { place: source.folder, passphrase: source.passphrase, form };
        let keyring = Self { folder: Some(folder), ..Self::new(shared) };
        keyring.scan_folder()?;
        Ok(keyring)
    }

    /// A keyring of one authority.
    pub(crate) fn new(shared: CertificateAuthority) -> Self {
        Self {
            shared: Arc::new(shared),
            folder: None,
            making: Mutex::default(),
            found: RwLock::default(),
            tried: Mutex::default(),
            bad: AtomicUsize::default(),
        }
    }

    /// The authority of the settings: that of the first project.
    pub(crate) fn shared(&self) -> Authority {
        let [certificate_signer, response_signer] = [&self.shared, &self.shared].map(Arc::clone);
        Authority::new(certificate_signer, response_signer, self.shared.trusted().to_vec())
    }

    /// The certificate of the shared authority.
    pub(crate) fn shared_certificate(&self) -> &Certificate {
        self.shared.certificate()
    }

    /// Finds the keys of a project by what the database says. Fails with 503 if this gateway does not hold
    /// one of them.
    pub(crate) fn authority(&self, trusted: &[TrustedAuthority]) -> Result<Authority, ApiError> {
        let find = |is_meant: fn(&TrustedAuthority) -> bool| {
            let fingerprint =
                trusted.iter().find(|one| is_meant(one)).map(TrustedAuthority::fingerprint).transpose()?;
            fingerprint.and_then(|fingerprint| self.key(&fingerprint)).ok_or_else(|| {
                ApiError::new(UNAVAILABLE, "this gateway does not hold the key of the project's authority")
                    .hint(MISSING_KEY_HINT)
            })
        };
        let certificate_signer = find(|one| one.signs_certificates)?;
        let response_signer = find(|one| one.signs_responses)?;
        let mut certificates =
            trusted.iter().map(TrustedAuthority::certificate).collect::<Result<Vec<_>, _>>()?;
        // Certificates that the operator put into the file of the shared authority are trusted with it.
        if Arc::ptr_eq(&certificate_signer, &self.shared) {
            let more = self.shared.trusted().iter().filter(|one| !certificates.contains(one)).cloned();
            certificates.extend(more.collect::<Vec<_>>());
        }
        Ok(Authority::new(certificate_signer, response_signer, certificates))
    }

    /// The certificates of all keys, the shared one first; those that were put into the folder a moment ago,
    /// too. Fails with 503 if the folder cannot be read.
    pub(crate) async fn held(self: &Arc<Self>) -> Result<Vec<Certificate>, ApiError> {
        self.scan().await.map_err(|error| ApiError::new(UNAVAILABLE, error.to_string()))?;
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        let more = found.values().map(|one| one.certificate().clone());
        Ok(std::iter::once(self.shared.certificate().clone()).chain(more).collect())
    }

    /// Whether the key of the certificate with this fingerprint, in hexadecimal, is here.
    pub(crate) fn holds(&self, fingerprint: &str) -> bool {
        let mut bytes = Fingerprint::default();
        hex::decode_to_slice(fingerprint, &mut bytes).is_ok() && self.key(&bytes).is_some()
    }

    /// How many pairs of the folder cannot be used.
    pub(crate) fn bad(&self) -> usize {
        self.bad.load(Ordering::Relaxed)
    }

    /// Looks for new keys every few seconds until `stopping` is cancelled, so that a rotation needs no
    /// restart.
    pub(crate) fn start_scanning(self: &Arc<Self>, stopping: CancellationToken) {
        let keyring = Arc::clone(self);
        let scanning = async move {
            loop {
                tokio::time::sleep(SCAN_INTERVAL).await;
                if let Err(error) = keyring.scan().await {
                    tracing::debug!(problem = %error, "a folder of authorities cannot be read");
                }
            }
        };
        tokio::spawn(async move { stopping.run_until_cancelled(scanning).await });
    }

    /// [`Self::scan_folder`] on a thread that may block.
    async fn scan(self: &Arc<Self>) -> Result<(), KeyringError> {
        let keyring = Arc::clone(self);
        spawn_blocking(move || keyring.scan_folder()).await.unwrap_or(Ok(()))
    }

    /// Finds a key.
    pub(super) fn key(&self, fingerprint: &Fingerprint) -> Option<Arc<CertificateAuthority>> {
        if self.shared.fingerprint() == *fingerprint {
            return Some(Arc::clone(&self.shared));
        }
        self.found.read().unwrap_or_else(PoisonError::into_inner).get(fingerprint).cloned()
    }

    /// Opens the pairs of the folder that are new or have changed. One that cannot be used is reported and
    /// left out: the others sign for other projects.
    pub(super) fn scan_folder(&self) -> Result<(), KeyringError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &folder.place;
        let entries = match fs::read_dir(place.path()) {
            Err(error)
                if matches!(place, AuthorityFolder::Beside(_)) && error.kind() == ErrorKind::NotFound =>
            {
                return Ok(());
            }
            entries => {
                entries.map_err(|error| KeyringError::Folder { path: place.path().to_owned(), error })?
            }
        };
        let certificates = entries.filter_map(Result::ok).map(|entry| entry.path());
        let certificates: Vec<_> =
            certificates.filter(|path| path.extension().is_some_and(|kind| kind == "crt")).collect();
        tried.retain(|path, _| certificates.contains(path));
        for cert in certificates {
            let stamps = stamps(&cert);
            let before = tried.get(&cert).filter(|attempt| attempt.stamps == stamps);
            if before.is_some_and(|attempt| !attempt.is_due()) {
                continue;
            }
            let opened = self.open(&cert, folder);
            let attempt = Attempt::report(&cert, stamps, &opened, before);
            tried.insert(cert, attempt);
        }
        self.bad.store(tried.values().filter(|tried| !tried.usable).count(), Ordering::Relaxed);
        Ok(())
    }

    /// Opens a pair of the folder, unless its key is known or there is none: such a certificate is one to
    /// trust.
    fn open(&self, cert: &Path, folder: &Folder) -> Result<(), KeyringError> {
        let (key, uri) = (cert.with_extension("key"), cert.with_extension("uri"));
        let text = read(cert, "NEBULA_CA_DIR")?;
        let parsed = Certificate::parse(&text)
            .map_err(|error| KeyringError::Certificate { path: cert.to_owned(), error })?;
        if parsed.iter().any(|one| self.key(&one.fingerprint()).is_some()) || !(key.exists() || uri.exists())
        {
            return Ok(());
        }
        let key = if key.exists() { key } else { PathBuf::from(read(&uri, "NEBULA_CA_DIR")?.trim()) };
        let authority = pair(cert, &key, folder.passphrase.as_deref())?;
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        found.insert(authority.fingerprint(), Arc::new(authority));
        Ok(())
    }
}

/// Reads an authority from its certificate and its key, which is in a file or in a token.
fn pair(cert: &Path, key: &Path, passphrase: Option<&str>) -> Result<CertificateAuthority, KeyringError> {
    let certificate = read(cert, "NEBULA_CA_CERT")?;
    if let Some(uri) = key.to_str().filter(|text| text.starts_with("pkcs11:")) {
        // The error leaves out the URI, which may hold a PIN.
        return CertificateAuthority::from_token(&certificate, uri)
            .map_err(|error| KeyringError::Token { cert: cert.to_owned(), error });
    }
    refuse_readable_key(key)?;
    let secret = fs::read_to_string(key).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => KeyringError::NotOwnKey { path: key.to_owned() },
        _ => KeyringError::Key { path: key.to_owned(), error },
    });
    let secret = Zeroizing::new(secret?);
    CertificateAuthority::load(&certificate, &secret, passphrase).map_err(|error| KeyringError::Authority {
        cert: cert.to_owned(),
        key: key.to_owned(),
        error,
    })
}

fn read(path: &Path, setting: &'static str) -> Result<String, KeyringError> {
    fs::read_to_string(path).map_err(|error| KeyringError::File { path: path.to_owned(), setting, error })
}

/// Fails for a key that other users of the machine can read, since they could sign with it.
fn refuse_readable_key(path: &Path) -> Result<(), KeyringError> {
    let metadata =
        fs::metadata(path).map_err(|error| KeyringError::KeyMetadata { path: path.to_owned(), error })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyringError::ReadableKey { path: path.to_owned(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

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
    fn a_pair_whose_token_is_away_is_tried_again_and_one_whose_files_are_wrong_is_not() {
        let place = tempfile::tempdir().unwrap();
        let (keyring, _, folder) = keyring(place.path());
        write(&folder, "wrong");
        fs::write(folder.join("wrong.key"), "noise").unwrap();
        write(&folder, "away");
        fs::remove_file(folder.join("away.key")).unwrap();
        let uri = "pkcs11:token=a;object=b?module-path=/nonexistent/module.so&pin-value=1";
        fs::write(folder.join("away.uri"), uri).unwrap();
        let attempts = |name: &str| {
            let tried = keyring.tried.lock().unwrap();
            let one = &tried[&folder.join(name)];
            (one.count, one.retry_at.map(|at| at.saturating_duration_since(Instant::now())))
        };
        let mut pauses = Vec::new();
        for attempt in 1..=6 {
            keyring.scan_folder().unwrap();
            keyring.scan_folder().unwrap();
            assert_eq!(attempts("wrong.crt"), (1, None));
            let (count, pause) = attempts("away.crt");
            assert_eq!(count, attempt, "once, and not again before its time");
            pauses.push(pause.unwrap());
            keyring.tried.lock().unwrap().get_mut(&folder.join("away.crt")).unwrap().retry_at =
                Some(Instant::now());
        }
        assert!(pauses[..5].is_sorted() && pauses[0] < pauses[2] && pauses[5] <= Duration::from_secs(300));
        assert_eq!(keyring.bad(), 2);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            let seen = refuse_readable_key(file.path());
            assert_eq!(seen.is_ok(), fine, "{mode:o}");
            assert!(fine || seen.unwrap_err().to_string().contains("chmod 600"));
        }
    }

    /// A keyring of a shared authority and a folder beside it.
    fn keyring(place: &Path) -> (Arc<Keyring>, Fingerprint, PathBuf) {
        let shared = write(place, "shared");
        let folder = place.join("more");
        fs::create_dir(&folder).unwrap();
        let source = KeySource {
            cert: place.join("shared.crt"),
            key: place.join("shared.key"),
            folder: AuthorityFolder::Set(folder.clone()),
            passphrase: Some("right".into()),
        };
        (Arc::new(Keyring::load(source).unwrap()), shared, folder)
    }

    #[tokio::test]
    async fn keys_added_to_the_folder_later_are_found() {
        let place = tempfile::tempdir().unwrap();
        let (keyring, shared, folder) = keyring(place.path());
        assert_eq!(keyring.held().await.unwrap().len(), 1);
        let later = write(&folder, "later");
        assert_eq!(keyring.held().await.unwrap().len(), 2);
        assert!(keyring.key(&later).is_some() && keyring.key(&shared).is_some());
        assert!(keyring.key(&[7; 32]).is_none());
        // A certificate without its key is not enough.
        let alone = write(&folder, "alone");
        fs::remove_file(folder.join("alone.key")).unwrap();
        assert_eq!(keyring.held().await.unwrap().len(), 2);
        assert!(keyring.key(&alone).is_none());
        assert_eq!(keyring.bad(), 0);
    }

    #[tokio::test]
    async fn a_pair_that_cannot_be_used_is_left_out_and_tried_again_only_when_it_has_changed() {
        let place = tempfile::tempdir().unwrap();
        let (keyring, _, folder) = keyring(place.path());
        let (good, other) = (write(&folder, "good"), write(&folder, "other"));
        let stray = fs::read(folder.join("good.key")).unwrap();
        let right = fs::read(folder.join("other.key")).unwrap();
        fs::write(folder.join("other.key"), stray).unwrap();
        fs::write(folder.join("noise.crt"), "noise").unwrap();
        assert_eq!(keyring.held().await.unwrap().len(), 2, "the others are held all the same");
        assert!(keyring.key(&good).is_some() && keyring.key(&other).is_none());
        assert_eq!(keyring.bad(), 2);
        keyring.held().await.unwrap();
        assert!(keyring.tried.lock().unwrap().values().all(|tried| tried.count == 1));
        fs::write(folder.join("other.key"), right).unwrap();
        fs::remove_file(folder.join("noise.crt")).unwrap();
        assert_eq!(keyring.held().await.unwrap().len(), 3);
        assert_eq!(keyring.bad(), 0);
    }
}
