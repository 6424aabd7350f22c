//! Version 2: DER with context tags. The signed bytes are kept as they were read: a later version may add
//! fields, which the signature covers too.

use std::net::IpAddr;

use der::asn1::{AnyRef, ContextSpecificRef};
use der::{DecodeValue, Encode, ErrorKind, Header, Reader, SliceReader, Tag, TagMode, TagNumber};
use ipnetwork::IpNetwork;

use crate::details::Parts;
use crate::{Curve, Details, Error, Version};

/// The largest certificate that nebula reads, in bytes.
const MAX_SIZE: usize = 65_536;

const fn primitive(number: u8) -> Tag {
    Tag::ContextSpecific { constructed: false, number: TagNumber::new(number) }
}

const fn constructed(number: u8) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber::new(number) }
}

// Fields of the certificate.
pub(crate) const DETAILS: Tag = constructed(0);
const CURVE: Tag = primitive(1);
const PUBLIC_KEY: Tag = primitive(2);
const SIGNATURE: Tag = primitive(3);

// Fields of the details.
const NAME: Tag = primitive(0);
const NETWORKS: Tag = constructed(1);
const UNSAFE_NETWORKS: Tag = constructed(2);
const GROUPS: Tag = constructed(3);
const IS_CA: Tag = primitive(4);
const NOT_BEFORE: TagNumber = TagNumber::new(5);
const NOT_AFTER: TagNumber = TagNumber::new(6);
const ISSUER: Tag = primitive(7);

/// The signed bytes: the details with tag and length, the curve (also where the encoding omits it), the
/// public key.
///
/// # Errors
/// [`Error::TooLarge`].
pub(crate) fn signed_bytes(details: &Details) -> Result<Vec<u8>, Error> {
    let mut fields = Vec::new();
    push(&mut fields, NAME, details.name.as_bytes())?;
    push_list(&mut fields, NETWORKS, Tag::OctetString, details.networks.iter().map(octets))?;
    push_list(&mut fields, UNSAFE_NETWORKS, Tag::OctetString, details.unsafe_networks.iter().map(octets))?;
    push_list(&mut fields, GROUPS, Tag::Utf8String, &details.groups)?;
    if details.is_ca {
        push(&mut fields, IS_CA, &[0xff])?;
    }
    push_integer(&mut fields, NOT_BEFORE, details.not_before)?;
    push_integer(&mut fields, NOT_AFTER, details.not_after)?;
    if let Some(issuer) = &details.issuer {
        push(&mut fields, ISSUER, issuer)?;
    }
    let mut out = Vec::new();
    push(&mut out, DETAILS, &fields)?;
    append_key(&mut out, details);
    Ok(out)
}

/// The whole certificate around the same details.
///
/// # Errors
/// [`Error::TooLarge`] when nebula would not read it.
pub(crate) fn assemble(details: &Details, signed: &[u8], signature: &[u8]) -> Result<Vec<u8>, Error> {
    let raw_details = &signed[..signed.len() - 1 - details.public_key.len()];
    let mut fields = raw_details.to_vec();
    if details.curve != Curve::Curve25519 {
        push(&mut fields, CURVE, &[details.curve.code()])?;
    }
    push(&mut fields, PUBLIC_KEY, &details.public_key)?;
    push(&mut fields, SIGNATURE, signature)?;
    let mut out = Vec::new();
    push(&mut out, Tag::Sequence, &fields)?;
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
    let mut outer = reader(bytes)?;
    let mut fields = reader(required(&mut outer, Tag::Sequence, "it does not start with a sequence")?)?;
    let raw_details = element(&mut fields, DETAILS)?.ok_or("the details are missing")?;
    let curve = match optional(&mut fields, CURVE)? {
        None => Curve::Curve25519,
        Some(&[code]) if code != 0 => Curve::from_code(code.into()).ok_or("unknown curve")?,
        Some(_) => return Err("the curve is not written the canonical way"),
    };
    let public_key = required(&mut fields, PUBLIC_KEY, "the public key is missing")?.to_vec();
    let signature = required(&mut fields, SIGNATURE, "the signature is missing")?.to_vec();
    if !outer.is_finished() || !fields.is_finished() {
        return Err("something follows its end");
    }
    let details = read_details(raw_details.content, curve, public_key)?;
    let mut signed = raw_details.whole.to_vec();
    append_key(&mut signed, &details);
    Ok(Parts { details, signed, signature })
}

