//! `ca`: certificate authorities. They are created and read on this machine; the gateway lists those that it
//! signs with.

use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use clap::Subcommand;
use ipnetwork::IpNetwork;
use nebula_certificate::{Certificate, CertificateAuthority, Cost, Curve, NewAuthority, Version, Zeroizing};
use serde_json::{Value, json};

use crate::atomic_file::{self, PRIVATE, PUBLIC};
use crate::context::Context;
use crate::error::{Code, Doing, Error, Result};
use crate::output::{clean, date};

mod rotate;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an authority: a key and its certificate. An existing pair is left unchanged
    Create(Create),
    /// Show what certificate files say
    Show {
        /// File with one or more certificates, of authorities or devices; - is standard input
        file: PathBuf,
    },
    /// List the authorities the gateway knows, and what they sign for
    Ls,
    /// Replace the authority of a project without cutting off a device
    Rotate(rotate::Rotate),
}

#[derive(clap::Args, Debug)]
pub(crate) struct Create {
    /// Name shown by tools; need not be unique
    #[arg(long)]
    name: String,
    /// Where to write the certificate
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Where to write the private key, readable by you only; or the pkcs11: URI of a token that makes and
    /// keeps it
    #[arg(long, value_name = "FILE|URI")]
    key: PathBuf,
    /// Encrypt the key file under the passphrase in NEBULA_CA_PASSPHRASE, as `nebula-cert ca -encrypt` does
    #[arg(long)]
    encrypt: bool,
    /// How long it is valid; certificates it signs end no later
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    years: u32,
    /// Curve of the whole overlay, 25519 or P256
    #[arg(long, default_value = "25519")]
    curve: Curve,
    /// Encoding of its own certificate, 1 or 2; devices with nebula before 1.10 need 1
    #[arg(long, default_value = "1")]
    version: Version,
    /// Only addresses of these networks may be granted: the whole overlay, not a part of it
    #[arg(long = "network", value_name = "CIDR")]
    networks: Vec<IpNetwork>,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let (certificates, text) = match command {
        Command::Ls => return rotate::list(context).await,
        Command::Rotate(arguments) => return rotate::run(context, arguments).await,
        Command::Create(arguments) => {
            let (certificate, made) = create(&arguments)?;
            let verb = if made { "Made" } else { "Left as it is:" };
            let (name, cert, key) =
                (clean(&certificate.details().name), arguments.cert.display(), place(&arguments.key));
            let value = json!({
                "created": made,
                "cert": arguments.cert,
                "key": key,
                "certificate": describe(&certificate),
            });
            let text = format!(
                "{verb} authority \"{name}\" in {cert}, key in {key}, valid until {}.",
                date(certificate.details().not_after)
            );
            return context.output.confirm(&value, || text);
        }
        Command::Show { file } => {
            let certificates = read(&file)?;
            let text = certificates.iter().map(paragraph).collect::<Vec<_>>().join("\n\n");
            (certificates, text)
        }
    };
    context.output.show(&certificates.iter().map(describe).collect::<Vec<_>>(), || text)
}

/// The path or URI of a key, without the PIN that a URI may contain.
fn place(key: &Path) -> String {
    match key.to_string_lossy().split_once('?') {
        Some((token, _)) if token.starts_with("pkcs11:") => token.to_owned(),
        _ => key.display().to_string(),
    }
}

/// Creates the pair unless it exists; returns its certificate and whether it was created.
fn create(arguments: &Create) -> Result<(Certificate, bool)> {
    let Create { cert, key, .. } = arguments;
    let token = key.to_str().filter(|text| text.starts_with("pkcs11:"));
    match (cert.exists(), key.exists() || token.is_some() && cert.exists()) {
        (true, true) if token.is_some() => return Ok((first(cert, read(cert)?)?, false)),
        (true, true) => return Ok((existing(cert, key)?, false)),
        (false, false) => {}
        (cert_exists, _) => {
            let (there, missing) = if cert_exists { (cert, key) } else { (key, cert) };
            let detail = format!("{} exists, but {} does not", there.display(), missing.display());
            return Err(Error::new(Code::WrongState, detail)
                .hint("Bring back the missing one, or move the other away to make a new authority."));
        }
    }
    // A year is 365.2425 days.
    let lifetime = Duration::from_secs(u64::from(arguments.years) * 31_556_952);
    let new = NewAuthority {
        version: arguments.version,
        curve: arguments.curve,
        networks: &arguments.networks,
        ..NewAuthority::new(&arguments.name, lifetime)
    };
    let passphrase = arguments.encrypt.then(|| env::var("NEBULA_CA_PASSPHRASE").unwrap_or_default());
    let authority = match token {
        Some(uri) => CertificateAuthority::create_in_token(&new, uri, SystemTime::now()).map_err(invalid)?,
        None => CertificateAuthority::create(&new, SystemTime::now()).map_err(invalid)?,
    };
    // The key is written first: after a crash, a certificate without its key would be useless.
    match passphrase.map(Zeroizing::new) {
        _ if token.is_some() => {}
        Some(passphrase) => {
            let sealed = authority.encrypted_key_pem(&passphrase, Cost::default()).map_err(invalid)?;
            atomic_file::create_new_for_owner(key, sealed.as_bytes(), PRIVATE)?;
        }
        None => {
            let pem = authority.key_pem().map_err(invalid)?;
            atomic_file::create_new_for_owner(key, pem.as_bytes(), PRIVATE)?;
        }
    }
    atomic_file::create_new_for_owner(cert, authority.pem().as_bytes(), PUBLIC)?;
    Ok((authority.certificate().clone(), true))
}

