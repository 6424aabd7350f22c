//! What uploaded bytes are, told from the bytes; and what must not be stored under the name they came with.
//! Pure: whether a file really plays is found out by the worker, in its sandbox.

use std::io::{self, Read, Seek, SeekFrom};

use super::container::{self, EBML, Extent};

/// Enough for every signature, three packets of a transport stream included.
const HEAD: u64 = 4096;

/// Endings by which people and players expect a film or a sound. `ts` and `mts` are not here: they are also
/// TypeScript, so only their bytes say which.
const MEDIA_ENDINGS: [&str; 36] = [
    "3g2", "3gp", "aac", "aif", "aiff", "asf", "avi", "f4v", "flac", "flv", "m2ts", "m4a", "m4b", "m4v",
    "mk3d", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpe", "mpeg", "mpg", "oga", "ogg", "ogv", "opus",
    "qt", "vob", "wav", "weba", "webm", "wma", "wmv", "wv",
];

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Media type.
    pub(crate) content_type: &'static str,
    /// Video or sound, which the worker turns into something that browsers play.
    pub(crate) media: bool,
}

impl Kind {
    /// For people.
    fn words(self) -> &'static str {
        match self.content_type.split(';').next() {
            Some("text/plain") => "plain text",
            Some("application/octet-stream") | None => "of no known kind",
            Some(told) => told,
        }
    }
}

/// Why an upload is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The name says film or sound, the bytes say something else.
    #[error("\"{name}\" is named like a video or sound file, but its content is {found}")]
    Disguised { name: String, found: &'static str },
    /// The container says how long it is, and it is shorter.
    #[error("\"{name}\" is cut off: its header promises {promised} bytes, {arrived} arrived")]
    CutOff { name: String, promised: u64, arrived: u64 },
    /// The container lacks a part that nothing can be played without.
    #[error("\"{name}\" is cut off: {part} is missing from the {arrived} bytes that arrived")]
    Incomplete { name: String, part: &'static str, arrived: u64 },
    /// The staged file could not be read back.
    #[error("cannot read the staged upload: {0}")]
    Read(#[from] io::Error),
}

impl Refusal {
    /// What the user can do about it.
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

/// Looks at the `size` bytes of an upload called `name`.
pub(crate) fn inspect(name: &str, file: &mut (impl Read + Seek), size: u64) -> Result<Kind, Refusal> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let kind = kind(&head);
    let extent = match () {
        () if head.starts_with(&EBML) => container::matroska(file, size)?,
        () if kind.media && is_mp4(&head) => container::mp4(file, size)?,
        () => Extent::Whole,
    };
    match extent {
        Extent::Promised(promised) => Err(Refusal::CutOff { name: name.to_owned(), promised, arrived: size }),
        Extent::Missing(part) => Err(Refusal::Incomplete { name: name.to_owned(), part, arrived: size }),
        Extent::Whole if !kind.media && claims_media(name) => {
            // Sounds without any header: only a name makes a few set bits a signature.
            match headerless(&head) {
                Some(kind) => Ok(kind),
                None => Err(Refusal::Disguised { name: name.to_owned(), found: kind.words() }),
            }
        }
        Extent::Whole => Ok(kind),
    }
}

/// Does the name end like a film or a sound?
fn claims_media(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| MEDIA_ENDINGS.contains(&ending.as_str()))
}

/// The kind of a file that begins with `head`.
fn kind(head: &[u8]) -> Kind {
    let media = |content_type| Kind { content_type, media: true };
    if is_transport_stream(head) {
        return media("video/mp2t");
    }
    let told = infer::get(head).map(|kind| kind.mime_type());
    match told {
        // The registered names, where the library has those from before registration.
        Some("audio/m4a") => media("audio/mp4"),
        Some("audio/x-flac") => media("audio/flac"),
        Some("audio/x-wav") => media("audio/wav"),
        Some("video/x-m4v") => media("video/mp4"),
        Some("audio/midi") => Kind { content_type: "audio/midi", media: false },
        Some(told) if told.starts_with("video/") || told.starts_with("audio/") => media(told),
        // Markup would run in the browser of whoever opens it; as text it is shown.
        Some("text/html" | "text/xml" | "text/x-shellscript") => text(),
        Some(told) => Kind { content_type: told, media: false },
        None if head.starts_with(&EBML) => media("video/x-matroska"),
        // Brands are invented faster than the library lists them; pictures have theirs listed.
        None if is_mp4(head) => media("video/mp4"),
        None if is_text(head) => text(),
        None => Kind { content_type: "application/octet-stream", media: false },
    }
}

fn text() -> Kind {
    Kind { content_type: "text/plain; charset=utf-8", media: false }
}

/// An MP4 begins with its brand, an old QuickTime file with any of its boxes.
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

/// UTF-8 without control characters; the cut at the end of `head` may go through a character.
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

    fn look(name: &str, bytes: &[u8]) -> Result<Kind, Refusal> {
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
    fn media_is_told_from_its_bytes_whatever_its_name() {
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
                assert_eq!(look(name, &bytes).unwrap(), Kind { content_type, media: true }, "{name}");
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
                let refusal = look(name, &bytes).unwrap_err();
                assert!(matches!(refusal, Refusal::Disguised { .. }), "{name}: {refusal}");
                assert!(refusal.to_string().contains(name), "{refusal}");
            }
        }
        assert!(!look("main.ts", b"export const a = 1;\n").unwrap().media);
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
            assert_eq!(look("x", bytes).unwrap(), Kind { content_type, media: false });
        }
        // A character that the end of the head cuts in two is still text.
        let mut long = vec![b'a'; HEAD as usize - 1];
        long.extend("ü and more".as_bytes());
        assert_eq!(look("x", &long).unwrap(), text());
    }

    #[test]
    fn a_frame_of_mpeg_audio_needs_its_name() {
        for frame in [[0xff, 0xfa, 0x90, 0], [0xff, 0xe3, 0x18, 0], [0xff, 0xf1, 0x50, 0x80]] {
            assert!(look("a.mp3", &frame).unwrap().media, "{frame:x?}");
        }
        assert!(!look("a.bin", &[0xff, 0xfa, 0x90, 0]).unwrap().media);
        let utf16 = [0xff, 0xfe, b'h', 0, b'i', 0];
        assert!(matches!(look("a.mp3", &utf16), Err(Refusal::Disguised { .. })));
    }

    #[test]
    fn cut_off_media_is_refused_with_both_numbers() {
        let whole = mp4(b"isom");
        let refusal = look("a.mp4", &whole[..whole.len() - 3]).unwrap_err().to_string();
        assert!(refusal.contains("its media (the mdat box) is missing from the 25 bytes"), "{refusal}");
        let mut cut = whole.clone();
        cut[23] = 100;
        let refusal = look("a.mp4", &cut).unwrap_err().to_string();
        assert_eq!(refusal, "\"a.mp4\" is cut off: its header promises 120 bytes, 28 arrived");
        let refusal = look("a.mkv", &EBML).unwrap_err();
        assert!(matches!(refusal, Refusal::Incomplete { .. }), "{refusal}");
    }
}
