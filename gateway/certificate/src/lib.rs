//! Certificates of [slackhq/nebula](https://github.com/slackhq/nebula), byte for byte as its own tools make
//! them.
//!
//! Pure: bytes and text in, bytes and text out; no files, no network, no clock. The gateway signs
//! certificates, `nebulactl` makes authorities and key pairs, tests decode what was issued.
//!
//! ```
//! # use std::time::{Duration, SystemTime};
//! # use nebula_certificate::{CertificateAuthority, Curve, KeyPair, NewAuthority, IssueRequest, Version};
//! # fn main() -> Result<(), nebula_certificate::Error> {
//! let now = SystemTime::now();
//! let year = Duration::from_secs(365 * 24 * 3600);
//! let ca = CertificateAuthority::create(&NewAuthority::new("home", year), now)?;
//! let device = KeyPair::generate(Curve::Curve25519)?;
//! let issued = ca.issue(
//!     &IssueRequest {
//!         name: "laptop",
//!         networks: &["10.42.0.5/16".parse().unwrap()],
//!         unsafe_networks: &[],
//!         groups: &[],
//!         public_key: device.public_key(),
//!         lifetime: year,
//!         versions: &[Version::V1, Version::V2],
//!     },
//!     now,
//! )?;
//! let node_crt: String = issued.iter().map(|one| one.pem.as_str()).collect();
//! # assert_eq!(node_crt.matches("BEGIN").count(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Which versions go into which file
//!
//! Nebula 1.6.1, the one Debian 12 ships, knows only version 1 on Curve25519:
//! - of `pki.cert` it reads the first block and ignores the rest, so [`CertificateAuthority::issue`] answers
//!   version 1 first;
//! - in `pki.ca` it refuses every other block, so authorities default to version 1 on Curve25519.
//!
//! Nebula 1.10 and later takes both versions in both files, in any order, and a version 1 authority may sign
//! version 2 certificates. One version 1 authority with both versions per device therefore serves everyone.

mod authority;
mod certificate;
mod details;
mod error;
mod issue;
mod key;
mod p256;
mod passphrase;
mod pem;
mod protobuf;
mod raw_signature;
mod sign;
#[cfg(test)]
mod tests;
mod token;
mod v1;
mod v2;
mod verify;

pub use authority::{CertificateAuthority, NewAuthority};
pub use certificate::Certificate;
pub use details::{Details, Fingerprint, Version};
pub use error::Error;
pub use issue::{CLOCK_SKEW, IssueRequest, Issued};
pub use key::{Curve, KeyPair, PublicKey};
pub use passphrase::Cost;
pub use verify::verify;
pub use zeroize::Zeroizing;
