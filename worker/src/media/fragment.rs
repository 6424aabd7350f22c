//! Fragmented MP4 as the muxer of libav writes it, taken apart for adaptive streaming: an initialization segment, and
//! fragments. Pure bytes.

/// A file of one track, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fragmented {
    /// `ftyp` and `moov`.
    pub(super) init: Vec<u8>,
    /// `moof` and `mdat` of each fragment, one after the other.
    pub(super) media: Vec<u8>,
    pub(super) fragments: Vec<Fragment>,
}

/// One `moof` with its `mdat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    /// Decode time of its first packet, in the track's time scale.
    pub(super) time: u64,
    /// Sum of the durations of its packets, in the same scale.
    pub(super) duration: u64,
    /// Bytes.
    pub(super) size: usize,
}

/// The bytes are no fragmented MP4 of one track.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fragmented output is malformed: {0}")]
pub(super) struct Malformed(&'static str);

/// `default-sample-duration-present` in `tfhd`, and the fields before it.
const TFHD_DURATION: u32 = 0x8;
const TFHD_BEFORE_DURATION: [(u32, usize); 2] = [(0x1, 8), (0x2, 4)];
/// Fields of `trun` before its samples, and of each sample.
const TRUN_HEADER: [(u32, usize); 2] = [(0x1, 4), (0x4, 4)];
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_OFFSET: u32 = 0x800;

/// Takes a file apart, and moves it on the clock: its first picture is shown `offset` ticks after its own time.
///
/// An encoder that reorders pictures begins to decode before it shows the first one. libav writes that delay into the
/// composition offset of each picture, so that the film would be late against its sound; it is subtracted from the
/// decode times, which `offset` keeps from becoming negative. (Negative composition offsets would do as well, but
/// players that are made from libav take them for a delay.)
pub(super) fn split(file: &[u8], offset: u64) -> Result<Fragmented, Malformed> {
    let mut parts = Fragmented { init: Vec::new(), media: Vec::new(), fragments: Vec::new() };
    let mut delay = None;
    let mut rest = file;
    while !rest.is_empty() {
        let (kind, size) = header(rest)?;
        let whole = &rest[..size];
        match &kind {
            b"ftyp" | b"moov" => parts.init.extend_from_slice(whole),
            b"moof" => {
                let mut moof = whole.to_vec();
                let (time, duration) = shift(&mut moof, offset, &mut delay)?;
                parts.fragments.push(Fragment { time, duration, size });
                parts.media.extend_from_slice(&moof);
            }
            b"mdat" => {
                let fragment = parts.fragments.last_mut().ok_or(Malformed("mdat before moof"))?;
                fragment.size += size;
                parts.media.extend_from_slice(whole);
            }
            // The index at the end (mfra) is of no use once the file is apart.
            _ => {}
        }
        rest = &rest[size..];
    }
    match parts.init.is_empty() || parts.fragments.is_empty() {
        true => Err(Malformed("it holds no fragment")),
        false => Ok(parts),
    }
}

/// Codecs as in RFC 6381, from the decoder configuration in `init`.
pub(super) fn codecs(init: &[u8]) -> Option<String> {
    let after = |name: &[u8]| {
        let at = init.windows(name.len()).position(|window| window == name)?;
        init.get(at + name.len()..)
    };
    if let Some([_, profile, compatible, level, ..]) = after(b"avcC") {
        return Some(format!("avc1.{profile:02x}{compatible:02x}{level:02x}"));
    }
    // Low-complexity AAC is all that is encoded here.
    after(b"mp4a").map(|_| "mp4a.40.2".to_owned())
}

/// Type and size of the box at the start of `bytes`.
fn header(bytes: &[u8]) -> Result<([u8; 4], usize), Malformed> {
    let size = number(bytes, 0)? as usize;
    let kind = bytes.get(4..8).ok_or(Malformed("a box is cut off"))?;
    if size < 8 || size > bytes.len() {
        return Err(Malformed("the size of a box is wrong"));
    }
    Ok((kind.try_into().expect("four bytes"), size))
}

fn number(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let field = bytes.get(at..at + 4).ok_or(Malformed("a field is cut off"))?;
    Ok(u32::from_be_bytes(field.try_into().expect("four bytes")))
}

/// Offset and size of the first box of this type among the children of `range`.
fn child(bytes: &[u8], range: std::ops::Range<usize>, wanted: &[u8; 4]) -> Result<(usize, usize), Malformed> {
    let mut at = range.start + 8;
    while at < range.end {
        let (kind, size) = header(&bytes[at..range.end])?;
        if kind == *wanted {
            return Ok((at, size));
        }
        at += size;
    }
    Err(Malformed("a box is missing"))
}

/// Moves a fragment; answers its time on the film's clock, and its duration.
fn shift(moof: &mut [u8], offset: u64, delay: &mut Option<u32>) -> Result<(u64, u64), Malformed> {
    let (traf, traf_size) = child(moof, 0..moof.len(), b"traf")?;
    let within = traf..traf + traf_size;
    let (tfhd, _) = child(moof, within.clone(), b"tfhd")?;
    let flags = number(moof, tfhd + 8)? & 0x00ff_ffff;
    let before: usize =
        TFHD_BEFORE_DURATION.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, n)| n).sum();
    let usual = if flags & TFHD_DURATION != 0 { number(moof, tfhd + 16 + before)? } else { 0 };
    let (trun, trun_size) = child(moof, within.clone(), b"trun")?;
    let (duration, first) = samples(&moof[trun..trun + trun_size], usual)?;
    let delay = u64::from(*delay.get_or_insert(first));
    let (tfdt, size) = child(moof, within, b"tfdt")?;
    // libav begins a fragment at the time at which its first picture is shown.
    let time = match moof.get(tfdt + 8) {
        Some(1) if size >= 20 => {
            u64::from(number(moof, tfdt + 12)?) << 32 | u64::from(number(moof, tfdt + 16)?)
        }
        _ => return Err(Malformed("the time of a fragment is not of 64 bits")),
    };
    let moved = (time + offset).checked_sub(delay).ok_or(Malformed("a fragment begins before the film"))?;
    moof[tfdt + 12..tfdt + 20].copy_from_slice(&moved.to_be_bytes());
    Ok((time, duration))
}

