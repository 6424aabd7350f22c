//! Media that only its seller can decrypt: converted it would be noise, so it is refused by name.

use std::io::{self, Read, Seek};

use crate::boxes::{Box, box_at, is_mp4};
use crate::ebml::{EBML, element_at};
use crate::reader::{bytes_at, read_at};
use crate::transport;

/// Steps of a walk over a container; a film of 1000 tracks needs fewer.
const MAX_STEPS: usize = 50_000;
/// Sample entries of MP4 that hold encrypted samples: Common Encryption, FairPlay, Audible.
const ENTRIES: [&[u8; 4]; 9] =
    [b"encv", b"enca", b"enct", b"encs", b"drms", b"drmi", b"drmt", b"aavd", b"p608"];
/// Bytes looked at in the middle of a stream without an index.
const SAMPLE: usize = 256 * 1024;

/// By what a file of `size` bytes is encrypted; `None` when it is not, as far as it says.
///
/// # Errors
/// The file cannot be read.
pub fn encryption(file: &mut (impl Read + Seek), size: u64) -> io::Result<Option<&'static str>> {
    let head = bytes_at(file, 0, SAMPLE)?;
    let middle = |file: &mut _| bytes_at(file, (size / 2) & !2047, SAMPLE);
    match () {
        () if is_mp4(&head) => mp4(file, size),
        () if head.starts_with(&EBML) => matroska(file),
        () if head.starts_with(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11") => Ok(asf(&head)),
        () if head.starts_with(&[0, 0, 1, 0xba]) => {
            Ok((is_css(&head) || is_css(&middle(file)?)).then_some("the copy protection of DVDs (CSS)"))
        }
        () if transport::is_scrambled(&head) => Ok(Some("conditional access of pay television")),
        () => Ok(None),
    }
}

fn mp4(file: &mut (impl Read + Seek), size: u64) -> io::Result<Option<&'static str>> {
    let mut stack = vec![(0, size)];
    let mut entries = 0;
    let mut has_system = false;
    for _ in 0..MAX_STEPS {
        let Some((at, end)) = stack.pop() else { break };
        if at >= end {
            continue;
        }
        let Some(Box { kind, content, end: next }) = box_at(file, at, end)? else { continue };
        stack.push((next, end));
        match &kind {
            b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" => stack.push((content, next.min(end))),
            b"pssh" => has_system = true,
            b"stsd" => {
                // Version, flags, number of entries.
                let mut first = [0; 16];
                if read_at(file, content, &mut first)? == 16 {
                    let entry = [first[12], first[13], first[14], first[15]];
                    if ENTRIES.contains(&&entry) {
                        return Ok(Some(if entry.starts_with(b"drm") {
                            "FairPlay"
                        } else {
                            "Common Encryption"
                        }));
                    }
                    entries += 1;
                }
            }
            _ => {}
        }
    }
    // Without a track that can be read, the keys alone tell.
    Ok((has_system && entries == 0).then_some("a system for digital rights"))
}

/// Segment, Tracks, TrackEntry, ContentEncodings, ContentEncoding: the way to ContentEncryption.
const PATH: [u32; 5] = [0x1853_8067, 0x1654_ae6b, 0xae, 0x6d80, 0x6240];
const CONTENT_ENCRYPTION: u32 = 0x5035;
const CLUSTER: u32 = 0x1f43_b675;

fn matroska(file: &mut (impl Read + Seek)) -> io::Result<Option<&'static str>> {
    let mut stack = vec![(0, u64::MAX)];
    for _ in 0..MAX_STEPS {
        let Some((at, end)) = stack.pop() else { break };
        if at >= end {
            continue;
        }
        let Some(element) = element_at(file, at)? else { continue };
        if element.id == CONTENT_ENCRYPTION {
            return Ok(Some("Common Encryption"));
        }
        // Tracks come before the media.
        if element.id == CLUSTER {
            break;
        }
        let content = at + element.header;
        let next = element.length.map_or(u64::MAX, |length| content.saturating_add(length));
        stack.push((next, end));
        if PATH.contains(&element.id) {
            stack.push((content, next.min(end)));
        }
    }
    Ok(None)
}

