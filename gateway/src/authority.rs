//! The certificate authority: its key is read once at start, stays in this process, and signs what was allocated.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use nebula_certificate::{Certificate, CertificateAuthority, Curve, Issued, PublicKey, Request, Version};

use crate::ApiError;
use crate::error::UNAVAILABLE;

/// What a device's certificates are to say.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Name of the device.
    pub name: &'a str,
    /// Its address with the prefix length of the overlay.
    pub network: IpNetwork,
    /// Groups for firewall rules.
    pub groups: &'a [String],
    /// Its key.
    pub public_key: &'a PublicKey,
}

/// Signs device certificates.
#[derive(Debug)]
pub struct Authority {
    signer: CertificateAuthority,
    lifetime: Duration,
}

impl Authority {
    /// Reads certificate and key. An encrypted key takes seconds and up to 2 GiB: call it off the request threads.
    ///
    /// # Errors
    /// A sentence naming the file and what is wrong with it.
    pub fn load(
        cert: &Path,
        key: &Path,
        passphrase: Option<&str>,
        lifetime: Duration,
    ) -> Result<Self, String> {
        let read = |path: &Path, setting: &str| {
            std::fs::read_to_string(path)
                .map_err(|error| format!("{} ({setting}) cannot be read: {error}", path.display()))
        };
        let (cert_pem, key_pem) = (read(cert, "NEBULA_CA_CERT")?, read(key, "NEBULA_CA_KEY")?);
        let signer = CertificateAuthority::load(&cert_pem, &key_pem, passphrase).map_err(|error| {
            format!("the authority in {} and {} cannot be used: {error}", cert.display(), key.display())
        })?;
        Ok(Self { signer, lifetime })
    }

    /// Takes an authority that is in memory already.
    pub fn new(signer: CertificateAuthority, lifetime: Duration) -> Self {
        Self { signer, lifetime }
    }

    /// Reads a device's public key and checks that this authority can sign it.
    ///
    /// # Errors
    /// 400 with the reason.
    pub fn public_key(&self, text: &str) -> Result<PublicKey, ApiError> {
        let key = PublicKey::parse(text).map_err(|error| refused(&error))?;
        if key.curve() == self.signer.curve() {
            return Ok(key);
        }
        let authority = self.certificate().details().name.clone();
        let (key, wanted) = (key.curve(), self.signer.curve());
        Err(refused(&nebula_certificate::Error::CurveMismatch { key, wanted, authority }))
    }

    /// Signs the certificates of a device, version 1 first because nebula 1.6 reads only the first block of a file.
    /// An IPv6 address fits version 2 only.
    ///
    /// # Errors
    /// 400 for what the device asked for, 503 when the authority cannot sign (any more).
    pub fn issue(&self, subject: &Subject<'_>) -> Result<Vec<Issued>, ApiError> {
        let versions: &[Version] =
            if subject.network.is_ipv4() { &[Version::V1, Version::V2] } else { &[Version::V2] };
        let request = Request {
            name: subject.name,
            networks: &[subject.network],
            unsafe_networks: &[],
            groups: subject.groups,
            public_key: subject.public_key,
            lifetime: self.lifetime,
            versions,
        };
        self.signer.issue(&request, SystemTime::now()).map_err(|error| {
            if error.is_callers_fault() {
                return refused(&error);
            }
            tracing::error!(%error, "the authority cannot sign");
            ApiError::new(UNAVAILABLE, "the certificate authority cannot sign just now")
                .hint("GET /health/ready says why; an expired authority is renewed with nebulactl ca.")
        })
    }

    /// Every authority that devices are to trust, as `ca.crt`.
    pub fn trusted_pem(&self) -> String {
        self.signer.trusted().iter().map(Certificate::pem).collect()
    }

    /// The oldest nebula that can read what a device gets: 1.6 knows version 1 on Curve25519 and nothing else.
    pub fn oldest_nebula(&self, network: IpNetwork) -> &'static str {
        let of_version_2 = |authority: &Certificate| authority.details().version == Version::V2;
        match self.signer.curve() {
            _ if network.is_ipv6() || self.signer.trusted().iter().any(of_version_2) => "1.10",
            Curve::P256 => "1.7",
            Curve::Curve25519 => "1.6",
        }
    }

    /// The certificate that signs.
    pub fn certificate(&self) -> &Certificate {
        self.signer.certificate()
    }

    /// Whether it can sign now, and until when, in words.
    ///
    /// # Errors
    /// The reason why it cannot.
    pub fn check(&self) -> Result<String, String> {
        let details = self.certificate().details();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let until = day(details.not_after);
        match i64::try_from(now) {
            Ok(now) if now > details.not_after => Err(format!("{:?} expired on {until}", details.name)),
            Ok(now) if now < details.not_before => {
                Err(format!("{:?} is not valid yet: check the clock", details.name))
            }
            _ => Ok(format!("{:?} signs until {until}", details.name)),
        }
    }
}

/// The curve as the database and nebula-cert spell it.
pub fn curve_name(curve: Curve) -> &'static str {
    match curve {
        Curve::Curve25519 => "25519",
        Curve::P256 => "P256",
    }
}

/// A day in words that every reader takes the same way.
pub(crate) fn day(seconds: i64) -> String {
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .map_or_else(|| "an unknown day".to_owned(), |time| time.format("%Y-%m-%d").to_string())
}

fn refused(error: &nebula_certificate::Error) -> ApiError {
    ApiError::bad_argument(error.to_string()).hint(
        "Make a key pair on the device with `nebula-cert keygen` or nebulactl, and send the public key.",
    )
}
