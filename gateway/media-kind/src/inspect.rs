//! Recognises an upload, and refuses content that contradicts its file name or cannot be played by anybody here.

use std::io::{self, Read, Seek};

use crate::container::{Claim, claim};
use crate::encryption::encryption;
use crate::extent::{Extent, extent};
use crate::frames;
use crate::reader::bytes_at;
use crate::signature::{Kind, kind};

/// Bytes that are enough for every signature, padding before it included.
pub const HEAD_SIZE: usize = 64 * 1024;

/// Why an upload is refused.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The name says video or audio, the bytes say something else.
    #[error("\"{name}\" is named like a video or sound file, but its content is {found}")]
    Disguised {
        /// File name.
        name: String,
        /// Kind of the content.
        found: &'static str,
    },
    /// The container lacks a part without which nothing can be played.
    #[error("\"{name}\" is cut off: {part} is missing from the {arrived} bytes that arrived")]
    Incomplete {
        /// File name.
        name: String,
        /// The missing part.
        part: &'static str,
        /// Size of the file.
        arrived: u64,
    },
    /// Only its seller's programs can play it.
    #[error("\"{name}\" is encrypted with {system}, so it cannot be played here")]
    Encrypted {
        /// File name.
        name: String,
        /// By what it is encrypted.
        system: &'static str,
    },
    /// The staged bytes cannot be read.
    #[error("cannot read the staged upload: {0}")]
    Read(#[from] io::Error),
}

impl ContentError {
    /// A remedy, for people.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disguised { .. } => "Upload the real file, or give this one the name of what it is.",
            Self::Incomplete { .. } => {
                "Upload it again; if the file is cut off where it came from, repair or remux it first."
            }
            Self::Encrypted { .. } => {
                "Get a copy without copy protection, or play it with its seller's program."
            }
            Self::Read(_) => "Try again.",
        }
    }
}

/// Recognises the kind of an upload of `size` bytes.
///
/// # Errors
/// Its name claims another kind, nothing of it can be played, or it cannot be read.
pub fn inspect(name: &str, file: &mut (impl Read + Seek), size: u64) -> Result<Kind, ContentError> {
    let head = bytes_at(file, 0, HEAD_SIZE)?;
    let kind = inspect_head(name, &head)?;
    if !kind.media {
        return Ok(kind);
    }
    if let Some(system) = encryption(file, size)? {
        return Err(ContentError::Encrypted { name: name.to_owned(), system });
    }
    match extent(file, size)? {
        Extent::Missing(part) => Err(ContentError::Incomplete { name: name.to_owned(), part, arrived: size }),
        // The part of a film that arrived becomes playable, with a warning.
        Extent::Whole | Extent::Promised(_) => Ok(kind),
    }
}

