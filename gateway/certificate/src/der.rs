//! The little of DER that version 2 certificates use: one-byte tags, definite minimal lengths.

/// Appends tag, length and content.
pub(crate) fn push(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[length.leading_zeros() as usize / 8..];
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    }
    out.extend_from_slice(content);
}

/// The content of an INTEGER: two's complement, as few bytes as keep the sign.
pub(crate) fn integer(value: i64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let redundant = bytes
        .windows(2)
        .take_while(|pair| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xff && pair[1] >= 0x80))
        .count();
    bytes[redundant..].to_vec()
}

/// One element as read.
pub(crate) struct Element<'a> {
    /// With tag and length.
    pub(crate) whole: &'a [u8],
    pub(crate) content: &'a [u8],
}

/// Reads elements one after the other.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(der: &'a [u8]) -> Self {
        Self { rest: der }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The content of the next element if it has this tag, `None` (and nothing consumed) if not.
    ///
    /// # Errors
    /// An element that is cut short or whose length is not written the shortest way.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, &'static str> {
        Ok(self.element(tag)?.map(|element| element.content))
    }

    /// The content of the next element, which must have this tag.
    ///
    /// # Errors
    /// As [`Self::optional`], and `missing` if another element or nothing follows.
    pub(crate) fn required(&mut self, tag: u8, missing: &'static str) -> Result<&'a [u8], &'static str> {
        self.optional(tag)?.ok_or(missing)
    }

    /// As [`Self::optional`], with tag and length beside the content.
    pub(crate) fn element(&mut self, tag: u8) -> Result<Option<Element<'a>>, &'static str> {
        const SHORT: &str = "an element is cut short";
        let &[first, ref after_tag @ ..] = self.rest else { return Ok(None) };
        if first != tag {
            return Ok(None);
        }
        let (&first, after_length) = after_tag.split_first().ok_or(SHORT)?;
        let (length, after_length) = if first < 0x80 {
            (usize::from(first), after_length)
        } else {
            let (bytes, after) = after_length.split_at_checked(usize::from(first & 0x7f)).ok_or(SHORT)?;
            let length = long_length(bytes).ok_or("a length is not written the shortest way")?;
            (length, after)
        };
        let (content, rest) = after_length.split_at_checked(length).ok_or(SHORT)?;
        let whole = &self.rest[..self.rest.len() - rest.len()];
        self.rest = rest;
        Ok(Some(Element { whole, content }))
    }
}

/// Long form: at least 128, no leading zero, and small enough that no certificate exceeds it.
fn long_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [] | [0, ..] | [_, _, _, _, _, ..] => None,
        _ => {
            Some(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))).filter(|l| *l >= 0x80)
        }
    }
}

/// Reads the content of an INTEGER.
///
/// # Errors
/// Empty, longer than 64 bits, or not minimal.
pub(crate) fn read_integer(content: &[u8]) -> Result<i64, &'static str> {
    const PROBLEM: &str = "a time is not a minimal integer of at most 64 bits";
    let first = *content.first().ok_or(PROBLEM)?;
    if content.len() > 8 {
        return Err(PROBLEM);
    }
    let sign = if first < 0x80 { 0 } else { -1 };
    let value = content.iter().fold(sign, |value: i64, byte| value << 8 | i64::from(*byte));
    if integer(value) == content { Ok(value) } else { Err(PROBLEM) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_value_and_are_minimal() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0, 0x80]),
            (-1, &[0xff]),
            (-129, &[0xff, 0x7f]),
            (1 << 40, &[1, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(integer(value), bytes);
            assert_eq!(read_integer(bytes), Ok(value));
        }
        assert!(read_integer(&[0, 1]).is_err());
        assert_eq!(read_integer(&integer(i64::MIN)), Ok(i64::MIN));
    }

    #[test]
    fn lengths_round_trip_and_must_be_minimal() {
        for length in [0, 127, 128, 255, 256, 65_535, 65_536] {
            let mut der = Vec::new();
            push(&mut der, 0x04, &vec![7; length]);
            let mut reader = Reader::new(&der);
            assert_eq!(reader.required(0x04, "missing").unwrap().len(), length);
            assert!(reader.is_empty());
        }
        assert!(Reader::new(&[0x04, 0x81, 0x01, 0x00]).optional(0x04).is_err());
        assert!(Reader::new(&[0x04, 0x80, 0x00]).optional(0x04).is_err());
        assert!(Reader::new(&[0x04, 0x02, 0x00]).optional(0x04).is_err());
    }
}
