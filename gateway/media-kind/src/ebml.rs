//! Elements of EBML, of which Matroska and WebM consist.

use std::io::{self, Read, Seek};

use crate::reader::read_at;

/// The first bytes of every Matroska and WebM file.
pub(crate) const EBML: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Element {
    pub(crate) id: u32,
    /// Bytes before the content.
    pub(crate) header: u64,
    /// Bytes of content; `None` when the writer did not know.
    pub(crate) length: Option<u64>,
}

/// Reads the header of the element at `at`; `None` when it is malformed or not all there.
pub(crate) fn element_at(file: &mut (impl Read + Seek), at: u64) -> io::Result<Option<Element>> {
    let mut head = [0; 12];
    let read = read_at(file, at, &mut head)?;
    Ok(element(&head[..read]))
}

/// Reads an element header; `None` when it is malformed or not all there.
pub(crate) fn element(bytes: &[u8]) -> Option<Element> {
    let id_width = bytes.first()?.leading_zeros() as usize + 1;
    if id_width > 4 {
        return None;
    }
    let id = bytes.get(..id_width)?.iter().fold(0, |id, byte| (id << 8) | u32::from(*byte));
    let rest = &bytes[id_width..];
    let width = rest.first()?.leading_zeros() as usize + 1;
    if width > 8 {
        return None;
    }
    let value = rest.get(..width)?.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
    // The marker bit is no part of the value, and all ones means unknown.
    let ones = (1_u64 << (7 * width)) - 1;
    let length = value & ones;
    Some(Element { id, header: (id_width + width) as u64, length: (length != ones).then_some(length) })
}
