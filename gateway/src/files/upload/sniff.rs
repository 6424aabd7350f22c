//! Recognises the kind of uploaded bytes, and refuses content that contradicts its file name. Pure: the
//! worker finds out in its sandbox whether a file really plays.

use std::io::{self, Read, Seek, SeekFrom};

use super::container::{self, EBML, Extent};

/// Enough for every signature, three packets of a transport stream included.
const HEAD_SIZE: u64 = 4096;

/// File extensions of video and audio. `ts` and `mts` are left out: they may be TypeScript, so only the bytes
/// count.
const MEDIA_EXTENSIONS: [&str; 36] = [
    "3g2", "3gp", "aac", "aif", "aiff", "asf", "avi", "f4v", "flac", "flv", "m2ts", "m4a", "m4b", "m4v",
    "mk3d", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpe", "mpeg", "mpg", "oga", "ogg", "ogv", "opus",
    "qt", "vob", "wav", "weba", "webm", "wma", "wmv", "wv",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) content_type: &'static str,
    /// Video or audio, from which the worker makes a rendition that browsers play.
    pub(crate) media: bool,
}

impl Kind {
    /// For error messages.
    fn description(self) -> &'static str {
        match self.content_type.split(';').next() {
            Some("text/plain") => "plain text",
            Some("application/octet-stream") | None => "of no known kind",
            Some(other) => other,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// The name says video or audio, the bytes say something else.
    #[error("\"{name}\" is named like a video or sound file, but its content is {found}")]
    Disguised { name: String, found: &'static str },
    /// The file is shorter than its container header says.
    #[error("\"{name}\" is cut off: its header promises {promised} bytes, {arrived} arrived")]
    CutOff { name: String, promised: u64, arrived: u64 },
    /// The container lacks a part without which nothing can be played.
    #[error("\"{name}\" is cut off: {part} is missing from the {arrived} bytes that arrived")]
    Incomplete { name: String, part: &'static str, arrived: u64 },
    #[error("cannot read the staged upload: {0}")]
    Read(#[from] io::Error),
}

impl ContentError {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Disguised { .. } => "Upload the real file, or give this one the name of what it is.",
            Self::CutOff { .. } | Self::Incomplete { .. } => {
                "Upload it again; if the file is cut off where it came from, repair or remux it first."
            }
            Self::Read(_) => "Try again.",
        }
    }
}

/// Recognises the kind of an upload of `size` bytes.
pub(crate) fn inspect(name: &str, file: &mut (impl Read + Seek), size: u64) -> Result<Kind, ContentError> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(HEAD_SIZE).read_to_end(&mut head)?;
    let kind = kind(&head);
    let extent = match () {
        () if head.starts_with(&EBML) => container::matroska(file, size)?,
        () if kind.media && is_mp4(&head) => container::mp4(file, size)?,
        () => Extent::Whole,
    };
    match extent {
        Extent::Promised(promised) => {
            Err(ContentError::CutOff { name: name.to_owned(), promised, arrived: size })
        }
        Extent::Missing(part) => Err(ContentError::Incomplete { name: name.to_owned(), part, arrived: size }),
        Extent::Whole if !kind.media && claims_media(name) => {
            // Audio without a header begins with a few set bits, which count only together with the name.
            match headerless(&head) {
                Some(kind) => Ok(kind),
                None => Err(ContentError::Disguised { name: name.to_owned(), found: kind.description() }),
            }
        }
        Extent::Whole => Ok(kind),
    }
}

/// Whether the name has an extension of video or audio.
fn claims_media(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| MEDIA_EXTENSIONS.contains(&extension.as_str()))
}

/// The kind of a file that begins with `head`.
fn kind(head: &[u8]) -> Kind {
    let media = |content_type| Kind { content_type, media: true };
    if is_transport_stream(head) {
        return media("video/mp2t");
    }
    let mime_type = infer::get(head).map(|kind| kind.mime_type());
    match mime_type {
        // The library has some names from before their registration; these are the registered ones.
        Some("audio/m4a") => media("audio/mp4"),
        Some("audio/x-flac") => media("audio/flac"),
        Some("audio/x-wav") => media("audio/wav"),
        Some("video/x-m4v") => media("video/mp4"),
        Some("audio/midi") => Kind { content_type: "audio/midi", media: false },
        Some(other) if other.starts_with("video/") || other.starts_with("audio/") => media(other),
        // A browser would run markup with the rights of the user who opens it; as text it only shows it.
        Some("text/html" | "text/xml" | "text/x-shellscript") => text(),
        Some(other) => Kind { content_type: other, media: false },
        None if head.starts_with(&EBML) => media("video/x-matroska"),
        // An unknown brand: the library lists those of pictures, but not all of video.
        None if is_mp4(head) => media("video/mp4"),
        None if is_text(head) => text(),
        None => Kind { content_type: "application/octet-stream", media: false },
    }
}

fn text() -> Kind {
    Kind { content_type: "text/plain; charset=utf-8", media: false }
}

/// An MP4 begins with the box of its brand, an old QuickTime file with any of these boxes.
fn is_mp4(head: &[u8]) -> bool {
    const FIRST: [&[u8]; 5] = [b"ftyp", b"moov", b"mdat", b"wide", b"skip"];
    head.get(4..8).is_some_and(|kind| FIRST.contains(&kind))
}

/// A packet begins every 188 bytes, or every 192 with the time stamps of a camera.
fn is_transport_stream(head: &[u8]) -> bool {
    [(0, 188), (4, 192)]
        .into_iter()
        .any(|(offset, packet)| (0..3).all(|index| head.get(offset + index * packet) == Some(&0x47)))
}

