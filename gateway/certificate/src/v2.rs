//! Version 2: DER with context tags. What is signed is kept as it was read, for fields of versions to come.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::certificate::Parts;
use crate::der::{self, Reader};
use crate::{Curve, Details, Error, Version};

/// What nebula reads at most, in bytes.
const MAX_SIZE: usize = 65_536;

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;

// Fields of the certificate.
const DETAILS: u8 = 0xa0;
const CURVE: u8 = 0x81;
const PUBLIC_KEY: u8 = 0x82;
const SIGNATURE: u8 = 0x83;

// Fields of the details.
const NAME: u8 = 0x80;
const NETWORKS: u8 = 0xa1;
const UNSAFE_NETWORKS: u8 = 0xa2;
const GROUPS: u8 = 0xa3;
const IS_CA: u8 = 0x84;
const NOT_BEFORE: u8 = 0x85;
const NOT_AFTER: u8 = 0x86;
const ISSUER: u8 = 0x87;

/// The signed bytes: the details with tag and length, the curve (also when the wire omits it), the public key.
pub(crate) fn signed_bytes(details: &Details) -> Vec<u8> {
    let mut fields = Vec::new();
    der::push(&mut fields, NAME, details.name.as_bytes());
    push_list(&mut fields, NETWORKS, OCTET_STRING, details.networks.iter().map(octets));
    push_list(&mut fields, UNSAFE_NETWORKS, OCTET_STRING, details.unsafe_networks.iter().map(octets));
    push_list(&mut fields, GROUPS, UTF8_STRING, &details.groups);
    if details.is_ca {
        der::push(&mut fields, IS_CA, &[0xff]);
    }
    der::push(&mut fields, NOT_BEFORE, &der::integer(details.not_before));
    der::push(&mut fields, NOT_AFTER, &der::integer(details.not_after));
    if let Some(issuer) = &details.issuer {
        der::push(&mut fields, ISSUER, issuer);
    }
    let mut out = Vec::new();
    der::push(&mut out, DETAILS, &fields);
    append_key(&mut out, details);
    out
}

/// The whole certificate around the same details.
///
/// # Errors
/// [`Error::TooLarge`] when nebula would not read it.
pub(crate) fn assemble(details: &Details, signed: &[u8], signature: &[u8]) -> Result<Vec<u8>, Error> {
    let raw_details = &signed[..signed.len() - 1 - details.public_key.len()];
    let mut fields = raw_details.to_vec();
    if details.curve != Curve::Curve25519 {
        der::push(&mut fields, CURVE, &[details.curve.code()]);
    }
    der::push(&mut fields, PUBLIC_KEY, &details.public_key);
    der::push(&mut fields, SIGNATURE, signature);
    let mut out = Vec::new();
    der::push(&mut out, SEQUENCE, &fields);
    if out.len() > MAX_SIZE {
        return Err(Error::TooLarge { size: out.len() });
    }
    Ok(out)
}

/// Reads a certificate.
///
/// # Errors
/// [`Error::Malformed`], [`Error::TooLarge`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Parts, Error> {
    if bytes.len() > MAX_SIZE {
        return Err(Error::TooLarge { size: bytes.len() });
    }
    read(bytes).map_err(|problem| Error::Malformed { version: Version::V2, problem })
}

fn read(bytes: &[u8]) -> Result<Parts, &'static str> {
    let mut outer = Reader::new(bytes);
    let mut fields = Reader::new(outer.required(SEQUENCE, "it does not start with a sequence")?);
    let raw_details = fields.element(DETAILS)?.ok_or("the details are missing")?;
    let curve = match fields.optional(CURVE)? {
        None => Curve::Curve25519,
        Some(&[code]) if code != 0 => Curve::from_code(code.into()).ok_or("unknown curve")?,
        Some(_) => return Err("the curve is not written the canonical way"),
    };
    let public_key = fields.required(PUBLIC_KEY, "the public key is missing")?.to_vec();
    let signature = fields.required(SIGNATURE, "the signature is missing")?.to_vec();
    if !outer.is_empty() || !fields.is_empty() {
        return Err("something follows its end");
    }
    let details = read_details(raw_details.content, curve, public_key)?;
    let mut signed = raw_details.whole.to_vec();
    append_key(&mut signed, &details);
    Ok(Parts { details, signed, signature })
}

/// Fields after the issuer are of a later version: the signature covers them, so they are left alone.
fn read_details(content: &[u8], curve: Curve, public_key: Vec<u8>) -> Result<Details, &'static str> {
    let mut fields = Reader::new(content);
    let name = text(fields.required(NAME, "the name is missing")?)?;
    if name.len() > 253 {
        return Err("the name is longer than 253 bytes");
    }
    Ok(Details {
        version: Version::V2,
        name,
        networks: read_list(&mut fields, NETWORKS, OCTET_STRING, network)?,
        unsafe_networks: read_list(&mut fields, UNSAFE_NETWORKS, OCTET_STRING, network)?,
        groups: read_list(&mut fields, GROUPS, UTF8_STRING, text)?,
        is_ca: match fields.optional(IS_CA)? {
            None => false,
            Some([0xff]) => true,
            Some(_) => return Err("isCA is not written the canonical way"),
        },
        not_before: der::read_integer(fields.required(NOT_BEFORE, "notBefore is missing")?)?,
        not_after: der::read_integer(fields.required(NOT_AFTER, "notAfter is missing")?)?,
        issuer: match fields.optional(ISSUER)? {
            None => None,
            Some(issuer) => Some(issuer.try_into().map_err(|_| "the issuer is not 32 bytes")?),
        },
        curve,
        public_key,
    })
}

fn append_key(out: &mut Vec<u8>, details: &Details) {
    out.push(details.curve.code());
    out.extend_from_slice(&details.public_key);
}

/// A list is left out when empty.
fn push_list<T: AsRef<[u8]>>(out: &mut Vec<u8>, tag: u8, item_tag: u8, items: impl IntoIterator<Item = T>) {
    let mut content = Vec::new();
    for item in items {
        der::push(&mut content, item_tag, item.as_ref());
    }
    if !content.is_empty() {
        der::push(out, tag, &content);
    }
}

fn read_list<T>(
    fields: &mut Reader<'_>,
    tag: u8,
    item_tag: u8,
    item: impl Fn(&[u8]) -> Result<T, &'static str>,
) -> Result<Vec<T>, &'static str> {
    let Some(content) = fields.optional(tag)? else { return Ok(Vec::new()) };
    let mut items = Vec::new();
    let mut list = Reader::new(content);
    while !list.is_empty() {
        items.push(item(list.required(item_tag, "a list holds something of another type")?)?);
    }
    Ok(items)
}

/// Address bytes (host bits kept), then one byte of prefix length.
fn octets(network: &IpNetwork) -> Vec<u8> {
    let mut out = match network.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    out.push(network.prefix());
    out
}

fn network(octets: &[u8]) -> Result<IpNetwork, &'static str> {
    const PROBLEM: &str = "a network is not 4 or 16 bytes of address and a prefix length";
    let (&prefix, address) = octets.split_last().ok_or(PROBLEM)?;
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(address) {
        IpAddr::from(v4)
    } else {
        IpAddr::from(<[u8; 16]>::try_from(address).map_err(|_| PROBLEM)?)
    };
    IpNetwork::new(ip, prefix).map_err(|_| PROBLEM)
}

fn text(utf8: &[u8]) -> Result<String, &'static str> {
    match str::from_utf8(utf8) {
        Ok("") => Err("a text is empty"),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("a text is not UTF-8"),
    }
}
