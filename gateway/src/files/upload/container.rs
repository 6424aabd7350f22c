//! The length that a container's own header promises, so that half a film is refused at once. Pure: reads
//! element headers only, never the media between them.

use std::io::{self, Read, Seek, SeekFrom};

/// Top-level boxes or elements looked at. A fragmented MP4 of a day has fewer.
const MAX_STEPS: usize = 100_000;

/// The first bytes of every Matroska and WebM file.
pub(super) const EBML: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];
const SEGMENT: u32 = 0x1853_8067;

/// Result of comparing a file with its container header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Nothing is missing, as far as the header tells.
    Whole,
    /// The file should have at least this many bytes.
    Promised(u64),
    /// The file ends before this part, without which it cannot be played.
    Missing(&'static str),
}

/// Checks a Matroska or WebM file: the Segment, which holds everything, must not reach past the end. A live
/// recording has a Segment of unknown size and passes.
pub(super) fn matroska(file: &mut (impl Read + Seek), size: u64) -> io::Result<Extent> {
    let mut at = 0;
    for _ in 0..MAX_STEPS {
        let mut head = [0; 12];
        let read = read_at(file, at, &mut head)?;
        let Some(element) = element(&head[..read]) else {
            let missing = read < head.len();
            return Ok(if missing { Extent::Missing("its Segment") } else { Extent::Whole });
        };
        let Some(length) = element.length else { return Ok(Extent::Whole) };
        let end = (at + element.header).saturating_add(length);
        if end > size {
            return Ok(Extent::Promised(end));
        }
        if element.id == SEGMENT {
            return Ok(Extent::Whole);
        }
        at = end;
    }
    Ok(Extent::Whole)
}

struct Element {
    id: u32,
    /// Bytes before the content.
    header: u64,
    /// Bytes of content; `None` when the writer did not know.
    length: Option<u64>,
}

/// Reads an EBML element header; `None` when it is malformed or not all there.
fn element(bytes: &[u8]) -> Option<Element> {
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

/// Checks an MP4 or QuickTime file: no top-level box may reach past the end, and the index and
/// the media must be among them.
pub(super) fn mp4(file: &mut (impl Read + Seek), size: u64) -> io::Result<Extent> {
    let (mut at, mut indexed, mut media) = (0, false, false);
    for _ in 0..MAX_STEPS {
        let mut head = [0; 16];
        let read = read_at(file, at, &mut head)?;
        // Writers pad with a few bytes, too few for a box header.
        if read < 8 {
            break;
        }
        let kind = [head[4], head[5], head[6], head[7]];
        // After the index and the media nothing is needed; bytes that are no box may be padding.
        if indexed && media && !kind.iter().all(u8::is_ascii_graphic) {
            return Ok(Extent::Whole);
        }
        let short = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        let length = match short {
            // 0 means to the end of the file.
            0 => size - at,
            1 => u64::from_be_bytes([
                head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15],
            ]),
            length => length,
        };
        if length < 8 {
            break;
        }
        let end = at.saturating_add(length);
        if end > size {
            return Ok(Extent::Promised(end));
        }
        indexed |= kind == *b"moov";
        media |= kind == *b"mdat";
        at = end;
    }
    Ok(match (indexed, media) {
        (true, true) => Extent::Whole,
        (true, false) => Extent::Missing("its media (the mdat box)"),
        (false, _) => Extent::Missing("its index (the moov box)"),
    })
}

/// Fills as much of `buffer` as the file has from `at` on.
fn read_at(file: &mut (impl Read + Seek), at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// EBML header with content of `header` bytes, a Void, then a Segment that claims `claimed` and has
    /// `there`.
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

    fn matroska_extent(bytes: &[u8]) -> Extent {
        matroska(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    fn mp4_extent(bytes: &[u8]) -> Extent {
        mp4(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
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
            assert_eq!(matroska_extent(&matroska_file(19, claimed, 300)), Extent::Whole);
            assert_eq!(matroska_extent(&matroska_file(19, claimed, 301)), Extent::Whole);
            let short = matroska_file(19, claimed, 299);
            assert_eq!(matroska_extent(&short), Extent::Promised(short.len() as u64 + 1));
        }
    }

    #[test]
    fn a_live_recording_passes() {
        for claimed in [&[0xff][..], &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(matroska_extent(&matroska_file(19, claimed, 300)), Extent::Whole);
        }
    }

    #[test]
    fn a_matroska_header_alone_is_not_enough() {
        let whole = matroska_file(19, &[0x41, 0x2c], 300);
        for length in 4..34 {
            let extent = matroska_extent(&whole[..length]);
            assert_ne!(extent, Extent::Whole, "{length}");
        }
        assert_eq!(matroska_extent(&whole[..24]), Extent::Missing("its Segment"));
    }

    #[test]
    fn the_walk_over_nonsense_ends() {
        let mut bytes = EBML.to_vec();
        bytes.extend([0; 64]);
        assert_eq!(matroska_extent(&bytes), Extent::Whole);
        // Elements without content: the walk has an end.
        let mut bytes = EBML.to_vec();
        bytes.push(0x80);
        bytes.extend([0xec, 0x80].repeat(MAX_STEPS + 16));
        assert_eq!(matroska_extent(&bytes), Extent::Whole);
    }

    #[test]
    fn a_missing_or_cut_off_box_is_reported() {
        let (ftyp, moov, mdat) = (boxed(b"ftyp", 8), boxed(b"moov", 100), boxed(b"mdat", 1000));
        for order in [[&ftyp[..], &moov, &mdat], [&ftyp, &mdat, &moov]] {
            let whole = order.concat();
            assert_eq!(mp4_extent(&whole), Extent::Whole);
            assert_eq!(mp4_extent(&[&whole[..], &[0; 4]].concat()), Extent::Whole);
            assert_eq!(mp4_extent(&[&whole[..], &[0xff; 40]].concat()), Extent::Whole);
            let short = &whole[..whole.len() - 1];
            assert_eq!(mp4_extent(short), Extent::Promised(whole.len() as u64));
        }
        assert_eq!(mp4_extent(&[ftyp.clone(), mdat].concat()), Extent::Missing("its index (the moov box)"));
        assert_eq!(mp4_extent(&ftyp), Extent::Missing("its index (the moov box)"));
        assert_eq!(mp4_extent(&[ftyp, moov].concat()), Extent::Missing("its media (the mdat box)"));
    }

    #[test]
    fn boxes_of_64_bit_and_open_length_are_read() {
        let mut long = 1_u32.to_be_bytes().to_vec();
        long.extend(b"mdat");
        long.extend(1016_u64.to_be_bytes());
        long.extend([0; 1000]);
        let moov = boxed(b"moov", 100);
        assert_eq!(mp4_extent(&[&moov[..], &long].concat()), Extent::Whole);
        assert_eq!(mp4_extent(&[&moov[..], &long[..900]].concat()), Extent::Promised(108 + 1016));
        let mut open = 0_u32.to_be_bytes().to_vec();
        open.extend(b"mdat and then the film");
        assert_eq!(mp4_extent(&[&moov[..], &open].concat()), Extent::Whole);
        assert_eq!(mp4_extent(&open), Extent::Missing("its index (the moov box)"));
        // Reaches past every number there is.
        let mut endless = 1_u32.to_be_bytes().to_vec();
        endless.extend(b"mdat");
        endless.extend([0xff; 8]);
        assert_eq!(mp4_extent(&[&moov[..], &endless].concat()), Extent::Promised(u64::MAX));
    }
}
