//! One project's view of the authorities: who signs for it, and whom its devices trust.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnetwork::IpNetwork;
use nebula_certificate::{Certificate, CertificateAuthority, Curve, Issued, PublicKey, Request, Version};

use super::day;
use crate::ApiError;
use crate::error::UNAVAILABLE;

/// What a device's certificates are to say.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Name of the device.
    pub name: String,
    /// Its addresses with the prefix length of the overlay.
    pub networks: Vec<IpNetwork>,
    /// Networks behind it that it may route for.
    pub unsafe_networks: Vec<IpNetwork>,
    /// Groups for firewall rules.
    pub groups: Vec<String>,
    /// Its key.
    pub public_key: PublicKey,
    /// How long from now, cut to the end of the authority.
    pub lifetime: Duration,
    /// Encodings wanted; version 1 is left out where the addresses do not fit it.
    pub versions: Vec<Version>,
}

/// Signs for a project.
#[derive(Debug)]
pub struct Authority {
    signer: Arc<CertificateAuthority>,
    /// Another one only during a rotation.
    voice: Arc<CertificateAuthority>,
    trusted: Vec<Certificate>,
    trusted_pem: String,
    trusted_keys_pem: String,
}

impl Authority {
    pub(super) fn new(
        signer: Arc<CertificateAuthority>,
        voice: Arc<CertificateAuthority>,
        trusted: Vec<Certificate>,
    ) -> Self {
        // Every configuration has both.
        let trusted_pem = trusted.iter().map(Certificate::pem).collect();
        let trusted_keys_pem = trusted.iter().map(Certificate::public_key_pem).collect();
        Self { signer, voice, trusted, trusted_pem, trusted_keys_pem }
    }

    /// Reads a device's public key and checks that this authority can sign it.
    ///
    /// # Errors
    /// 400 with the reason.
    pub fn public_key(&self, text: &str) -> Result<PublicKey, ApiError> {
        let key = PublicKey::parse(text).map_err(|error| refused(&error))?;
        if key.curve() == self.curve() {
            return Ok(key);
        }
        let authority = self.certificate().details().name.clone();
        let (key, wanted) = (key.curve(), self.curve());
        Err(refused(&nebula_certificate::Error::CurveMismatch { key, wanted, authority }))
    }

    /// Signs the certificates of a device, version 1 first because nebula 1.6 reads only the first block of a file.
    ///
    /// # Errors
    /// 400 for what the device asked for, 503 when the authority cannot sign (any more).
    pub async fn issue(&self, subject: Subject) -> Result<Vec<Issued>, ApiError> {
        with_key(&self.signer, move |signer| {
            let mut versions = subject.versions;
            if subject.networks.iter().filter(|network| network.is_ipv4()).count() != 1 {
                versions.retain(|version| *version != Version::V1);
                versions.push(Version::V2);
            }
            let request = Request {
                name: &subject.name,
                networks: &subject.networks,
                unsafe_networks: &subject.unsafe_networks,
                groups: &subject.groups,
                public_key: &subject.public_key,
                lifetime: subject.lifetime,
                versions: &versions,
            };
            signer.issue(&request, SystemTime::now())
        })
        .await
    }

    /// Signs an answer to an agent, which trusts the keys of [`Self::trusted_keys_pem`]. Such an answer is JSON, and no
    /// certificate's signed bytes begin with a brace, so that one can never be passed off as the other.
    ///
    /// # Errors
    /// 503 when the key cannot be used.
    pub async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ApiError> {
        let message = message.to_vec();
        with_key(&self.voice, move |voice| voice.sign_message(&message)).await
    }

    /// Every authority that devices are to trust, as `ca.crt`.
    pub fn trusted_pem(&self) -> &str {
        &self.trusted_pem
    }

    /// The keys that may sign answers to agents, in nebula's PEM for the public keys of authorities.
    pub fn trusted_keys_pem(&self) -> &str {
        &self.trusted_keys_pem
    }

    /// The oldest nebula that can read what a device gets: 1.6 knows version 1 on Curve25519 and nothing else.
    pub fn oldest_nebula(&self, networks: &[IpNetwork], versions: &[Version]) -> &'static str {
        let of_version_2 = |authority: &Certificate| authority.details().version == Version::V2;
        let first_is_version_1 = versions.contains(&Version::V1) && networks.iter().any(IpNetwork::is_ipv4);
        match self.curve() {
            _ if !first_is_version_1 || self.trusted.iter().any(of_version_2) => "1.10",
            Curve::P256 => "1.7",
            Curve::Curve25519 => "1.6",
        }
    }

    /// The curve of the project.
    pub fn curve(&self) -> Curve {
        self.signer.curve()
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

/// A key in memory takes a tenth of a millisecond; one in a token takes as long as the token likes.
async fn with_key<T: Send + 'static>(
    key: &Arc<CertificateAuthority>,
    work: impl FnOnce(&CertificateAuthority) -> Result<T, nebula_certificate::Error> + Send + 'static,
) -> Result<T, ApiError> {
    if key.key_is_in_memory() {
        return work(key).map_err(|error| failed(&error));
    }
    let key = Arc::clone(key);
    let done = tokio::task::spawn_blocking(move || work(&key)).await;
    done.map_err(|error| ApiError::internal(&error))?.map_err(|error| failed(&error))
}

fn failed(error: &nebula_certificate::Error) -> ApiError {
    if error.is_callers_fault() {
        return refused(error);
    }
    tracing::error!(%error, "the authority cannot sign");
    ApiError::new(UNAVAILABLE, "the certificate authority cannot sign just now")
        .hint("GET /health/ready says why; an expired authority is replaced with nebulactl ca rotate.")
}

fn refused(error: &nebula_certificate::Error) -> ApiError {
    ApiError::bad_argument(error.to_string()).hint(
        "Make a key pair on the device with `nebula-cert keygen` or nebulactl, and send the public key.",
    )
}
