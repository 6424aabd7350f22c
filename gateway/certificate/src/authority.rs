//! A certificate authority: a self-signed certificate with its private key, and the other authorities of its
//! file.

use std::fmt;
use std::time::{Duration, SystemTime};

use ipnetwork::IpNetwork;
use zeroize::Zeroizing;

use crate::passphrase::{self, Cost};
use crate::pem;
use crate::sign::SigningKey;
use crate::token::TokenKey;
use crate::verify::{check_authority, unix};
use crate::{CLOCK_SKEW, Certificate, Curve, Details, Error, Fingerprint, Version};

/// Properties of a new authority.
#[derive(Clone, Debug)]
pub struct NewAuthority<'a> {
    /// Shown by `nebula-cert print`; need not be unique.
    pub name: &'a str,
    /// The encoding of its own certificate; it may sign both. Nodes before nebula 1.10 need version 1.
    pub version: Version,
    /// Curve of the whole overlay.
    pub curve: Curve,
    /// Limit of the addresses it may grant; empty for none. The whole overlay network or nothing: a device's
    /// prefix length is that of the overlay and may not be wider than this.
    pub networks: &'a [IpNetwork],
    /// Limit of the networks it may let devices route for; empty for none.
    pub unsafe_networks: &'a [IpNetwork],
    /// Limit of the groups it may grant; empty for none.
    pub groups: &'a [String],
    /// From now; certificates it signs end no later.
    pub lifetime: Duration,
}

impl<'a> NewAuthority<'a> {
    /// An authority that every nebula reads (version 1, Curve25519), without limits but its lifetime.
    pub fn new(name: &'a str, lifetime: Duration) -> Self {
        let (version, curve) = (Version::V1, Curve::Curve25519);
        Self { name, version, curve, networks: &[], unsafe_networks: &[], groups: &[], lifetime }
    }
}

/// An authority with its private key, in memory, where it is wiped when dropped, or in a token.
pub struct CertificateAuthority {
    pub(crate) certificate: Certificate,
    pub(crate) key: SigningKey,
    trusted: Vec<Certificate>,
}

impl CertificateAuthority {
    /// Makes a key and signs the authority's certificate with it.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Group`], [`Error::Lifetime`], [`Error::Ipv6`] and others, for properties
    /// that nebula would refuse.
    pub fn create(new: &NewAuthority<'_>, now: SystemTime) -> Result<Self, Error> {
        Self::create_with(SigningKey::generate(new.curve)?, new, now)
    }

    /// The same with a key that is made in a PKCS#11 token and stays there. The URI (RFC 7512) names
    /// `module-path`, the token, the new key's `object` (label) and where the PIN is.
    ///
    /// # Errors
    /// [`Error::TokenUri`], [`Error::Token`], and those of [`Self::create`].
    pub fn create_in_token(new: &NewAuthority<'_>, uri: &str, now: SystemTime) -> Result<Self, Error> {
        Self::create_with(SigningKey::Token(Box::new(TokenKey::generate(uri, new.curve)?)), new, now)
    }

    fn create_with(key: SigningKey, new: &NewAuthority<'_>, now: SystemTime) -> Result<Self, Error> {
        let now = unix(now);
        let details = Details {
            version: new.version,
            name: new.name.to_owned(),
            networks: sorted(new.networks),
            unsafe_networks: sorted(new.unsafe_networks),
            groups: new.groups.to_vec(),
            is_ca: true,
            not_before: now.saturating_sub_unsigned(CLOCK_SKEW.as_secs()),
            not_after: now.saturating_add_unsigned(whole_seconds(new.lifetime)?),
            curve: new.curve,
            public_key: key.public()?,
            issuer: None,
        };
        details.check_text()?;
        let certificate = Certificate::sign(details, &key)?;
        check_authority(&certificate)?;
        Ok(Self { trusted: vec![certificate.clone()], certificate, key })
    }

    /// Reads an authority from the files of `nebula-cert ca`. The certificate file may hold several
    /// authorities, as during a rotation: the one the key belongs to signs, all are trusted. An expired
    /// authority loads, but [`Self::issue`] refuses. An encrypted key takes the memory and time its file asks
    /// for (nebula-cert: 2 GiB, seconds): once, here.
    ///
    /// # Errors
    /// Those of reading either text, [`Error::KeyMismatch`], [`Error::NotAuthority`], [`Error::Signature`],
    /// [`Error::PassphraseMissing`], [`Error::PassphraseWrong`].
    pub fn load(cert_pem: &str, key_pem: &str, passphrase: Option<&str>) -> Result<Self, Error> {
        let trusted = Certificate::parse(cert_pem)?;
        trusted.iter().try_for_each(check_authority)?;
        let key = load_key(key_pem, passphrase)?;
        let (curve, public) = (key.curve(), key.public()?);
        let own = |certificate: &&Certificate| {
            certificate.details().curve == curve && certificate.details().public_key == public
        };
        match trusted.iter().find(own).cloned() {
            Some(certificate) => Ok(Self { certificate, key, trusted }),
            None => Err(Error::KeyMismatch { name: trusted[0].details().name.clone() }),
        }
    }

