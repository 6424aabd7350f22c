//! Streams without a container: sounds in frames that name their own length, pictures behind start codes.

/// Frames in a row that are no chance.
const MIN_FRAMES: usize = 3;
/// Bytes of padding before the first frame that are looked through.
const MAX_PADDING: usize = 32 * 1024;

/// Length of the frame at the start of bytes.
type Length = fn(&[u8]) -> Option<usize>;

/// Content type of a headerless stream. Its few set bits may be chance, so they count only together with a name that
/// says film or sound.
pub(crate) fn headerless(head: &[u8]) -> Option<&'static str> {
    let kinds: [(Length, &str); 3] = [(adts, "audio/aac"), (mpeg_audio, "audio/mpeg"), (ac3, "audio/ac3")];
    let begins = |offset: usize, length: Length| {
        let mut at = offset;
        (0..MIN_FRAMES).all(|_| {
            let next = head.get(at..).and_then(length);
            at += next.unwrap_or(0);
            next.is_some()
        })
    };
    let last = head.len().min(MAX_PADDING);
    for offset in 0..last {
        if let Some((_, kind)) = kinds.iter().find(|(length, _)| begins(offset, *length)) {
            return Some(kind);
        }
    }
    // A short file has too few frames for a run.
    kinds.iter().find(|(length, _)| length(head).is_some()).map(|(_, kind)| *kind)
}

/// Length of a frame of MPEG audio, layer II or III. Layer I is left out: it would make the byte order mark of UTF-16
/// a sound.
fn mpeg_audio(bytes: &[u8]) -> Option<usize> {
    const LAYER_2: [usize; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const LAYER_3: [usize; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const LOW: [usize; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let &[first, second, third, ..] = bytes else { return None };
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    if first != 0xff || second & 0xe0 != 0xe0 || version == 1 || !matches!(layer, 1 | 2) {
        return None;
    }
    let rate = [44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?;
    let rate = match version {
        3 => *rate,
        2 => rate / 2,
        _ => rate / 4,
    };
    let table = match (version, layer) {
        (3, 2) => &LAYER_2,
        (3, _) => &LAYER_3,
        _ => &LOW,
    };
    let kilobits = *table.get(usize::from(third >> 4)).filter(|kilobits| **kilobits > 0)?;
    let samples = if version != 3 && layer == 1 { 72 } else { 144 };
    Some(samples * kilobits * 1000 / rate + usize::from(third >> 1 & 1))
}

fn adts(bytes: &[u8]) -> Option<usize> {
    let &[first, second, third, fourth, fifth, sixth, ..] = bytes else { return None };
    let is_sync = first == 0xff && second & 0xf6 == 0xf0 && third >> 2 & 0xf < 13;
    let length = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
    (is_sync && length > 7).then_some(length)
}

/// AC-3 and its enhanced form.
fn ac3(bytes: &[u8]) -> Option<usize> {
    const KILOBITS: [usize; 19] =
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
    let &[0x0b, 0x77, third, fourth, fifth, sixth, ..] = bytes else { return None };
    if sixth >> 3 > 10 {
        return (sixth >> 3 <= 16).then_some((usize::from(third & 7) << 8 | usize::from(fourth)) * 2 + 2);
    }
    let kilobits = KILOBITS.get(usize::from(fifth & 0x3f) / 2)?;
    match fifth >> 6 {
        0 => Some(kilobits * 4),
        1 => Some((kilobits * 96_000 / 44_100 + usize::from(fifth & 1)) * 2),
        2 => Some(kilobits * 6),
        _ => None,
    }
}

/// Content type of a stream of pictures that begins with a start code.
pub(crate) fn start_code(head: &[u8]) -> Option<&'static str> {
    let after =
        head.strip_prefix(&[0]).unwrap_or(head).strip_prefix(&[0, 0, 1]).or(head.strip_prefix(&[0, 0, 1]))?;
    match after {
        // Pack of a program stream, sequence of MPEG-1 and MPEG-2 video.
        [0xba | 0xb3, ..] => Some("video/mpeg"),
        // Visual object sequence and object of MPEG-4.
        [0xb0 | 0xb5, ..] => Some("video/mp4v-es"),
        [0x0f, ..] => Some("video/x-vc1"),
        // Parameters or access unit delimiter.
        [0x67 | 0x27 | 0x47, _, _, 10..=62, ..] | [0x09, _, 0, ..] => Some("video/h264"),
        [0x40 | 0x42 | 0x46, 0x01, ..] => Some("video/h265"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_behind_padding() {
        // 128 kbit/s at 44.1 kHz: 417 bytes.
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x64]);
        assert_eq!(mpeg_audio(&frame), Some(417));
        let stream = [vec![0; 1000], frame.repeat(4)].concat();
        assert_eq!(headerless(&stream), Some("audio/mpeg"));
        assert_eq!(headerless(&vec![0; 5000]), None);
    }

    #[test]
    fn start_codes_name_the_codec() {
        for (bytes, kind) in [
            (&[0, 0, 1, 0xba, 0x44][..], Some("video/mpeg")),
            (&[0, 0, 0, 1, 0x67, 0x64, 0, 40][..], Some("video/h264")),
            (&[0, 0, 0, 1, 0x40, 1, 0x0c][..], Some("video/h265")),
            // An icon.
            (&[0, 0, 1, 0, 1, 0][..], None),
            (&[0; 64][..], None),
        ] {
            assert_eq!(start_code(bytes), kind, "{bytes:x?}");
        }
    }
}
