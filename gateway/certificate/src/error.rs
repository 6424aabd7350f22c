//! Errors of certificates and keys, each with a sentence that says what to do.

use ipnetwork::IpNetwork;

use crate::{Curve, Version};

/// Why a key, certificate or request was refused. Messages never contain key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text between or inside PEM blocks is not what Go's encoder writes.
    #[error("the PEM text is malformed at line {line}: {problem}")]
    Pem {
        /// Counted from 1.
        line: usize,
        /// The fault of that line.
        problem: &'static str,
    },
    /// A well-formed PEM block of the wrong kind.
    #[error("found a {found:?} block where {wanted} was expected")]
    UnexpectedBlock {
        /// The banner in the text.
        found: String,
        /// The expected kind.
        wanted: &'static str,
    },
    /// Not exactly one PEM block where one thing is expected.
    #[error("found {found} PEM blocks where exactly one, {wanted}, was expected")]
    BlockCount {
        /// How many blocks the text holds.
        found: usize,
        /// The expected kind.
        wanted: &'static str,
    },
    /// A private key in place of a public one.
    #[error("this is a private key: keep it on the device, and send the public key (the .pub file) instead")]
    PrivateKeySent,
    /// A signing key cannot do the key exchange a device needs.
    #[error(
        "this is the signing key of an authority: make a key pair for the device with \
         `nebula-cert keygen` and send its public key"
    )]
    AuthorityKeySent,
    /// No known form of a public key.
    #[error(
        "the public key is neither PEM nor base64 nor hex: send the .pub file that `nebula-cert keygen` \
         writes"
    )]
    PublicKeyText,
    /// A key of a length no curve has.
    #[error("{what} is {seen} bytes long, wanted {wanted}")]
    KeySize {
        /// Which key.
        what: &'static str,
        /// Its length in bytes.
        seen: usize,
        /// The expected lengths in bytes.
        wanted: &'static str,
    },
    /// The zero key and the other points of small order make every shared secret predictable.
    #[error("the X25519 public key is zero or of small order, which gives no secrecy: make a new key pair")]
    WeakKey,
    /// Not a point of P256.
    #[error("the P256 public key is not an uncompressed point (04, X, Y) of the curve: make a new key pair")]
    NotOnCurve,
    /// A private key outside the range of its curve, or whose public half does not follow from it.
    #[error("the private key is damaged: restore it from a backup or make a new one")]
    PrivateKeyDamaged,
    /// A `pkcs11:` URI that cannot be used.
    #[error("the pkcs11: URI cannot be used: {problem}")]
    TokenUri {
        /// Which part, never its value.
        problem: String,
    },
    /// An error of a PKCS#11 token.
    #[error("the token cannot be used: {problem}")]
    Token {
        /// The token's own message.
        problem: String,
    },
    /// The PIN is wrong, or the token takes none any more. Tokens lock themselves after a few wrong ones.
    #[error("the token refuses the PIN: {problem}")]
    TokenPin {
        /// The token's own message.
        problem: String,
    },
    /// The key in the token belongs to another certificate.
    #[error("the private key in the token is not the one of the certificate: name its object= or id=")]
    TokenKeyMismatch,
    /// A key in a token cannot be exported.
    #[error("the private key stays in its token: there is nothing to export")]
    TokenKeyStays,
    /// The bytes of a certificate do not follow its format.
    #[error("the version {version} certificate is malformed: {problem}")]
    Malformed {
        /// The format they were read as.
        version: Version,
        /// The rule that was broken.
        problem: &'static str,
    },
    /// The name is empty, longer than 253 bytes, or unprintable.
    #[error("the name must be 1 to 253 bytes of printable text, got {length} bytes")]
    Name {
        /// Its length in bytes.
        length: usize,
    },
    /// A group that is empty or unprintable.
    #[error("a group must be printable text and not empty, got {group:?}")]
    Group {
        /// The group as given.
        group: String,
    },
    /// A device without an address.
    #[error("the certificate of {name:?} names no network: a device needs an address with its prefix length")]
    NoNetwork {
        /// The name in the certificate.
        name: String,
    },
    /// Version 1 has room for one IPv4 address.
    #[error(
        "a version 1 certificate holds exactly one IPv4 network, got {count}: ask for version 2 alone, \
         or give one"
    )]
    NotOneIpv4 {
        /// How many IPv4 networks were given.
        count: usize,
    },
    /// Version 1 has no IPv6.
    #[error("a version 1 certificate cannot hold the IPv6 network {network}: ask for version 2")]
    Ipv6 {
        /// The network that does not fit.
        network: IpNetwork,
    },
    /// A network that nebula refuses.
    #[error("the network {network} cannot be used in a certificate: {problem}")]
    Network {
        /// The network as given.
        network: IpNetwork,
        /// Why nebula refuses it.
        problem: &'static str,
    },
    /// Larger than nebula reads.
    #[error("the certificate is {size} bytes long, nebula reads at most 65536: use fewer groups or networks")]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
    /// A request for no version.
    #[error("no certificate version was asked for: ask for 1, 2 or both")]
    NoVersion,
    /// Certificates count whole seconds.
    #[error("the lifetime must be at least one second")]
    Lifetime,
    /// A certificate that may not sign.
    #[error("{name:?} is not the certificate of an authority")]
    NotAuthority {
        /// The name in the certificate.
        name: String,
    },
    /// The key of another authority.
    #[error(
        "the private key does not belong to the authority certificate {name:?}: check which files \
         belong together"
    )]
    KeyMismatch {
        /// The name in the (first) certificate.
        name: String,
    },
    /// The signature is not the issuer's.
    #[error("the signature of {name:?} is not valid")]
    Signature {
        /// The name in the certificate.
        name: String,
    },
    /// None of the given authorities signed it.
    #[error("{name:?} was not issued by an authority given here")]
    UnknownIssuer {
        /// The name in the certificate.
        name: String,
    },
    /// The validity is over.
    #[error("{name:?} expired on {not_after}: issue a new one")]
    Expired {
        /// The name in the certificate.
        name: String,
        /// Last valid second, UTC.
        not_after: String,
    },
    /// The validity has not begun.
    #[error("{name:?} is not valid before {not_before}: check the clock")]
    NotYetValid {
        /// The name in the certificate.
        name: String,
        /// First valid second, UTC.
        not_before: String,
    },
    /// An overlay has one curve.
    #[error(
        "the key is on {key} but the authority {authority:?} is on {wanted}: make a key pair on {wanted}"
    )]
    CurveMismatch {
        /// The curve of the device's key.
        key: Curve,
        /// The curve of the authority.
        wanted: Curve,
        /// The name of the authority.
        authority: String,
    },
    /// Valid at a time when its authority is not.
    #[error("{name:?} is valid outside the time of the authority {authority:?}")]
    OutsideValidity {
        /// The name in the certificate.
        name: String,
        /// The name of the authority.
        authority: String,
    },
    /// The authority is limited to other groups.
    #[error("the authority {authority:?} may not grant the group {group:?}")]
    GroupNotAllowed {
        /// The group that is not in the authority's list.
        group: String,
        /// The name of the authority.
        authority: String,
    },
    /// The authority is limited to other networks.
    #[error(
        "the authority {authority:?} may not grant the network {network}: its own networks do not \
         contain it, prefix length included"
    )]
    NetworkNotAllowed {
        /// The network that is outside.
        network: IpNetwork,
        /// The name of the authority.
        authority: String,
    },
    /// The key is encrypted and no passphrase was given.
    #[error("the authority's key is encrypted: give its passphrase (NEBULA_CA_PASSPHRASE)")]
    PassphraseMissing,
    /// Decryption failed, which with this cipher means the passphrase or a damaged file.
    #[error("the passphrase does not open the authority's key: check it (or the file is damaged)")]
    PassphraseWrong,
    /// The header of an encrypted key cannot be used.
    #[error("the encrypted key cannot be used: {problem}")]
    Encryption {
        /// The fault.
        problem: &'static str,
    },
    /// Argon2 is memory-hard by design; nebula-cert asks for 2 GiB.
    #[error(
        "opening the encrypted key needs {kibibytes} KiB of memory for a moment, which this machine refused"
    )]
    Memory {
        /// Demanded by the file.
        kibibytes: u32,
    },
    /// OpenSSL itself failed, which correct input does not cause.
    #[error("OpenSSL failed: {0}")]
    OpenSsl(#[from] openssl::error::ErrorStack),
}

impl Error {
    /// Whether the request is at fault (key, name, networks, groups) and not the authority or this machine.
    /// An HTTP service answers 400 in that case.
    pub fn is_callers_fault(&self) -> bool {
        !matches!(
            self,
            Self::NotAuthority { .. }
                | Self::KeyMismatch { .. }
                | Self::Signature { .. }
                | Self::UnknownIssuer { .. }
                | Self::Expired { .. }
                | Self::NotYetValid { .. }
                | Self::OutsideValidity { .. }
                | Self::PrivateKeyDamaged
                | Self::PassphraseMissing
                | Self::PassphraseWrong
                | Self::Encryption { .. }
                | Self::TokenPin { .. }
                | Self::Memory { .. }
                | Self::OpenSsl(_)
        )
    }
}