    /// Reads an authority whose private key is in a PKCS#11 token. Of several certificates the first of the
    /// key signs.
    ///
    /// # Errors
    /// Those of reading the certificates, [`Error::TokenUri`], [`Error::Token`], [`Error::TokenKeyMismatch`].
    pub fn from_token(cert_pem: &str, uri: &str) -> Result<Self, Error> {
        let trusted = Certificate::parse(cert_pem)?;
        trusted.iter().try_for_each(check_authority)?;
        let mut outcome = Err(Error::TokenKeyMismatch);
        for certificate in &trusted {
            let details = certificate.details();
            outcome =
                TokenKey::open(uri, details.curve, &details.public_key).map(|key| (certificate.clone(), key));
            if !matches!(outcome, Err(Error::TokenKeyMismatch)) {
                break;
            }
        }
        let (certificate, key) = outcome?;
        Ok(Self { certificate, key: SigningKey::Token(Box::new(key)), trusted })
    }

    /// Whether the key is in memory; one in a token may take long to sign.
    pub fn key_is_in_memory(&self) -> bool {
        !matches!(self.key, SigningKey::Token(_))
    }

    /// Signs bytes that are no certificate: Ed25519, or ECDSA over SHA-256 in DER.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::OpenSsl`].
    pub fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.key.sign(message)
    }

    /// The curve device keys must be on.
    pub fn curve(&self) -> Curve {
        self.certificate.details().curve
    }

    /// The certificate that signs.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Every authority of the file that was loaded, this one included; `pki.ca` must list them.
    pub fn trusted(&self) -> &[Certificate] {
        &self.trusted
    }

    /// The certificate that signs, for `ca.crt`.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The issuer in the certificates it signs.
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint()
    }

    /// The private key for `ca.key`. Write it with mode 0600, or better use [`Self::encrypted_key_pem`].
    ///
    /// # Errors
    /// [`Error::OpenSsl`].
    pub fn key_pem(&self) -> Result<Zeroizing<String>, Error> {
        let (plain, _) = SigningKey::banners(self.curve());
        Ok(pem::encode(plain, &self.key.to_raw()?))
    }

    /// The private key under a passphrase, as `nebula-cert ca -encrypt` writes it.
    ///
    /// # Errors
    /// [`Error::PassphraseMissing`] if it is empty, [`Error::Encryption`] or [`Error::Memory`] for a cost out
    /// of range.
    pub fn encrypted_key_pem(&self, passphrase: &str, cost: Cost) -> Result<String, Error> {
        let (_, encrypted) = SigningKey::banners(self.curve());
        let body = passphrase::encrypt(&self.key.to_raw()?, passphrase, cost)?;
        Ok(pem::encode(encrypted, &body).to_string())
    }
}

/// Shows only the certificate.
impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn load_key(text: &str, passphrase: Option<&str>) -> Result<SigningKey, Error> {
    const WANTED: &str = "an authority's private key";
    let block = pem::decode_one(text, WANTED)?;
    for curve in [Curve::Curve25519, Curve::P256] {
        let (plain, encrypted) = SigningKey::banners(curve);
        if block.label == plain {
            return SigningKey::from_raw(curve, &block.body);
        }
        if block.label == encrypted {
            let passphrase = passphrase.filter(|text| !text.is_empty()).ok_or(Error::PassphraseMissing)?;
            return SigningKey::from_raw(curve, &passphrase::decrypt(&block.body, passphrase)?);
        }
    }
    Err(Error::UnexpectedBlock { found: block.label, wanted: WANTED })
}

/// Sorted and unique, as version 2 demands and version 1 allows.
pub(crate) fn sorted(networks: &[IpNetwork]) -> Vec<IpNetwork> {
    let mut networks = networks.to_vec();
    networks.sort_unstable();
    networks.dedup();
    networks
}

/// # Errors
/// [`Error::Lifetime`] for less than one.
pub(crate) fn whole_seconds(lifetime: Duration) -> Result<u64, Error> {
    match lifetime.as_secs() {
        0 => Err(Error::Lifetime),
        seconds => Ok(seconds),
    }
}
