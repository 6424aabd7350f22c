//! A signed certificate: its fields, its bytes, and the fingerprints that identify it.

use openssl::sha::sha256;

use crate::details::{Fingerprint, Parts};
use crate::pem::{self, banner};
use crate::sign::SigningKey;
use crate::{Curve, Details, Error, Version, p256, v1, v2};

/// A certificate as it was signed or read: well formed, but not trusted before [`crate::verify()`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    details: Details,
    signed: Vec<u8>,
    signature: Vec<u8>,
    encoded: Vec<u8>,
}

impl Certificate {
    /// Encodes and signs. The caller must have checked the details.
    pub(crate) fn sign(details: Details, key: &SigningKey) -> Result<Self, Error> {
        let signed = match details.version {
            Version::V1 => v1::signed_bytes(&details)?,
            Version::V2 => v2::signed_bytes(&details)?,
        };
        let signature = key.sign(&signed)?;
        let encoded = assemble(&details, &signed, &signature)?;
        // Decoded again, so that every certificate made here has passed the checks that any reader applies.
        Self::decode(details.version, &encoded)
    }

    /// Reads the bytes inside a PEM block.
    ///
    /// # Errors
    /// [`Error::Malformed`], and the errors for fields that nebula refuses in any certificate.
    pub fn decode(version: Version, bytes: &[u8]) -> Result<Self, Error> {
        let Parts { details, signed, signature } = match version {
            Version::V1 => v1::decode(bytes)?,
            Version::V2 => v2::decode(bytes)?,
        };
        details.check()?;
        Ok(Self { details, signed, signature, encoded: bytes.to_vec() })
    }

    /// Reads a file of one or more certificates, of any version, in order.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::UnexpectedBlock`], [`Error::BlockCount`] if there is none, and those of
    /// [`Self::decode`].
    pub fn parse(text: &str) -> Result<Vec<Self>, Error> {
        const WANTED: &str = "a certificate";
        let blocks = pem::decode(text)?;
        if blocks.is_empty() {
            return Err(Error::BlockCount { found: 0, wanted: WANTED });
        }
        let decode = |block: pem::Block| match block.label.as_str() {
            banner::CERTIFICATE_V1 => Self::decode(Version::V1, &block.body),
            banner::CERTIFICATE_V2 => Self::decode(Version::V2, &block.body),
            _ => Err(Error::UnexpectedBlock { found: block.label, wanted: WANTED }),
        };
        blocks.into_iter().map(decode).collect()
    }

    /// The fields.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Ed25519 (64 bytes) or ECDSA (DER).
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The bytes that were signed.
    pub(crate) fn signed(&self) -> &[u8] {
        &self.signed
    }

    /// The whole certificate without PEM: protobuf or DER.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// One PEM block, ending in a newline, so that blocks can simply be joined into a file.
    pub fn pem(&self) -> String {
        let label = match self.details.version {
            Version::V1 => banner::CERTIFICATE_V1,
            Version::V2 => banner::CERTIFICATE_V2,
        };
        pem::encode(label, &self.encoded).to_string()
    }

    /// The public key of an authority in the PEM that agents pin, to verify responses; not for devices.
    pub fn public_key_pem(&self) -> String {
        let label = match self.details.curve {
            Curve::Curve25519 => banner::ED25519_PUBLIC,
            Curve::P256 => banner::ECDSA_PUBLIC,
        };
        pem::encode(label, &self.details.public_key).to_string()
    }

    /// The fingerprint that `nebula-cert print` shows, and `pki.blocklist` takes, in hex.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint_with(&self.signature)
    }

    /// The fingerprint under the mirrored signature, which any holder of a P256 certificate can put in its
    /// place: nebula before 1.10.3 checks only the one it sees, so blocklists need both. `None` for
    /// Curve25519.
    pub fn alternate_fingerprint(&self) -> Option<Fingerprint> {
        match self.details.curve {
            Curve::Curve25519 => None,
            Curve::P256 => p256::mirrored(&self.signature).map(|mirrored| self.fingerprint_with(&mirrored)),
        }
    }

    fn fingerprint_with(&self, signature: &[u8]) -> Fingerprint {
        match self.details.version {
            Version::V1 => sha256(&v1::assemble(&self.signed, signature)),
            // nebula hashes the signed bytes and the signature, not the DER around them.
            Version::V2 => sha256(&[self.signed.as_slice(), signature].concat()),
        }
    }
}

fn assemble(details: &Details, signed: &[u8], signature: &[u8]) -> Result<Vec<u8>, Error> {
    match details.version {
        Version::V1 => Ok(v1::assemble(signed, signature)),
        Version::V2 => v2::assemble(details, signed, signature),
    }
}