/// Fields after the issuer belong to a later version and are ignored.
fn read_details(content: &[u8], curve: Curve, public_key: Vec<u8>) -> Result<Details, &'static str> {
    let mut fields = reader(content)?;
    let name = text(required(&mut fields, NAME, "the name is missing")?)?;
    if name.len() > 253 {
        return Err("the name is longer than 253 bytes");
    }
    Ok(Details {
        version: Version::V2,
        name,
        networks: read_list(&mut fields, NETWORKS, Tag::OctetString, network)?,
        unsafe_networks: read_list(&mut fields, UNSAFE_NETWORKS, Tag::OctetString, network)?,
        groups: read_list(&mut fields, GROUPS, Tag::Utf8String, text)?,
        is_ca: match optional(&mut fields, IS_CA)? {
            None => false,
            Some([0xff]) => true,
            Some(_) => return Err("isCA is not written the canonical way"),
        },
        not_before: integer(&mut fields, NOT_BEFORE, "notBefore is missing")?,
        not_after: integer(&mut fields, NOT_AFTER, "notAfter is missing")?,
        issuer: match optional(&mut fields, ISSUER)? {
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

/// Appends tag, length and content.
pub(crate) fn push(out: &mut Vec<u8>, tag: Tag, content: &[u8]) -> Result<(), Error> {
    // The one failure of an encoder into memory: a length beyond 256 MiB.
    let encoded = AnyRef::new(tag, content).and_then(|element| element.encode_to_vec(out));
    encoded.map(drop).map_err(|_| Error::TooLarge { size: content.len() })
}

fn push_integer(out: &mut Vec<u8>, tag_number: TagNumber, value: i64) -> Result<(), Error> {
    let element = ContextSpecificRef { tag_number, tag_mode: TagMode::Implicit, value: &value };
    element.encode_to_vec(out).map(drop).map_err(|_| Error::TooLarge { size: out.len() })
}

/// An empty list is left out.
fn push_list<T: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    tag: Tag,
    item_tag: Tag,
    items: impl IntoIterator<Item = T>,
) -> Result<(), Error> {
    let mut content = Vec::new();
    for item in items {
        push(&mut content, item_tag, item.as_ref())?;
    }
    if content.is_empty() { Ok(()) } else { push(out, tag, &content) }
}

fn read_list<T>(
    fields: &mut SliceReader<'_>,
    tag: Tag,
    item_tag: Tag,
    item: impl Fn(&[u8]) -> Result<T, &'static str>,
) -> Result<Vec<T>, &'static str> {
    let Some(content) = optional(fields, tag)? else { return Ok(Vec::new()) };
    let mut items = Vec::new();
    let mut list = reader(content)?;
    while !list.is_finished() {
        items.push(item(required(&mut list, item_tag, "a list holds something of another type")?)?);
    }
    Ok(items)
}

/// An element as it was read.
struct Element<'a> {
    /// With tag and length.
    whole: &'a [u8],
    content: &'a [u8],
}

fn reader(bytes: &[u8]) -> Result<SliceReader<'_>, &'static str> {
    SliceReader::new(bytes).map_err(problem)
}

/// The next element if it has this tag; `None`, with nothing consumed, for another one.
fn element<'a>(fields: &mut SliceReader<'a>, tag: Tag) -> Result<Option<Element<'a>>, &'static str> {
    // Compared as bytes, since the crate refuses to parse tags that a later version may use.
    if fields.peek_byte() != Some(tag.octet()) {
        return Ok(None);
    }
    let header = fields.peek_header().map_err(problem)?;
    let whole = fields.tlv_bytes().map_err(problem)?;
    let length = usize::try_from(header.length).map_err(problem)?;
    Ok(Some(Element { whole, content: &whole[whole.len() - length..] }))
}

fn optional<'a>(fields: &mut SliceReader<'a>, tag: Tag) -> Result<Option<&'a [u8]>, &'static str> {
    Ok(element(fields, tag)?.map(|element| element.content))
}

fn required<'a>(
    fields: &mut SliceReader<'a>,
    tag: Tag,
    missing: &'static str,
) -> Result<&'a [u8], &'static str> {
    optional(fields, tag)?.ok_or(missing)
}

fn integer(
    fields: &mut SliceReader<'_>,
    number: TagNumber,
    missing: &'static str,
) -> Result<i64, &'static str> {
    let content = required(fields, Tag::ContextSpecific { constructed: false, number }, missing)?;
    let value = Header::new(Tag::Integer, content.len())
        .and_then(|header| i64::decode_value(&mut SliceReader::new(content)?, header));
    value.map_err(|_| "a time is not a minimal integer of at most 64 bits")
}

fn problem(error: der::Error) -> &'static str {
    match error.kind() {
        ErrorKind::Incomplete { .. } => "an element is cut short",
        ErrorKind::Length { .. } | ErrorKind::Overlength | ErrorKind::IndefiniteLength => {
            "a length is not written the shortest way"
        }
        _ => "an element is malformed",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_their_value_and_must_be_minimal() {
        let read = |content: &[u8]| {
            let mut der = Vec::new();
            push(&mut der, primitive(5), content).unwrap();
            integer(&mut reader(&der).unwrap(), NOT_BEFORE, "missing")
        };
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0, 0x80]),
            (-1, &[0xff]),
            (-129, &[0xff, 0x7f]),
            (1 << 40, &[1, 0, 0, 0, 0, 0]),
            (i64::MIN, &[0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            let mut der = Vec::new();
            push_integer(&mut der, NOT_BEFORE, value).unwrap();
            assert_eq!(&der[2..], bytes);
            assert_eq!(read(bytes), Ok(value));
        }
        for bad in [&[][..], &[0, 1], &[0xff, 0x80], &[1, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(read(bad).is_err(), "{bad:x?}");
        }
    }

    #[test]
    fn lengths_round_trip_and_must_be_minimal() {
        for length in [0, 127, 128, 255, 256, 65_535, 65_536] {
            let mut der = Vec::new();
            push(&mut der, Tag::OctetString, &vec![7; length]).unwrap();
            let mut fields = reader(&der).unwrap();
            assert_eq!(required(&mut fields, Tag::OctetString, "missing").unwrap().len(), length);
            assert!(fields.is_finished());
        }
        let long = |head: &[u8], length| [head, &vec![7; length]].concat();
        for bad in [
            long(&[0x04, 0x81, 0x01], 1),
            long(&[0x04, 0x81, 0x7f], 127),
            long(&[0x04, 0x82, 0x00, 0x80], 128),
            long(&[0x04, 0x83, 0x00, 0x01, 0x00], 256),
            long(&[0x04, 0x80], 1),
            long(&[0x04, 0x02], 1),
            long(&[0x04], 0),
        ] {
            assert!(optional(&mut reader(&bad).unwrap(), Tag::OctetString).is_err(), "{bad:x?}");
        }
    }
}
