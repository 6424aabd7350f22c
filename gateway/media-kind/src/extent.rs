//! The length that a container's own header promises. Reads element headers only, never the media between them.

use std::io::{self, Read, Seek};

use crate::boxes::{box_at, is_mp4};
use crate::ebml::{EBML, element_at};
use crate::reader::{bytes_at, read_at};

/// Top-level boxes or elements looked at. A fragmented MP4 of a day has fewer.
const MAX_STEPS: usize = 100_000;
const SEGMENT: u32 = 0x1853_8067;

/// Result of comparing a file with its container header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Nothing is missing, as far as the header tells.
    Whole,
    /// The file should have at least this many bytes; what is there can be played.
    Promised(u64),
    /// The file ends before this part, without which nothing of it can be played.
    Missing(&'static str),
}

/// Compares a file of `size` bytes with the header of its container. Containers that promise no length are whole.
///
/// # Errors
/// The file cannot be read.
pub fn extent(file: &mut (impl Read + Seek), size: u64) -> io::Result<Extent> {
    let head = bytes_at(file, 0, 8)?;
    match () {
        () if head.starts_with(&EBML) => matroska(file, size),
        () if is_mp4(&head) => mp4(file, size),
        () => Ok(Extent::Whole),
    }
}

/// The Segment, which holds everything, must not reach past the end. A live recording has a Segment of unknown size
/// and passes.
fn matroska(file: &mut (impl Read + Seek), size: u64) -> io::Result<Extent> {
    let mut at = 0;
    for _ in 0..MAX_STEPS {
        let Some(element) = element_at(file, at)? else {
            let missing = read_at(file, at, &mut [0; 12])? < 12;
            return Ok(if missing { Extent::Missing("its Segment") } else { Extent::Whole });
        };
        let Some(length) = element.length else { return Ok(Extent::Whole) };
        let end = (at + element.header).saturating_add(length);
        if end > size {
            return Ok(match element.id {
                SEGMENT if at + element.header < size => Extent::Promised(end),
                _ => Extent::Missing("its Segment"),
            });
        }
        if element.id == SEGMENT {
            return Ok(Extent::Whole);
        }
        at = end;
    }
    Ok(Extent::Whole)
}

/// No top-level box may reach past the end, and the index and the media must be among them.
fn mp4(file: &mut (impl Read + Seek), size: u64) -> io::Result<Extent> {
    let (mut at, mut indexed, mut media) = (0, false, false);
    for _ in 0..MAX_STEPS {
        let Some(found) = box_at(file, at, size)? else { break };
        // After the index and the media nothing is needed; bytes that are no box may be padding.
        if indexed && media && !found.kind.iter().all(u8::is_ascii_graphic) {
            return Ok(Extent::Whole);
        }
        let is_cut = found.end > size;
        indexed |= found.kind == *b"moov" && !is_cut;
        media |= found.kind == *b"mdat";
        if is_cut {
            return Ok(match (indexed, media) {
                (true, true) => Extent::Promised(found.end),
                (true, false) => Extent::Missing(MEDIA),
                (false, _) => Extent::Missing(INDEX),
            });
        }
        at = found.end;
    }
    Ok(match (indexed, media) {
        (true, true) => Extent::Whole,
        (true, false) => Extent::Missing(MEDIA),
        (false, _) => Extent::Missing(INDEX),
    })
}