/// Sum of the durations, and composition offset of the first sample.
fn samples(trun: &[u8], usual: u32) -> Result<(u64, u32), Malformed> {
    let flags = number(trun, 8)? & 0x00ff_ffff;
    let count = number(trun, 12)?;
    let size = |fields: &[u32]| fields.iter().filter(|flag| flags & **flag != 0).count() * 4;
    let mut at = 16 + TRUN_HEADER.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, n)| n).sum::<usize>();
    let (mut duration, mut first) = (0, 0);
    for index in 0..count {
        duration += u64::from(if flags & TRUN_DURATION != 0 { number(trun, at)? } else { usual });
        let offset = at + size(&[TRUN_DURATION, TRUN_SIZE, TRUN_FLAGS]);
        if index == 0 && flags & TRUN_OFFSET != 0 {
            first = number(trun, offset)?;
        }
        at = offset + size(&[TRUN_OFFSET]);
    }
    Ok((duration, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes()[..], kind, body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A fragment that begins at `time`, of two pictures with these composition offsets.
    fn fragment(time: u32, offsets: [u32; 2]) -> Vec<u8> {
        let tfhd = boxed(b"tfhd", &words(&[0x2_0008, 1, 3600]));
        let tfdt = boxed(b"tfdt", &words(&[0x0100_0000, 0, time]));
        let trun = boxed(b"trun", &words(&[0xa01, 2, 100, 5, offsets[0], 6, offsets[1]]));
        let traf = boxed(b"traf", &[tfhd, tfdt, trun].concat());
        [boxed(b"moof", &traf), boxed(b"mdat", b"elevenbytes")].concat()
    }

    #[test]
    fn the_first_picture_of_each_fragment_is_shown_when_it_begins() {
        let file = [
            boxed(b"ftyp", b"isom"),
            boxed(b"moov", b"avcC\x01\x64\x00\x28rest"),
            fragment(0, [7200, 14400]),
        ];
        let file = [file.concat(), fragment(7200, [7200, 0]), boxed(b"mfra", b"index")].concat();
        let parts = split(&file, 90_000).unwrap();
        assert_eq!(codecs(&parts.init).as_deref(), Some("avc1.640028"));
        let size = fragment(0, [0, 0]).len();
        assert_eq!(parts.fragments, [0, 7200].map(|time| Fragment { time, duration: 7200, size }));
        let moved = [82_800, 90_000]
            .map(|time| fragment(time, if time == 82_800 { [7200, 14400] } else { [7200, 0] }));
        assert_eq!(parts.media, moved.concat(), "the index is gone");
    }

    #[test]
    fn bytes_that_are_no_fragmented_file_are_refused() {
        let whole = [boxed(b"ftyp", b"isom"), boxed(b"moov", b""), fragment(0, [0, 0])].concat();
        assert!(split(&whole, 0).is_ok());
        for length in (0..whole.len()).filter(|length| ![12, 20].contains(length)) {
            let _ = split(&whole[..length], 0);
        }
        for broken in [&whole[..11], &whole[..20], &whole[20..], &[0; 16][..], b"", &whole[..30]] {
            assert!(split(broken, 0).is_err(), "{broken:?}");
        }
    }
}