/// MPEG audio in all versions and bit rates, ADTS included: a frame begins with eleven set bits and a layer.
fn headerless(head: &[u8]) -> Option<Kind> {
    let &[first, second, ..] = head else { return None };
    // Layer I is left out: it would make the byte order mark of UTF-16 a sound.
    let frame = first == 0xff && second & 0xe0 == 0xe0 && second & 0x06 != 0x06 && second & 0x18 != 0x08;
    frame.then_some(Kind { content_type: "audio/mpeg", media: true })
}

/// UTF-8 without control characters; the end of `head` may cut a character in two.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty() && !valid.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c'))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn recognise(name: &str, bytes: &[u8]) -> Result<Kind, ContentError> {
        inspect(name, &mut Cursor::new(bytes), bytes.len() as u64)
    }

    /// An MP4 of the given brand with index and media.
    fn mp4(brand: &[u8; 4]) -> Vec<u8> {
        [&[0, 0, 0, 12][..], b"ftyp", brand, &[0, 0, 0, 8], b"moov", &[0, 0, 0, 8], b"mdat"].concat()
    }

    fn transport_stream(offset: usize, packet: usize) -> Vec<u8> {
        let mut bytes = vec![0; packet * 4];
        (0..4).for_each(|index| bytes[offset + index * packet] = 0x47);
        bytes
    }

    #[test]
    fn media_is_recognised_by_its_bytes_under_any_name() {
        for (content_type, bytes) in [
            ("video/mp4", mp4(b"isom")),
            ("video/mp4", mp4(b"iso8")),
            ("audio/mp4", mp4(b"M4A ")),
            ("video/quicktime", mp4(b"qt  ")),
            ("video/mp2t", transport_stream(0, 188)),
            ("video/mp2t", transport_stream(4, 192)),
            ("audio/mpeg", b"ID3\x04\0\0\0\0\0\0".to_vec()),
            ("audio/flac", b"fLaC\0\0\0\x22".to_vec()),
            ("audio/ogg", b"OggS\0\x02\0\0\0\0".to_vec()),
            ("video/x-msvideo", b"RIFF\0\0\0\0AVI LIST".to_vec()),
            ("audio/wav", b"RIFF\0\0\0\0WAVEfmt ".to_vec()),
        ] {
            for name in ["a.mkv", "a.bin", "A.MP3", "noending"] {
                assert_eq!(recognise(name, &bytes).unwrap(), Kind { content_type, media: true }, "{name}");
            }
        }
    }

    #[test]
    fn a_name_that_claims_media_needs_media() {
        let picture = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        for bytes in
            [b"just a text\n".to_vec(), b"#EXTM3U\nfile:///etc/passwd\n".to_vec(), vec![0; 500], picture]
        {
            for name in
                ["film.mkv", "film.MP4", "a.b.webm", "sound.mp3", "sound.ogg", "film.avi", "film.m2ts"]
            {
                let refusal = recognise(name, &bytes).unwrap_err();
                assert!(matches!(refusal, ContentError::Disguised { .. }), "{name}: {refusal}");
                assert!(refusal.to_string().contains(name), "{refusal}");
            }
        }
        assert!(!recognise("main.ts", b"export const a = 1;\n").unwrap().media);
    }

    #[test]
    fn other_files_keep_their_kind() {
        for (bytes, content_type) in [
            (&b"hello\n"[..], "text/plain; charset=utf-8"),
            (b"<!DOCTYPE html><script>alert(1)</script>", "text/plain; charset=utf-8"),
            (b"<html><script>alert(1)</script></html>", "text/plain; charset=utf-8"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", "image/png"),
            (b"%PDF-1.7\n", "application/pdf"),
            (b"\0\x01\x02\x03", "application/octet-stream"),
            (b"gr\xfc\xdfe", "application/octet-stream"),
        ] {
            assert_eq!(recognise("x", bytes).unwrap(), Kind { content_type, media: false });
        }
        // A character that the end of the head cuts in two is still text.
        let mut long = vec![b'a'; HEAD_SIZE as usize - 1];
        long.extend("ü and more".as_bytes());
        assert_eq!(recognise("x", &long).unwrap(), text());
    }

    #[test]
    fn a_frame_of_mpeg_audio_counts_only_with_the_name() {
        for frame in [[0xff, 0xfa, 0x90, 0], [0xff, 0xe3, 0x18, 0], [0xff, 0xf1, 0x50, 0x80]] {
            assert!(recognise("a.mp3", &frame).unwrap().media, "{frame:x?}");
        }
        assert!(!recognise("a.bin", &[0xff, 0xfa, 0x90, 0]).unwrap().media);
        let utf16 = [0xff, 0xfe, b'h', 0, b'i', 0];
        assert!(matches!(recognise("a.mp3", &utf16), Err(ContentError::Disguised { .. })));
    }

    #[test]
    fn cut_off_media_is_refused_with_both_numbers() {
        let whole = mp4(b"isom");
        let refusal = recognise("a.mp4", &whole[..whole.len() - 3]).unwrap_err().to_string();
        assert!(refusal.contains("its media (the mdat box) is missing from the 25 bytes"), "{refusal}");
        let mut cut = whole.clone();
        cut[23] = 100;
        let refusal = recognise("a.mp4", &cut).unwrap_err().to_string();
        assert_eq!(refusal, "\"a.mp4\" is cut off: its header promises 120 bytes, 28 arrived");
        let refusal = recognise("a.mkv", &EBML).unwrap_err();
        assert!(matches!(refusal, ContentError::Incomplete { .. }), "{refusal}");
    }
}