const MEDIA: &str = "its media (the mdat box)";
const INDEX: &str = "its index (the moov box)";

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// EBML header with content of `header` bytes, a Void, then a Segment that claims `claimed` and has `there`.
    fn matroska_file(header: u8, claimed: &[u8], there: usize) -> Vec<u8> {
        let mut bytes = EBML.to_vec();
        bytes.push(0x80 | header);
        bytes.extend(vec![0; header.into()]);
        bytes.extend([0xec, 0x82, 0, 0]);
        bytes.extend(SEGMENT.to_be_bytes());
        bytes.extend(claimed);
        bytes.extend(vec![0; there]);
        bytes
    }

    fn extent_of(bytes: &[u8]) -> Extent {
        extent(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    fn boxed(kind: &[u8; 4], content: usize) -> Vec<u8> {
        let mut bytes = (content as u32 + 8).to_be_bytes().to_vec();
        bytes.extend(kind);
        bytes.extend(vec![b'x'; content]);
        bytes
    }

    #[test]
    fn a_segment_of_known_size_must_be_there() {
        // 300 bytes as a two-byte number and as the eight-byte one that muxers patch in.
        for claimed in [&[0x41, 0x2c][..], &[0x01, 0, 0, 0, 0, 0, 0x01, 0x2c]] {
            assert_eq!(extent_of(&matroska_file(19, claimed, 300)), Extent::Whole);
            assert_eq!(extent_of(&matroska_file(19, claimed, 301)), Extent::Whole);
            let short = matroska_file(19, claimed, 299);
            assert_eq!(extent_of(&short), Extent::Promised(short.len() as u64 + 1));
        }
    }

    #[test]
    fn a_live_recording_passes() {
        for claimed in [&[0xff][..], &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(extent_of(&matroska_file(19, claimed, 300)), Extent::Whole);
        }
    }

    #[test]
    fn a_matroska_header_alone_is_not_enough() {
        let whole = matroska_file(19, &[0x41, 0x2c], 300);
        for length in 4..34 {
            assert_eq!(extent_of(&whole[..length]), Extent::Missing("its Segment"), "{length}");
        }
    }

    #[test]
    fn the_walk_over_nonsense_ends() {
        let mut bytes = EBML.to_vec();
        bytes.extend([0; 64]);
        assert_eq!(extent_of(&bytes), Extent::Whole);
        // Elements without content: the walk has an end.
        let mut bytes = EBML.to_vec();
        bytes.push(0x80);
        bytes.extend([0xec, 0x80].repeat(MAX_STEPS + 16));
        assert_eq!(extent_of(&bytes), Extent::Whole);
    }

    #[test]
    fn a_missing_or_cut_off_box_is_reported() {
        let (ftyp, moov, mdat) = (boxed(b"ftyp", 8), boxed(b"moov", 100), boxed(b"mdat", 1000));
        let whole = [&ftyp[..], &moov, &mdat].concat();
        let index_last = [&ftyp[..], &mdat, &moov].concat();
        for whole in [&whole, &index_last] {
            assert_eq!(extent_of(whole), Extent::Whole);
            assert_eq!(extent_of(&[&whole[..], &[0; 4]].concat()), Extent::Whole);
            assert_eq!(extent_of(&[&whole[..], &[0xff; 40]].concat()), Extent::Whole);
        }
        assert_eq!(extent_of(&whole[..whole.len() - 1]), Extent::Promised(whole.len() as u64));
        for without_index in [&index_last[..index_last.len() - 1], &index_last[..200], &ftyp] {
            assert_eq!(extent_of(without_index), Extent::Missing(INDEX));
        }
        assert_eq!(extent_of(&[ftyp, moov].concat()), Extent::Missing(MEDIA));
    }

    #[test]
    fn boxes_of_64_bit_and_open_length_are_read() {
        let mut long = 1_u32.to_be_bytes().to_vec();
        long.extend(b"mdat");
        long.extend(1016_u64.to_be_bytes());
        long.extend([0; 1000]);
        let moov = boxed(b"moov", 100);
        assert_eq!(extent_of(&[&moov[..], &long].concat()), Extent::Whole);
        assert_eq!(extent_of(&[&moov[..], &long[..900]].concat()), Extent::Promised(108 + 1016));
        let mut open = 0_u32.to_be_bytes().to_vec();
        open.extend(b"mdat and then the film");
        assert_eq!(extent_of(&[&moov[..], &open].concat()), Extent::Whole);
        assert_eq!(extent_of(&open), Extent::Missing(INDEX));
        // Reaches past every number there is.
        let mut endless = 1_u32.to_be_bytes().to_vec();
        endless.extend(b"mdat");
        endless.extend([0xff; 8]);
        assert_eq!(extent_of(&[&moov[..], &endless].concat()), Extent::Promised(u64::MAX));
    }
}
