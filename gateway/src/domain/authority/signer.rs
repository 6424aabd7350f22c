//! Signing for one project, and the authorities its devices trust.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use nebula_certificate::{
    Certificate, CertificateAuthority, Curve, IssueRequest, Issued, PublicKey, Version,
};

use crate::error::{ApiError, UNAVAILABLE};

/// Content of a device's certificates.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: String,
    /// The device's addresses with the prefix length of the overlay.
    pub(crate) networks: Vec<IpNetwork>,
    /// Networks behind the device that it may route for.
    pub(crate) unsafe_networks: Vec<IpNetwork>,
    /// Groups for firewall rules.
    pub(crate) groups: Vec<String>,
    pub(crate) public_key: PublicKey,
    /// From now, cut to the end of the authority.
    pub(crate) lifetime: Duration,
    /// Encodings; version 1 is left out unless there is exactly one IPv4 address, all that it can hold.
    pub(crate) versions: Vec<Version>,
}

/// Signs for a project. Two authorities differ only during a rotation: agents must trust the signature of a
/// response before they trust certificates of the new authority.
#[derive(Debug)]
pub(crate) struct Authority {
    certificate_signer: Arc<CertificateAuthority>,
    response_signer: Arc<CertificateAuthority>,
    trusted: Vec<Certificate>,
    trusted_pem: String,
    trusted_keys_pem: String,
}

impl Authority {
    pub(super) fn new(
        certificate_signer: Arc<CertificateAuthority>,
        response_signer: Arc<CertificateAuthority>,
        trusted: Vec<Certificate>,
    ) -> Self {
        // Made once, because every configuration contains both.
        let trusted_pem = trusted.iter().map(Certificate::pem).collect();
        let trusted_keys_pem = trusted.iter().map(Certificate::public_key_pem).collect();
        Self { certificate_signer, response_signer, trusted, trusted_pem, trusted_keys_pem }
    }

    /// Reads a device's public key. Fails with 400 unless it is on the authority's curve.
    pub(crate) fn public_key(&self, text: &str) -> Result<PublicKey, ApiError> {
        let key = PublicKey::parse(text).map_err(|error| refused(&error))?;
        if key.curve() == self.curve() {
            return Ok(key);
        }
        let authority = self.certificate().details().name.clone();
        let (key, wanted) = (key.curve(), self.curve());
        Err(refused(&nebula_certificate::Error::CurveMismatch { key, wanted, authority }))
    }

    /// Signs the certificates of a device, version 1 first because nebula 1.6 reads only the first block of a
    /// file. Fails with 400 for a fault of the request, 503 when the authority cannot sign.
    pub(crate) async fn issue(&self, subject: Subject) -> Result<Vec<Issued>, ApiError> {
        with_key(&self.certificate_signer, move |signer| {
            let mut versions = subject.versions;
            let (mut networks, mut unsafe_networks) = (subject.networks, subject.unsafe_networks);
            if networks.iter().filter(|network| network.is_ipv4()).count() != 1 {
                versions.retain(|version| *version != Version::V1);
                versions.push(Version::V2);
            } else if versions == [Version::V1] {
                networks.retain(IpNetwork::is_ipv4);
                unsafe_networks.retain(IpNetwork::is_ipv4);
            }
            let request = IssueRequest {
                name: &subject.name,
                networks: &networks,
                unsafe_networks: &unsafe_networks,
                groups: &subject.groups,
                public_key: &subject.public_key,
                lifetime: subject.lifetime,
                versions: &versions,
            };
            signer.issue(&request, SystemTime::now())
        })
        .await
    }

    /// Signs a response to an agent, which trusts the keys of [`Self::trusted_keys_pem`]. A response is JSON,
    /// and no certificate's signed bytes begin with a brace, so neither can be passed off as the other. Fails
    /// with 503 when the key cannot be used.
    pub(crate) async fn sign_response(&self, message: &[u8]) -> Result<Vec<u8>, ApiError> {
        let message = message.to_vec();
        with_key(&self.response_signer, move |signer| signer.sign_message(&message)).await
    }

    /// Every authority that devices are to trust, as `ca.crt`.
    pub(crate) fn trusted_pem(&self) -> &str {
        &self.trusted_pem
    }

    /// The keys that may sign responses to agents, in nebula's PEM for the public keys of authorities.
    pub(crate) fn trusted_keys_pem(&self) -> &str {
        &self.trusted_keys_pem
    }

    /// The oldest nebula that reads a device's certificates: 1.6 knows version 1 on Curve25519 and nothing
    /// else.
    pub(crate) fn oldest_nebula(&self, networks: &[IpNetwork], versions: &[Version]) -> &'static str {
        let of_version_2 = |authority: &Certificate| authority.details().version == Version::V2;
        let first_is_version_1 = versions.contains(&Version::V1) && networks.iter().any(IpNetwork::is_ipv4);
        match self.curve() {
            _ if !first_is_version_1 || self.trusted.iter().any(of_version_2) => "1.10",
            Curve::P256 => "1.7",
            Curve::Curve25519 => "1.6",
        }
    }

    pub(crate) fn curve(&self) -> Curve {
        self.certificate_signer.curve()
    }

    /// The certificate of the authority that signs certificates.
    fn certificate(&self) -> &Certificate {
        self.certificate_signer.certificate()
    }

    /// Answers until when it can sign, in words.
    pub(crate) fn check(&self) -> Result<String, CannotSign> {
        let details = self.certificate().details();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let until = day(details.not_after);
        match i64::try_from(now) {
            Ok(now) if now > details.not_after => {
                Err(CannotSign::Expired { name: details.name.clone(), until })
            }
            Ok(now) if now < details.not_before => {
                Err(CannotSign::NotYetValid { name: details.name.clone() })
            }
            _ => Ok(format!("{:?} signs until {until}", details.name)),
        }
    }
}

/// Why an authority cannot sign now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CannotSign {
    #[error("{name:?} expired on {until}")]
    Expired { name: String, until: String },
    #[error("{name:?} is not valid yet: check the clock")]
    NotYetValid { name: String },
}

/// A calendar day, `2030-01-31`.
pub(crate) fn day(seconds: i64) -> String {
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .map_or_else(|| "an unknown day".to_owned(), |time| time.format("%Y-%m-%d").to_string())
}

/// Uses a key: one in memory takes a tenth of a millisecond and is used at once; one in a token may take
/// long, so it is used on a thread that may block.
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
