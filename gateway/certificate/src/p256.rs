//! P256 on OpenSSL: points, scalars, and signatures with the lower of both values of s, which nebula
//! blocklists reliably.

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcKeyRef, EcPoint, PointConversionForm};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Private, Public};
use openssl::sha::sha256;
use zeroize::Zeroizing;

use crate::Error;

/// First byte of an uncompressed point; 06 and 07 (hybrid) have the same length, but nebula refuses them.
const UNCOMPRESSED: u8 = 4;

fn group() -> Result<EcGroup, ErrorStack> {
    EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)
}

pub(crate) fn generate() -> Result<EcKey<Private>, ErrorStack> {
    EcKey::generate(&*group()?)
}

/// Reads an uncompressed point.
///
/// # Errors
/// [`Error::NotOnCurve`].
pub(crate) fn public_key(bytes: &[u8]) -> Result<EcKey<Public>, Error> {
    if bytes.first() != Some(&UNCOMPRESSED) {
        return Err(Error::NotOnCurve);
    }
    let group = group()?;
    let point =
        EcPoint::from_bytes(&group, bytes, &mut *BigNumContext::new()?).map_err(|_| Error::NotOnCurve)?;
    let key = EcKey::from_public_key(&group, &point)?;
    key.check_key().map_err(|_| Error::NotOnCurve)?;
    Ok(key)
}

/// Reads a 32-byte scalar and computes its public point.
///
/// # Errors
/// [`Error::PrivateKeyDamaged`] unless it is between 1 and the group's order.
pub(crate) fn private_key(scalar: &[u8]) -> Result<EcKey<Private>, Error> {
    let group = group()?;
    let mut number = BigNum::from_slice(scalar)?;
    let mut point = EcPoint::new(&group)?;
    let computed = point
        .mul_generator2(&group, &number, &mut *BigNumContext::new_secure()?)
        .and_then(|()| EcKey::from_private_components(&group, &number, &point));
    // OpenSSL wipes its own copy; this one has to be wiped here.
    number.clear();
    let key = computed.map_err(|_| Error::PrivateKeyDamaged)?;
    key.check_key().map_err(|_| Error::PrivateKeyDamaged)?;
    Ok(key)
}

pub(crate) fn public_bytes<T: HasPublic>(key: &EcKeyRef<T>) -> Result<Vec<u8>, ErrorStack> {
    key.public_key().to_bytes(&*group()?, PointConversionForm::UNCOMPRESSED, &mut *BigNumContext::new()?)
}

pub(crate) fn private_bytes(key: &EcKeyRef<Private>) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    key.private_key().to_vec_padded(32).map(Zeroizing::new)
}

/// ECDSA over SHA-256, DER, s in the lower half.
pub(crate) fn sign(key: &EcKeyRef<Private>, message: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    low_s(&EcdsaSig::sign(&sha256(message), key)?)
}

/// A token's signature, r and s of 32 bytes each, in the form of [`sign`].
///
/// # Errors
/// [`Error::Token`] for an answer of another length.
pub(crate) fn from_raw_signature(raw: &[u8]) -> Result<Vec<u8>, Error> {
    let (r, s) = raw.split_at_checked(32).filter(|(_, s)| s.len() == 32).ok_or_else(|| Error::Token {
        problem: format!("it answered a signature of {} bytes, wanted 64 (P256)", raw.len()),
    })?;
    Ok(low_s(&EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?)?)
}

fn low_s(signature: &EcdsaSig) -> Result<Vec<u8>, ErrorStack> {
    let mirror = negate_s(signature)?;
    if signature.s() <= mirror.s() { signature.to_der() } else { mirror.to_der() }
}

/// Whether the signature is valid; like nebula, it accepts both values of s.
pub(crate) fn verify<T: HasPublic>(
    key: &EcKeyRef<T>,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, ErrorStack> {
    let Some(parsed) = parse(signature) else { return Ok(false) };
    parsed.verify(&sha256(message), key)
}

/// The other valid signature over the same message, in DER, which anybody can derive; `None` if this is no
/// signature.
pub(crate) fn mirrored(signature: &[u8]) -> Option<Vec<u8>> {
    negate_s(&parse(signature)?).ok()?.to_der().ok()
}

/// Reads DER. OpenSSL's parser is lenient, Go's is not, so the bytes must equal the canonical encoding.
fn parse(signature: &[u8]) -> Option<EcdsaSig> {
    let parsed = EcdsaSig::from_der(signature).ok()?;
    (parsed.to_der().ok()? == signature).then_some(parsed)
}

fn negate_s(signature: &EcdsaSig) -> Result<EcdsaSig, ErrorStack> {
    let mut order = BigNum::new()?;
    group()?.order(&mut order, &mut *BigNumContext::new()?)?;
    EcdsaSig::from_private_components(signature.r().to_owned()?, &order - signature.s())
}