/// Recognises the kind of a file whose first bytes are `head`: [`HEAD_SIZE`] of them, or all.
///
/// # Errors
/// Its name claims another kind.
pub fn inspect_head(name: &str, head: &[u8]) -> Result<Kind, ContentError> {
    let kind = kind(head);
    let claim = claim(name);
    if kind.media || claim == Claim::Nothing {
        return Ok(kind);
    }
    // Kinds with a mark of their own keep it; text is never a stream.
    let is_unmarked = kind.content_type == "application/octet-stream";
    if let Some(content_type) = frames::headerless(head).filter(|_| is_unmarked) {
        return Ok(Kind::media(content_type));
    }
    // An unknown brand in a file that is named as a film is tried.
    if is_unmarked && claim == Claim::Media && head.get(4..8) == Some(b"ftyp") {
        return Ok(Kind::media("video/mp4"));
    }
    match claim {
        Claim::Media => Err(ContentError::Disguised { name: name.to_owned(), found: kind.description() }),
        Claim::Perhaps | Claim::Nothing => Ok(kind),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::ebml::EBML;
    use crate::signature::TEXT;

    fn recognise(name: &str, bytes: &[u8]) -> Result<Kind, ContentError> {
        inspect(name, &mut Cursor::new(bytes), bytes.len() as u64)
    }

    /// An MP4 of the given brand with index and media.
    fn mp4(brand: &[u8; 4]) -> Vec<u8> {
        [&[0, 0, 0, 12][..], b"ftyp", brand, &[0, 0, 0, 8], b"moov", &[0, 0, 0, 8], b"mdat"].concat()
    }

    fn transport_stream(offset: usize, packet: usize) -> Vec<u8> {
        let mut bytes = vec![0; packet * 5];
        (0..5).for_each(|index| bytes[offset + index * packet] = 0x47);
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
            ("video/mp2t", transport_stream(100, 188)),
            ("video/mp2t", transport_stream(4, 192)),
            ("video/mp2t", transport_stream(77, 204)),
            ("audio/mpeg", b"ID3\x04\0\0\0\0\0\0".to_vec()),
            ("audio/flac", b"fLaC\0\0\0\x22".to_vec()),
            ("audio/ogg", b"OggS\0\x02\0\0\0\0".to_vec()),
            ("video/x-msvideo", b"RIFF\0\0\0\0AVI LIST".to_vec()),
            ("audio/wav", b"RIFF\0\0\0\0WAVEfmt ".to_vec()),
            ("audio/wav", b"RF64\xff\xff\xff\xffWAVEds64".to_vec()),
            ("audio/aiff", b"FORM\0\0\0\0AIFFCOMM".to_vec()),
            ("video/mpeg", vec![0, 0, 1, 0xba, 0x44, 0]),
            (
                "application/mxf",
                [&[0; 900][..], b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02"].concat(),
            ),
        ] {
            for name in ["a.mkv", "a.bin", "A.MP3", "noending"] {
                assert_eq!(recognise(name, &bytes).unwrap(), Kind::media(content_type), "{name}");
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
        for (name, bytes) in
            [("main.ts", &b"export const a = 1;\n"[..]), ("board.dts", b"/dts-v1/;\n"), ("x.ts", b"GGGG")]
        {
            assert_eq!(recognise(name, bytes).unwrap(), TEXT, "{name}");
        }
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
            let found = recognise("x", bytes).unwrap();
            assert_eq!(found, Kind { content_type, media: false });
        }
        // A character that the end of the head cuts in two is still text.
        let mut long = vec![b'a'; HEAD_SIZE - 1];
        long.extend("ü and more".as_bytes());
        assert_eq!(recognise("x", &long).unwrap(), TEXT);
    }

    #[test]
    fn raw_photos_and_unknown_brands_are_kept_as_files() {
        for brand in [b"crx ", b"heic", b"XYZ1"] {
            assert!(!recognise("IMG_0001", &mp4(brand)).unwrap().media, "{brand:?}");
        }
        assert!(recognise("film.mp4", &mp4(b"XYZ1")).unwrap().media);
        // The main brand is unknown, a compatible one is not.
        let mut mixed = mp4(b"XYZ1");
        mixed[3] = 20;
        mixed.splice(12..12, *b"\0\0\0\0isom");
        assert_eq!(recognise("x", &mixed).unwrap(), Kind::media("video/mp4"));
    }

    #[test]
    fn a_frame_of_mpeg_audio_counts_only_with_the_name() {
        for frame in [[0xff, 0xfa, 0x90, 0], [0xff, 0xe3, 0x18, 0]] {
            assert!(recognise("a.mp3", &frame).unwrap().media, "{frame:x?}");
        }
        assert!(recognise("a.aac", &[0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc]).unwrap().media);
        assert!(!recognise("a.bin", &[0xff, 0xfa, 0x90, 0]).unwrap().media);
        let utf16 = [0xff, 0xfe, b'h', 0, b'i', 0];
        assert!(matches!(recognise("a.mp3", &utf16), Err(ContentError::Disguised { .. })));
    }

    #[test]
    fn media_of_which_nothing_can_be_played_is_refused() {
        let whole = mp4(b"isom");
        let refusal = recognise("a.mp4", &whole[..whole.len() - 3]).unwrap_err().to_string();
        assert!(refusal.contains("its media (the mdat box) is missing from the 25 bytes"), "{refusal}");
        let mut cut = whole.clone();
        cut[23] = 100;
        assert!(recognise("a.mp4", &cut).unwrap().media, "what is there can be played");
        let refusal = recognise("a.mkv", &EBML).unwrap_err();
        assert!(matches!(refusal, ContentError::Incomplete { .. }), "{refusal}");
    }
}
