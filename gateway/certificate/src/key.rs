//! Keys of devices: reading them in every usual form, refusing weak ones, making key pairs.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use openssl::derive::Deriver;
use openssl::pkey::{Id, PKey, Private};
use zeroize::Zeroizing;

use crate::pem::{self, banner};
use crate::{Error, p256};

/// The curve of an overlay. Nodes of different curves cannot talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// X25519 for devices, Ed25519 for authorities: nebula's default, and the only curve before version 1.7.
    Curve25519,
    /// NIST P-256, where regulations or hardware demand it.
    P256,
}

impl Curve {
    /// `25519` or `P256`, as nebula-cert and databases spell it.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Curve25519 => "25519",
            Self::P256 => "P256",
        }
    }

    /// Number of the curve inside certificates.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Curve25519 => 0,
            Self::P256 => 1,
        }
    }

    pub(crate) fn from_code(code: u64) -> Option<Self> {
        [Self::Curve25519, Self::P256].into_iter().find(|curve| u64::from(curve.code()) == code)
    }

    pub(crate) fn check_size(self, what: &'static str, seen: usize) -> Result<(), Error> {
        let (size, wanted) = match self {
            Self::Curve25519 => (32, "32 (Curve25519)"),
            Self::P256 => (65, "65 (P256, uncompressed)"),
        };
        if seen == size { Ok(()) } else { Err(Error::KeySize { what, seen, wanted }) }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Curve25519 => "Curve25519",
            Self::P256 => "P256",
        })
    }
}

impl FromStr for Curve {
    type Err = &'static str;

    /// Accepts the spellings of `nebula-cert -curve`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_uppercase().as_str() {
            "25519" | "X25519" | "CURVE25519" => Ok(Self::Curve25519),
            "P256" => Ok(Self::P256),
            _ => Err("curves are 25519 and P256"),
        }
    }
}

/// The public key of a device, checked: it can be signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey {
    curve: Curve,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads the PEM of `nebula-cert keygen`, or the bare bytes as base64 or hex.
    ///
    /// # Errors
    /// [`Error::PublicKeyText`], [`Error::KeySize`], [`Error::WeakKey`], [`Error::NotOnCurve`];
    /// [`Error::PrivateKeySent`] and [`Error::AuthorityKeySent`] for such a key in PEM.
    pub fn parse(text: &str) -> Result<Self, Error> {
        const WANTED: &str = "a device's public key";
        let text = text.trim();
        if !text.starts_with(pem::BEGIN) {
            return Self::from_bytes(&decode_bare(text)?);
        }
        let block = pem::decode_one(text, WANTED)?;
        let curve = match block.label.as_str() {
            banner::X25519_PUBLIC => Curve::Curve25519,
            banner::P256_PUBLIC => Curve::P256,
            banner::ED25519_PUBLIC | banner::ECDSA_PUBLIC => return Err(Error::AuthorityKeySent),
            label if label.ends_with("PRIVATE KEY") => return Err(Error::PrivateKeySent),
            _ => return Err(Error::UnexpectedBlock { found: block.label, wanted: WANTED }),
        };
        curve.check_size("the public key", block.body.len())?;
        Self::from_bytes(&block.body)
    }

    /// Takes the bare bytes: 32 are X25519, 65 an uncompressed P256 point.
    ///
    /// # Errors
    /// [`Error::KeySize`], [`Error::WeakKey`], [`Error::NotOnCurve`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let curve = match bytes.len() {
            32 => Curve::Curve25519,
            65 => Curve::P256,
            seen => {
                let wanted = "32 (X25519) or 65 (P256, uncompressed)";
                return Err(Error::KeySize { what: "the public key", seen, wanted });
            }
        };
        match curve {
            Curve::Curve25519 => refuse_small_order(bytes)?,
            Curve::P256 => drop(p256::public_key(bytes)?),
        }
        Ok(Self { curve, bytes: bytes.to_vec() })
    }

    /// The curve, which its authority must share.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// 32 or 65 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The `.pub` file of nebula-cert.
    pub fn pem(&self) -> String {
        let label = match self.curve {
            Curve::Curve25519 => banner::X25519_PUBLIC,
            Curve::P256 => banner::P256_PUBLIC,
        };
        pem::encode(label, &self.bytes).to_string()
    }
}

