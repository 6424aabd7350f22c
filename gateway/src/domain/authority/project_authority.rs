//! Authorities that the gateway makes: one for each project beside the first. Devices of two projects with
//! one authority could enter each other's networks, whatever their configurations say.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use nebula_certificate::{Certificate, CertificateAuthority, Cost, NewAuthority, Zeroizing};
use uuid::Uuid;

use super::key_form::KeyForm;
use super::keyring::{Folder, Keyring};
use super::keyring_error::KeyringError;

/// Ten years of 365.2425 days, as `nebulactl ca create` gives.
const LIFETIME: Duration = Duration::from_secs(315_569_520);

impl Keyring {
    /// Makes the authority of a project: on the curve of the shared one, and kept as that is. One that was
    /// made for a transaction that was rolled back is found again. Writes files and may take as long as
    /// [`Self::load`].
    pub(crate) fn make(&self, project_id: Uuid, project: &str) -> Result<Certificate, KeyringError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.folder.as_ref().ok_or(KeyringError::NoFolder)?;
        self.scan_folder()?;
        if let Some(made) = self.made_before(folder, project_id) {
            return Ok(made);
        }
        let shared = self.shared_certificate().details();
        let new = NewAuthority {
            version: shared.version,
            curve: shared.curve,
            ..NewAuthority::new(project, LIFETIME)
        };
        let made = write_new(folder, &format!("{project_id}-{}", Uuid::new_v4().simple()), &new)?;
        self.scan_folder()?;
        tracing::info!(project, folder = %folder.place.path().display(), "made an authority for a project");
        Ok(made)
    }

    /// An authority that was made for a project and whose key is held.
    fn made_before(&self, folder: &Folder, project_id: Uuid) -> Option<Certificate> {
        let prefix = format!("{project_id}-");
        let entries = fs::read_dir(folder.place.path()).ok()?;
        let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let certificates = paths.filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".crt"))
        });
        certificates
            .filter_map(|path| Certificate::parse(&fs::read_to_string(path).ok()?).ok())
            .flatten()
            .find(|certificate| self.key(&certificate.fingerprint()).is_some())
    }
}

/// Makes a pair of files. The key comes first: after a crash, a certificate without its key would be useless.
fn write_new(folder: &Folder, stem: &str, new: &NewAuthority<'_>) -> Result<Certificate, KeyringError> {
    let path = folder.place.path();
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(path) {
        return Err(KeyringError::Write { path: path.to_owned(), error });
    }
    let failed = |error| KeyringError::Make { project: new.name.to_owned(), error };
    let now = SystemTime::now();
    let authority = match &folder.form {
        KeyForm::Token(uri) => {
            let uri = with_label(uri, stem);
            let authority = CertificateAuthority::create_in_token(new, &uri, now).map_err(failed)?;
            write_file(path.join(format!("{stem}.uri")), uri.as_bytes(), 0o600)?;
            authority
        }
        form => {
            let authority = CertificateAuthority::create(new, now).map_err(failed)?;
            let key = match form {
                KeyForm::Encrypted(passphrase) => {
                    authority.encrypted_key_pem(passphrase, Cost::default()).map(Zeroizing::new)
                }
                _ => authority.key_pem(),
            };
            write_file(path.join(format!("{stem}.key")), key.map_err(failed)?.as_bytes(), 0o600)?;
            authority
        }
    };
    write_file(path.join(format!("{stem}.crt")), authority.pem().as_bytes(), 0o644)?;
    Ok(authority.certificate().clone())
}

/// The URI of another key in the same token.
fn with_label(uri: &str, label: &str) -> Zeroizing<String> {
    let rest = uri.strip_prefix("pkcs11:").unwrap_or(uri);
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let of_key = |attribute: &&str| attribute.starts_with("object=") || attribute.starts_with("id=");
    let mut attributes: Vec<&str> =
        path.split(';').filter(|attribute| !attribute.is_empty() && !of_key(attribute)).collect();
    let object = format!("object={label}");
    attributes.push(&object);
    Zeroizing::new(format!("pkcs11:{}?{query}", attributes.join(";")))
}

/// Writes a file that is not there yet, to the disk. It appears with its whole content.
fn write_file(path: PathBuf, content: &[u8], mode: u32) -> Result<(), KeyringError> {
    let unfinished = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(|error| KeyringError::Write { path: path.clone(), error })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use nebula_certificate::{Curve, Version};

    use super::super::{AuthorityFolder, KeySource};
    use super::*;

    /// A keyring whose shared authority is in files, on P256.
    fn keyring(folder: &Path) -> Keyring {
        let day = Duration::from_secs(24 * 3600);
        let new =
            NewAuthority { curve: Curve::P256, version: Version::V2, ..NewAuthority::new("shared", day) };
        let shared = CertificateAuthority::create(&new, SystemTime::now()).unwrap();
        let (cert, key) = (folder.join("ca.crt"), folder.join("ca.key"));
        write_file(cert.clone(), shared.pem().as_bytes(), 0o644).unwrap();
        write_file(key.clone(), shared.key_pem().unwrap().as_bytes(), 0o600).unwrap();
        let folder = AuthorityFolder::Beside(folder.join("authorities"));
        Keyring::load(KeySource { cert, key, folder, passphrase: None }).unwrap()
    }

    #[test]
    fn each_project_gets_one_authority_that_is_found_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let ring = keyring(folder.path());
        let [guests, lab] = [Uuid::new_v4(), Uuid::new_v4()];
        let made = ring.make(guests, "guests").unwrap();
        assert_eq!(made.details().name, "guests");
        assert_eq!((made.details().curve, made.details().version), (Curve::P256, Version::V2));
        assert_eq!(ring.make(guests, "guests").unwrap(), made);
        assert_ne!(ring.make(lab, "lab").unwrap(), made);
        assert!(ring.key(&made.fingerprint()).is_some());
        let files = fs::read_dir(folder.path().join("authorities")).unwrap();
        for file in files.map(|entry| entry.unwrap().path()) {
            let mode = file.metadata().unwrap().permissions().mode() & 0o077;
            assert!(mode == 0 || file.extension().is_some_and(|kind| kind == "crt"), "{}", file.display());
        }
        let [cert, key] = ["ca.crt", "ca.key"].map(|name| folder.path().join(name));
        let place = AuthorityFolder::Beside(folder.path().join("authorities"));
        let again = Keyring::load(KeySource { cert, key, folder: place, passphrase: None }).unwrap();
        assert_eq!(again.make(guests, "guests").unwrap(), made);
    }

    #[test]
    fn another_key_in_the_same_token_has_another_label_and_no_identifier() {
        let uri = "pkcs11:token=a%20b;object=ca;id=%01?module-path=/m.so&pin-source=file:/pin";
        assert_eq!(
            with_label(uri, "x").as_str(),
            "pkcs11:token=a%20b;object=x?module-path=/m.so&pin-source=file:/pin"
        );
    }
}