/// Checks that an existing certificate and key belong together. An encrypted key cannot be checked without
/// its passphrase.
fn existing(cert: &Path, key: &Path) -> Result<Certificate> {
    let text = std::fs::read_to_string(cert).doing(|| format!("read {}", cert.display()))?;
    let secret = std::fs::read_to_string(key).doing(|| format!("read {}", key.display()))?;
    match CertificateAuthority::load(&text, &secret, None) {
        Ok(authority) => Ok(authority.certificate().clone()),
        Err(nebula_certificate::Error::PassphraseMissing) => first(cert, read(cert)?),
        Err(error) => {
            let detail = format!("{} and {} are not an authority: {error}", cert.display(), key.display());
            Err(Error::new(Code::Damaged, detail).hint("They were left as they are; name other files."))
        }
    }
}

fn read(file: &Path) -> Result<Vec<Certificate>> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.doing(|| format!("read {}", file.display()))?;
    Certificate::parse(&text)
        .map_err(|error| Error::new(Code::InvalidArgument, format!("{}: {error}", file.display())))
}

fn first(file: &Path, certificates: Vec<Certificate>) -> Result<Certificate> {
    let none = || Error::new(Code::Damaged, format!("{} holds no certificate", file.display()));
    certificates.into_iter().next().ok_or_else(none)
}

fn invalid(error: nebula_certificate::Error) -> Error {
    Error::new(Code::InvalidArgument, error.to_string())
}

/// As JSON.
fn describe(certificate: &Certificate) -> Value {
    let details = certificate.details();
    let text = |networks: &[IpNetwork]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "name": details.name,
        "version": details.version.number(),
        "curve": details.curve.to_string(),
        "isCa": details.is_ca,
        "networks": text(&details.networks),
        "unsafeNetworks": text(&details.unsafe_networks),
        "groups": details.groups,
        "notBefore": DateTime::from_timestamp(details.not_before, 0),
        "notAfter": DateTime::from_timestamp(details.not_after, 0),
        "issuer": details.issuer.map(hex::encode),
        "fingerprint": hex::encode(certificate.fingerprint()),
    })
}

/// As text.
fn paragraph(certificate: &Certificate) -> String {
    let details = certificate.details();
    let kind = if details.is_ca { "Authority" } else { "Device" };
    let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { clean(&items.join(", ")) };
    let networks: Vec<String> = details.networks.iter().map(ToString::to_string).collect();
    let expired = if details.not_after < Utc::now().timestamp() { " (expired)" } else { "" };
    let mut lines = vec![
        format!("{kind:<12} {}", clean(&details.name)),
        format!("Encoding     version {}, {}", details.version, details.curve),
        format!("Valid        {} to {}{expired}", date(details.not_before), date(details.not_after)),
        format!("Networks     {}", list(&networks)),
        format!("Groups       {}", list(&details.groups)),
        format!("Fingerprint  {}", hex::encode(certificate.fingerprint())),
    ];
    if let Some(issuer) = details.issuer {
        lines.push(format!("Issuer       {}", hex::encode(issuer)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn arguments(folder: &Path) -> Create {
        Create {
            name: "home".to_owned(),
            cert: folder.join("ca.crt"),
            key: folder.join("ca.key"),
            encrypt: false,
            years: 10,
            curve: Curve::Curve25519,
            version: Version::V1,
            networks: vec!["10.42.0.0/16".parse().unwrap()],
        }
    }

    #[test]
    fn an_authority_is_created_once() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path());
        let (made, new) = create(&arguments).unwrap();
        assert!(new && made.details().is_ca);
        assert_eq!(arguments.key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let (again, new) = create(&arguments).unwrap();
        assert!(!new);
        assert_eq!(again.fingerprint(), made.fingerprint());
    }

    /// The gateway of `make up` runs as a user of its own, who owns the folder.
    #[test]
    fn what_root_creates_belongs_to_the_owner_of_the_folder() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).unwrap();
        let arguments = arguments(folder.path());
        create(&arguments).unwrap();
        for file in [&arguments.key, &arguments.cert] {
            assert_eq!(file.metadata().unwrap().uid(), 65534, "{}", file.display());
        }
    }

    #[test]
    fn an_incomplete_or_mismatched_pair_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path());
        create(&arguments).unwrap();
        let other = tempfile::tempdir().unwrap();
        create(&self::arguments(other.path())).unwrap();
        std::fs::copy(other.path().join("ca.key"), &arguments.key).unwrap();
        assert_eq!(create(&arguments).unwrap_err().failure().error, "data_corrupted");
        std::fs::remove_file(&arguments.key).unwrap();
        assert_eq!(create(&arguments).unwrap_err().failure().error, "wrong_state");
        assert!(!arguments.key.exists());
    }
}
