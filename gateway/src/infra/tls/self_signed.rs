//! A certificate that the gateway signs itself, for addresses that no authority certifies, such as those of the overlay.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};

/// Paths of certificate and key in the folder, where they are made if there are none. They stay for good, because clients
/// remember the certificate.
pub(super) fn ensure(folder: &Path, names: &[String]) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    if !certificate.exists() {
        let setting = || format!("NEBULA_TLS_SELF_SIGNED: {} cannot be written", folder.display());
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names.to_vec())?;
        std::fs::create_dir_all(folder).with_context(setting)?;
        // The certificate last: without it both are made again.
        write(&key, &signing_key.serialize_pem(), 0o600).with_context(setting)?;
        write(&certificate, &cert.pem(), 0o644).with_context(setting)?;
    }
    Ok((certificate, key))
}

fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("tls");
        let names = ["10.42.0.1".to_owned(), "localhost".to_owned()];
        let (certificate, key) = ensure(&folder, &names).unwrap();
        let made = std::fs::read(&certificate).unwrap();
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ensure(&folder, &[]).unwrap(), (certificate.clone(), key));
        assert_eq!(std::fs::read(&certificate).unwrap(), made);
    }
}
