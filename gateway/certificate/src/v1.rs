//! Version 1: protobuf in the canonical form that Go writes, because verifiers encode it again to check the
//! signature.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::details::Parts;
use crate::protobuf::{Reader, Value, push_bytes, push_number, push_varint};
use crate::{Curve, Details, Error, Version};

/// The signed bytes: the marshalled details.
///
/// # Errors
/// [`Error::Ipv6`] for an IPv6 network, which this version cannot hold.
pub(crate) fn signed_bytes(details: &Details) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    push_bytes(&mut out, 1, details.name.as_bytes());
    push_bytes(&mut out, 2, &pack(&details.networks)?);
    push_bytes(&mut out, 3, &pack(&details.unsafe_networks)?);
    for group in &details.groups {
        push_bytes(&mut out, 4, group.as_bytes());
    }
    // int64 on the wire is the two's complement, so a time before 1970 takes ten bytes.
    push_number(&mut out, 5, details.not_before as u64);
    push_number(&mut out, 6, details.not_after as u64);
    push_bytes(&mut out, 7, &details.public_key);
    push_number(&mut out, 8, u64::from(details.is_ca));
    push_bytes(&mut out, 9, details.issuer.as_ref().map_or(&[], |issuer| issuer.as_slice()));
    push_number(&mut out, 100, u64::from(details.curve.code()));
    Ok(out)
}

/// The whole certificate.
pub(crate) fn assemble(signed: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_bytes(&mut out, 1, signed);
    push_bytes(&mut out, 2, signature);
    out
}

/// Reads a certificate. Only the canonical encoding is accepted: with any other, nebula's fingerprint and
/// signed bytes would be those of the re-encoded message, not of these bytes.
///
/// # Errors
/// [`Error::Malformed`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Parts, Error> {
    let malformed = |problem| Error::Malformed { version: Version::V1, problem };
    let (details, signature) = read(bytes).map_err(malformed)?;
    let signed = signed_bytes(&details)?;
    if assemble(&signed, &signature) != bytes {
        return Err(malformed("fields are not in canonical order or form"));
    }
    Ok(Parts { details, signed, signature })
}

fn read(bytes: &[u8]) -> Result<(Details, Vec<u8>), &'static str> {
    let (mut details, mut signature) = (None, Vec::new());
    let mut message = Reader::new(bytes);
    while let Some(field) = message.field()? {
        match field {
            (1, Value::Bytes(value)) => details = Some(read_details(value)?),
            (2, Value::Bytes(value)) => signature = value.to_vec(),
            _ => return Err("there is an unknown field"),
        }
    }
    if signature.is_empty() {
        return Err("the signature is missing");
    }
    Ok((details.ok_or("the details are missing")?, signature))
}

fn read_details(bytes: &[u8]) -> Result<Details, &'static str> {
    let mut details = Details {
        version: Version::V1,
        name: String::new(),
        networks: Vec::new(),
        unsafe_networks: Vec::new(),
        groups: Vec::new(),
        is_ca: false,
        not_before: 0,
        not_after: 0,
        curve: Curve::Curve25519,
        public_key: Vec::new(),
        issuer: None,
    };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).map_err(|_| "a text is not UTF-8");
    let mut message = Reader::new(bytes);
    while let Some(field) = message.field()? {
        match field {
            (1, Value::Bytes(value)) => details.name = text(value)?,
            (2, Value::Bytes(value)) => details.networks = unpack(value)?,
            (3, Value::Bytes(value)) => details.unsafe_networks = unpack(value)?,
            (4, Value::Bytes(value)) => details.groups.push(text(value)?),
            (5, Value::Varint(value)) => details.not_before = value as i64,
            (6, Value::Varint(value)) => details.not_after = value as i64,
            (7, Value::Bytes(value)) => details.public_key = value.to_vec(),
            (8, Value::Varint(value)) => details.is_ca = value == 1,
            (9, Value::Bytes(value)) => {
                details.issuer = Some(value.try_into().map_err(|_| "the issuer is not 32 bytes")?);
            }
            (100, Value::Varint(value)) => details.curve = Curve::from_code(value).ok_or("unknown curve")?,
            _ => return Err("there is an unknown field"),
        }
    }
    Ok(details)
}

/// Networks as pairs of numbers, address (host bits kept) and mask.
fn pack(networks: &[IpNetwork]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    for &network in networks {
        let IpNetwork::V4(v4) = network else { return Err(Error::Ipv6 { network }) };
        push_varint(&mut out, u64::from(v4.ip().to_bits()));
        push_varint(&mut out, u64::from(v4.mask().to_bits()));
    }
    Ok(out)
}

fn unpack(packed: &[u8]) -> Result<Vec<IpNetwork>, &'static str> {
    let mut numbers = Reader::new(packed);
    let mut networks = Vec::new();
    while !numbers.is_empty() {
        let mut address = || {
            let number = u32::try_from(numbers.varint()?).map_err(|_| "an address exceeds 32 bits")?;
            Ok(Ipv4Addr::from_bits(number))
        };
        let (ip, mask) = (address()?, address()?);
        let prefix = ipnetwork::ip_mask_to_prefix(IpAddr::V4(mask)).map_err(|_| "a mask has holes")?;
        let network = Ipv4Network::new(ip, prefix).map_err(|_| "a mask has holes")?;
        networks.push(IpNetwork::V4(network));
    }
    Ok(networks)
}