/// The header of Windows Media names its protection in an object of its own.
fn asf(head: &[u8]) -> Option<&'static str> {
    const OBJECTS: [&[u8; 16]; 2] = [
        b"\xfb\xb3\x11\x22\x23\xbd\xd2\x11\xb4\xb7\0\xa0\xc9\x55\xfc\x6e",
        b"\x14\xe6\x8a\x29\x22\x26\x17\x4c\xb9\x35\xda\xe0\x7e\xe9\x28\x9c",
    ];
    let size = head.get(16..24).map(|size| u64::from_le_bytes(size.try_into().expect("eight bytes")))?;
    let header = &head[..head.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
    let is_protected = OBJECTS.iter().any(|object| header.windows(16).any(|window| window == *object));
    is_protected.then_some("Windows Media DRM")
}

/// Whether sectors of a DVD are scrambled: the packet after the header of the pack says so.
fn is_css(sectors: &[u8]) -> bool {
    let (sectors, _) = sectors.as_chunks::<2048>();
    let scrambled = sectors.iter().filter(|sector| {
        sector.starts_with(&[0, 0, 1, 0xba])
            && sector[14..17] == [0, 0, 1]
            && matches!(sector[17], 0xbd | 0xc0..=0xef)
            && sector[20] & 0xf0 == 0xb0
    });
    scrambled.count() > 2
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    }

    fn film(entry: &[u8; 4]) -> Vec<u8> {
        let stsd = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &boxed(entry, &[0; 70])].concat());
        let mut inner = stsd;
        for kind in [b"stbl", b"minf", b"mdia", b"trak", b"moov"] {
            inner = boxed(kind, &inner);
        }
        [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"mdat", &[0; 50]), inner].concat()
    }

    fn of(bytes: &[u8]) -> Option<&'static str> {
        encryption(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    #[test]
    fn sample_entries_tell_encrypted_films() {
        assert_eq!(of(&film(b"avc1")), None);
        assert_eq!(of(&film(b"encv")), Some("Common Encryption"));
        assert_eq!(of(&film(b"drmi")), Some("FairPlay"));
    }

    #[test]
    fn encrypted_tracks_of_matroska_are_found() {
        let element = |id: &[u8], content: &[u8]| [id, &[0x40, content.len() as u8], content].concat();
        let film = |encoding: &[u8]| {
            let mut inner = element(encoding, b"");
            for id in [
                &[0x62, 0x40][..],
                &[0x6d, 0x80],
                &[0xae],
                &[0x16, 0x54, 0xae, 0x6b],
                &[0x18, 0x53, 0x80, 0x67],
            ] {
                inner = element(id, &inner);
            }
            [element(&EBML, b"x"), inner].concat()
        };
        assert_eq!(of(&film(&[0x50, 0x35])), Some("Common Encryption"));
        assert_eq!(of(&film(&[0x50, 0x34])), None);
    }

    #[test]
    fn the_header_of_windows_media_names_its_protection() {
        let mut head = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c".to_vec();
        head.extend(100_u64.to_le_bytes());
        let plain = [&head[..], &[0; 100]].concat();
        assert_eq!(of(&plain), None);
        head.extend(b"\xfb\xb3\x11\x22\x23\xbd\xd2\x11\xb4\xb7\0\xa0\xc9\x55\xfc\x6e");
        assert_eq!(of(&[&head[..], &[0; 100]].concat()), Some("Windows Media DRM"));
    }

    #[test]
    fn scrambled_packets_of_television_are_counted() {
        let stream = |scrambled: u8| -> Vec<u8> {
            (0..40)
                .flat_map(|_| {
                    let mut packet = vec![0; 188];
                    packet[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | scrambled]);
                    packet
                })
                .collect()
        };
        assert_eq!(of(&stream(0)), None);
        assert!(of(&stream(0x80)).is_some());
    }
}
