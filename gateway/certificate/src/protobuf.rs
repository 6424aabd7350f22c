//! The part of protobuf's wire format that nebula's messages use: varints and length-delimited fields.
//!
//! Not `prost`: it accepts non-canonical encodings, and a version 1 certificate has to be written again byte
//! for byte.

/// Wire types; fixed-width ones never occur in nebula's messages.
const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// One field's value as it stands on the wire.
pub(crate) enum Value<'a> {
    /// Numbers, booleans and enums.
    Varint(u64),
    /// Strings, bytes, messages and packed lists.
    Bytes(&'a [u8]),
}

/// Appends a base-128 number, least significant group first.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a numeric field; zero is left out, as proto3 wants.
pub(crate) fn push_number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        push_varint(out, field << 3 | VARINT);
        push_varint(out, value);
    }
}

/// Appends a length-delimited field; empty is left out. Items of a repeated field are never empty here.
pub(crate) fn push_bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    if !value.is_empty() {
        push_varint(out, field << 3 | BYTES);
        push_varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

/// Reads a message field by field, in the order they stand.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field, `Ok(None)` at the end.
    ///
    /// # Errors
    /// A truncated field or a wire type that nebula's messages do not have.
    pub(crate) fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Varint(self.varint()?),
            BYTES => {
                let length = usize::try_from(self.varint()?).map_err(|_| "a field is too long")?;
                let (value, rest) = self.rest.split_at_checked(length).ok_or("a field is cut short")?;
                self.rest = rest;
                Value::Bytes(value)
            }
            _ => return Err("a field has an unknown wire type"),
        };
        Ok(Some((key >> 3, value)))
    }

    /// The next bare number, as in packed lists.
    ///
    /// # Errors
    /// A number that is cut short or does not fit 64 bits.
    pub(crate) fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or("a number is cut short")?;
            self.rest = rest;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is too long")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}
