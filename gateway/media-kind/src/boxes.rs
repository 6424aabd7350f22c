//! Boxes, of which MP4 and QuickTime files consist.

use std::io::{self, Read, Seek};

use crate::reader::read_at;

/// A box of a file of `size` bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Box {
    pub(crate) kind: [u8; 4],
    /// First byte of the content.
    pub(crate) content: u64,
    /// Byte after the last, as the header says.
    pub(crate) end: u64,
}

/// Reads the header of the box at `at`, in a parent that ends at `limit`; `None` when there is none.
pub(crate) fn box_at(file: &mut (impl Read + Seek), at: u64, limit: u64) -> io::Result<Option<Box>> {
    let mut head = [0; 16];
    let read = read_at(file, at, &mut head)?;
    // Writers pad with a few bytes, too few for a box header.
    if read < 8 {
        return Ok(None);
    }
    let short = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
    let (header, length) = match short {
        // 0 means to the end of the file.
        0 => (8, limit.saturating_sub(at)),
        1 => (16, u64::from_be_bytes(head[8..16].try_into().expect("eight bytes"))),
        length => (8, length),
    };
    if length < 8 {
        return Ok(None);
    }
    let kind = [head[4], head[5], head[6], head[7]];
    Ok(Some(Box { kind, content: at + header, end: at.saturating_add(length) }))
}

/// An MP4 begins with the box of its brand, an old QuickTime file with any of these boxes.
pub(crate) fn is_mp4(head: &[u8]) -> bool {
    const FIRST: [&[u8]; 7] = [b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot"];
    head.get(4..8).is_some_and(|kind| FIRST.contains(&kind))
}