/// Tries hex first: 64 or 130 hex digits are base64 as well, but of lengths that no key has.
fn decode_bare(text: &str) -> Result<Vec<u8>, Error> {
    // A key in base64 of nothing but hexadecimal digits does not occur in practice.
    let looks_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let decoded = if looks_hex { hex::decode(text).ok() } else { STANDARD_PAD_INDIFFERENT.decode(text).ok() };
    decoded.filter(|bytes| !bytes.is_empty()).ok_or(Error::PublicKeyText)
}

/// Refuses zero and the other points of small order. With them every exchange yields zeros, which OpenSSL
/// refuses to derive, so one trial exchange finds them without a list.
fn refuse_small_order(bytes: &[u8]) -> Result<(), Error> {
    // Any key will do; it protects nothing.
    static OURS: OnceLock<PKey<Private>> = OnceLock::new();
    let ours = match OURS.get() {
        Some(ours) => ours,
        None => {
            let made = PKey::generate_x25519()?;
            OURS.get_or_init(|| made)
        }
    };
    let theirs = PKey::public_key_from_raw_bytes(bytes, Id::X25519)?;
    let mut exchange = Deriver::new(ours)?;
    exchange.set_peer(&theirs).and_then(|()| exchange.derive_to_vec()).map(drop).map_err(|_| Error::WeakKey)
}

/// The key pair of a device. The private half has no `Debug` and is wiped when dropped.
pub struct KeyPair {
    public: PublicKey,
    private: Zeroizing<Vec<u8>>,
}

impl KeyPair {
    /// Makes a new key pair.
    ///
    /// # Errors
    /// [`Error::OpenSsl`] if the system gives no randomness.
    pub fn generate(curve: Curve) -> Result<Self, Error> {
        match curve {
            Curve::Curve25519 => Self::from_x25519(&PKey::generate_x25519()?),
            Curve::P256 => {
                let key = p256::generate()?;
                let public = PublicKey { curve, bytes: p256::public_bytes(&key)? };
                Ok(Self { public, private: p256::private_bytes(&key)? })
            }
        }
    }

    /// Reads a key file of nebula-cert, as `pki.key` names it, and computes the public half.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::UnexpectedBlock`], [`Error::KeySize`], [`Error::PrivateKeyDamaged`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        const WANTED: &str = "a device's private key";
        let block = pem::decode_one(text, WANTED)?;
        let curve = match block.label.as_str() {
            banner::X25519_PRIVATE => Curve::Curve25519,
            banner::P256_PRIVATE => Curve::P256,
            _ => return Err(Error::UnexpectedBlock { found: block.label, wanted: WANTED }),
        };
        if block.body.len() != 32 {
            return Err(Error::KeySize { what: "the private key", seen: block.body.len(), wanted: "32" });
        }
        match curve {
            Curve::Curve25519 => {
                Self::from_x25519(&PKey::private_key_from_raw_bytes(&block.body, Id::X25519)?)
            }
            Curve::P256 => {
                let public = p256::public_bytes(&*p256::private_key(&block.body)?)?;
                Ok(Self { public: PublicKey { curve, bytes: public }, private: block.body })
            }
        }
    }

    /// The half that is sent to be signed.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The key file for `pki.key`: write it with mode 0600 and never send it.
    pub fn private_pem(&self) -> Zeroizing<String> {
        let label = match self.public.curve {
            Curve::Curve25519 => banner::X25519_PRIVATE,
            Curve::P256 => banner::P256_PRIVATE,
        };
        pem::encode(label, &self.private)
    }

    fn from_x25519(key: &PKey<Private>) -> Result<Self, Error> {
        let public = PublicKey { curve: Curve::Curve25519, bytes: key.raw_public_key()? };
        Ok(Self { public, private: Zeroizing::new(key.raw_private_key()?) })
    }
}
