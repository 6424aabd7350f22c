//! The kind of a file by its first bytes.

use crate::boxes::is_mp4;
use crate::ebml::EBML;
use crate::frames;
use crate::transport;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Media type; of text and unknown bytes one that browsers do not run.
    pub content_type: &'static str,
    /// Video or audio, from which the worker makes renditions that browsers play.
    pub media: bool,
}

impl Kind {
    pub(crate) const fn media(content_type: &'static str) -> Self {
        Self { content_type, media: true }
    }

    const fn other(content_type: &'static str) -> Self {
        Self { content_type, media: false }
    }

    /// For error messages.
    pub(crate) fn description(self) -> &'static str {
        match self.content_type.split(';').next() {
            Some("text/plain") => "plain text",
            Some("application/octet-stream") | None => "of no known kind",
            Some(other) => other,
        }
    }
}

pub(crate) const TEXT: Kind = Kind::other("text/plain; charset=utf-8");
pub(crate) const UNKNOWN: Kind = Kind::other("application/octet-stream");

/// Place and bytes of a signature.
type Mark = (usize, &'static [u8]);

/// Files of film and sound that have all marks of a row; those of text have none.
const MARKS: &[(&[Mark], &str)] = &[
    (&[(0, b"RIFF"), (8, b"AVI ")], "video/x-msvideo"),
    (&[(0, b"RIFF"), (8, b"AMV ")], "video/x-msvideo"),
    (&[(0, b"RIFF"), (8, b"WAVE")], "audio/wav"),
    (&[(0, b"RIFF"), (8, b"CDXA")], "video/mpeg"),
    (&[(0, b"RF64"), (8, b"WAVE")], "audio/wav"),
    (&[(0, b"BW64"), (8, b"WAVE")], "audio/wav"),
    (&[(0, b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0")], "audio/x-w64"),
    (&[(0, b"FORM"), (8, b"AIFF")], "audio/aiff"),
    (&[(0, b"FORM"), (8, b"AIFC")], "audio/aiff"),
    (&[(0, b"FORM"), (8, b"8SVX")], "audio/x-8svx"),
    (&[(0, b"FORM"), (8, b"16SV")], "audio/x-8svx"),
    (&[(0, b"FRM8"), (12, b"DSD ")], "audio/x-dff"),
    (&[(0, b"DSD ")], "audio/x-dsf"),
    (&[(0, b"ID3")], "audio/mpeg"),
    (&[(0, b"fLaC")], "audio/flac"),
    (&[(0, b"FLV\x01")], "video/x-flv"),
    (&[(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c")], "video/x-ms-asf"),
    (&[(0, b"caff\0\x01")], "audio/x-caf"),
    (&[(0, b".snd\0\0")], "audio/basic"),
    (&[(0, b"MAC ")], "audio/x-ape"),
    (&[(0, b"wvpk")], "audio/x-wavpack"),
    (&[(0, b"TTA1")], "audio/x-tta"),
    (&[(0, b"tBaK")], "audio/x-tak"),
    (&[(0, b"MPCK")], "audio/x-musepack"),
    (&[(0, b"MP+")], "audio/x-musepack"),
    (&[(0, b"ajkg")], "audio/x-shorten"),
    (&[(0, b"#!AMR")], "audio/amr"),
    (&[(0, b"Creative Voice File\x1a")], "audio/x-voc"),
    (&[(0, b".RMF\0\0")], "application/vnd.rn-realmedia"),
    (&[(0, b".ra\xfd")], "audio/vnd.rn-realaudio"),
    (&[(0, b"DKIF\0\0")], "video/x-ivf"),
    (&[(0, b"nut/multimedia container\0")], "video/x-nut"),
    (&[(0, b"YUV4MPEG2 ")], "video/x-yuv4mpeg"),
    (&[(0, b"\0\0\0\0\x01\xbc\0\0\0\0\xe1\xe2")], "application/gxf"),
    (&[(0, b"\xb7\xd8\0\x20\x37\x49\xda\x11\xa6\x4e\0\x07\xe9\x5e\xad\x8d")], "video/x-ms-wtv"),
    (&[(0, b"DTSHDHDR")], "audio/vnd.dts.hd"),
    (&[(0, b"\x7f\xfe\x80\x01")], "audio/vnd.dts"),
    (&[(0, b"\xfe\x7f\x01\x80")], "audio/vnd.dts"),
    (&[(0, b"\x1f\xff\xe8\0")], "audio/vnd.dts"),
    (&[(0, b"\xff\x1f\0\xe8")], "audio/vnd.dts"),
    (&[(4, b"\xf8\x72\x6f\xba")], "audio/vnd.dolby.mlp"),
    (&[(4, b"\xf8\x72\x6f\xbb")], "audio/vnd.dolby.mlp"),
    (&[(0, b"\x1f\x07\0\x3f"), (80, b"\x3f\x07\0")], "video/dv"),
    (&[(0, b"\x1f\x07\0\xbf"), (80, b"\x3f\x07\0")], "video/dv"),
    // An AV1 stream begins with an empty temporal delimiter and a sequence header.
    (&[(0, b"\x12\0\x0a")], "video/av1"),
];

/// Header partition of MXF, which may follow a run-in of at most 64 KiB.
const MXF: &[u8] = b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02";

/// Brands of MP4 and QuickTime files that hold film or sound. Others are pictures, raw photos, documents.
const BRANDS: [&[u8]; 44] = [
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42",
    b"mp71", b"avc1", b"M4V ", b"M4VH", b"M4VP", b"M4A ", b"M4B ", b"M4P ", b"qt  ", b"3gp4", b"3gp5",
    b"3gp6", b"3gp7", b"3gs7", b"3ge6", b"3g2a", b"3g2b", b"3g2c", b"mmp4", b"MSNV", b"NDSC", b"NDSH",
    b"f4v ", b"F4V ", b"dash", b"msdh", b"cmfc", b"XAVC", b"piff", b"av01", b"hvc1", b"mj2s", b"aax ",
];

/// The kind of a file that begins with `head`.
pub(crate) fn kind(head: &[u8]) -> Kind {
    let known = infer::get(head).map(|kind| kind.mime_type());
    if is_text(head) {
        return match known {
            // A browser would run markup with the rights of the user who opens it; as text it only shows it.
            Some("text/html" | "text/xml" | "text/x-shellscript") | None => TEXT,
            Some(media) if media.starts_with("video/") || media.starts_with("audio/") => TEXT,
            Some(other) => Kind::other(other),
        };
    }
    let has = |(at, bytes): &Mark| head.get(*at..).is_some_and(|rest| rest.starts_with(bytes));
    if let Some((_, content_type)) = MARKS.iter().find(|(marks, _)| marks.iter().all(has)) {
        return Kind::media(content_type);
    }
    match () {
        () if head.starts_with(&EBML) => matroska(head),
        () if head.starts_with(b"OggS") => ogg(head),
        () if is_mp4(head) => mp4(head, known),
        () if transport::is_transport_stream(head) => Kind::media("video/mp2t"),
        () if head.windows(MXF.len()).any(|window| window == MXF) => Kind::media("application/mxf"),
        () => match (frames::start_code(head), known) {
            (Some(content_type), _) => Kind::media(content_type),
            // The library takes two set bits for a sound, which needs a name beside them.
            (None, Some(media)) if media.starts_with("video/") || media.starts_with("audio/") => {
                match media {
                    "audio/midi" => Kind::other(media),
                    _ => UNKNOWN,
                }
            }
            (None, Some(other)) => Kind::other(other),
            (None, None) => UNKNOWN,
        },
    }
}

fn matroska(head: &[u8]) -> Kind {
    let start = &head[..head.len().min(64)];
    let is_webm = start.windows(4).any(|window| window == b"webm");
    Kind::media(if is_webm { "video/webm" } else { "video/x-matroska" })
}

fn ogg(head: &[u8]) -> Kind {
    const VIDEO: [&[u8]; 3] = [b"\x80theora", b"BBCD", b"OVP80"];
    let start = &head[..head.len().min(512)];
    let is_video = VIDEO.iter().any(|mark| start.windows(mark.len()).any(|window| window == *mark));
    Kind::media(if is_video { "video/ogg" } else { "audio/ogg" })
}

fn mp4(head: &[u8], known: Option<&'static str>) -> Kind {
    if head.get(4..8) != Some(b"ftyp") {
        return Kind::media("video/quicktime");
    }
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let brands = head.get(8..size.clamp(12, head.len().max(12))).unwrap_or_default();
    let (all, _) = brands.as_chunks::<4>();
    let main = all.first().copied().unwrap_or_default();
    let is_sound = matches!(&main, b"M4A " | b"M4B " | b"M4P " | b"aax ");
    match main.as_slice() {
        _ if is_sound => Kind::media("audio/mp4"),
        b"qt  " => Kind::media("video/quicktime"),
        [b'3', b'g', b'p' | b's' | b'e', _] => Kind::media("video/3gpp"),
        [b'3', b'g', b'2', _] => Kind::media("video/3gpp2"),
        // Raw photos and other pictures are in boxes too.
        _ if known.is_some_and(|known| known.starts_with("image/")) => known.map_or(UNKNOWN, Kind::other),
        _ if is_picture(main) => UNKNOWN,
        // The field after the main brand is a version.
        _ if all.iter().any(|brand| BRANDS.contains(&brand.as_slice())) => Kind::media("video/mp4"),
        _ => UNKNOWN,
    }
}

/// Still pictures and raw photos name the brands of films too.
fn is_picture(brand: [u8; 4]) -> bool {
    matches!(&brand, b"crx " | b"heic" | b"heix" | b"heif" | b"mif1" | b"avif" | b"avis" | b"jxl " | b"jp2 ")
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
