//! Text subtitles as WebVTT.

use std::fmt::Write as _;
use std::path::Path;

use ff::codec::subtitle::Rect;
use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

use super::charset::Charset;
use super::clock::ticks;
use super::codecs;
use super::error::MediaError;
use super::ffi::OwnedSubtitle;
use super::piece::{CLOCK_OFFSET, write_file};

const TIME_BASE: ff::Rational = ff::Rational(1, 1_000);
/// Bytes of the packets of a track; all subtitles of a season have less.
const MAX_BYTES: usize = 16 << 20;
/// Bytes that a packet takes beside its own.
const PACKET_COST: usize = 512;
/// Milliseconds that a line stands whose end is not known, at most: it ends with the next one.
const MAX_UNKNOWN: u64 = 10_000;

/// A subtitle to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subtitle {
    /// Name of the rendition: `subtitle-<n>`.
    pub name: String,
    /// Index of the stream in the upload.
    pub stream: usize,
    /// ISO 639, if the upload names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Title in the upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// It translates only what the sound does not say in its own language.
    #[serde(default)]
    pub forced: bool,
}

/// Collects the packets of one text stream. They are decoded at the end, since only all of them tell the encoding.
pub(super) struct TextTrack {
    name: String,
    stream: usize,
    decoder: ff::decoder::Subtitle,
    time_base: ff::Rational,
    offset: i64,
    packets: Vec<ff::Packet>,
    bytes: usize,
    /// Whether packets are nothing but text.
    is_plain: bool,
}

/// A line with its times in milliseconds; `to` is `None` where the file does not name it.
#[derive(Debug, PartialEq)]
struct Cue {
    from: u64,
    to: Option<u64>,
    text: String,
}

impl TextTrack {
    pub(super) fn open(input: &ff::Stream<'_>, name: &str, start: f64) -> Result<Self, MediaError> {
        let codec = input.parameters().id();
        let failed = |error| MediaError::input(&format!("open subtitle stream {}", input.index()), error);
        let context = ff::codec::Context::from_parameters(input.parameters()).map_err(failed)?;
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(input.time_base());
        let found = ff::decoder::find(codec).ok_or(ff::Error::DecoderNotFound).map_err(failed)?;
        let opened = decoder.open_as_with(found, codecs::decoder_options());
        Ok(Self {
            name: name.to_owned(),
            stream: input.index(),
            decoder: opened.and_then(ff::decoder::Opened::subtitle).map_err(failed)?,
            time_base: input.time_base(),
            offset: ticks(start, input.time_base()),
            packets: Vec::new(),
            bytes: 0,
            is_plain: codec != ff::codec::Id::MOV_TEXT,
        })
    }

    pub(super) fn stream(&self) -> usize {
        self.stream
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn push(&mut self, packet: ff::Packet) {
        self.bytes += packet.size() + PACKET_COST;
        if self.bytes <= MAX_BYTES {
            self.packets.push(packet);
        }
    }

    /// Writes the file of the track; answers the number of its cues.
    pub(super) fn write(mut self, folder: &Path, warnings: &mut Vec<String>) -> Result<usize, MediaError> {
        let mut charset = self.is_plain.then(Charset::new);
        for packet in &self.packets {
            if let Some((charset, data)) = charset.as_mut().zip(packet.data()) {
                charset.learn(data);
            }
        }
        let (mut cues, mut damaged) = (Vec::new(), 0);
        for packet in std::mem::take(&mut self.packets) {
            match self.decode(&packet, charset.as_ref()) {
                Some(cue) => cues.extend(cue.filter(|cue| !cue.text.is_empty())),
                None => damaged += 1,
            }
        }
        if damaged > 0 {
            let stream = self.stream;
            warnings.push(format!("{damaged} lines of subtitle stream {stream} could not be read"));
        }
        if self.bytes > MAX_BYTES {
            warnings.push(format!("subtitle stream {} was cut: it has too much text", self.stream));
        }
        write_file(&folder.join(format!("{}.vtt", self.name)), document(&mut cues).as_bytes())?;
        Ok(cues.len())
    }

    /// `None` when the packet cannot be read; no cue when it shows nothing.
    fn decode(&mut self, packet: &ff::Packet, charset: Option<&Charset>) -> Option<Option<Cue>> {
        let time = packet.pts().or(packet.dts())?;
        let text = charset.zip(packet.data()).and_then(|(charset, data)| charset.decode(data));
        let converted = text.map(|text| {
            let mut converted = ff::Packet::copy(text.as_bytes());
            converted.set_pts(packet.pts());
            converted.set_dts(packet.dts());
            converted.set_duration(packet.duration());
            converted
        });
        let mut decoded = OwnedSubtitle::empty();
        if !self.decoder.decode(converted.as_ref().unwrap_or(packet), decoded.get()).ok()? {
            return Some(None);
        }
        let subtitle = decoded.get();
        let begin = self.milliseconds(time - self.offset) + i64::from(subtitle.start());
        let length = match (subtitle.start(), subtitle.end()) {
            (start, end) if end > start && end != u32::MAX => i64::from(end - start),
            _ => self.milliseconds(packet.duration()),
        };
        let lines = subtitle.rects().filter_map(|rect| match rect {
            Rect::Ass(ass) => Some(plain(ass.get())),
            Rect::Text(text) => Some(escaped(text.get())),
            _ => None,
        });
        let text = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        // A line that is over before the film begins is dropped.
        let to = (length > 0).then(|| u64::try_from(begin + length).unwrap_or(0));
        Some(Some(Cue { from: u64::try_from(begin).unwrap_or(0), to, text }).filter(|cue| cue.to != Some(0)))
    }

    fn milliseconds(&self, time: i64) -> i64 {
        ff::Rescale::rescale(&time, self.time_base, TIME_BASE)
    }
}

/// The whole file. Its header maps its times to the clock of the pieces, which players of streams go by.
fn document(cues: &mut [Cue]) -> String {
    cues.sort_by_key(|cue| cue.from);
    let clock = (CLOCK_OFFSET * 90_000.0) as u64;
    let mut text = format!("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:{clock}\n");
    for (n, cue) in cues.iter().enumerate() {
        let next = || cues.get(n + 1).map_or(u64::MAX, |next| next.from);
        let to = cue.to.unwrap_or_else(|| next().clamp(cue.from + 1, cue.from + MAX_UNKNOWN));
        let _ = write!(text, "\n{} --> {}\n{}\n", timestamp(cue.from), timestamp(to), cue.text);
    }
    text
}

/// A time as WebVTT writes it.
pub(super) fn timestamp(milliseconds: u64) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    format!("{:02}:{:02}:{:02}.{rest:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The text of an event of Advanced SubStation Alpha, to which libav brings all text subtitles: without its style, but
/// in italics where these are, because they tell who speaks.
fn plain(event: &str) -> String {
    // ReadOrder, Layer, Style, Name, three margins, Effect.
    let mut rest = event.splitn(9, ',').nth(8).unwrap_or_default();
    let (mut text, mut style, mut is_open) = (String::new(), Style::default(), false);
    // Where no brace closes any more, none of those that open is looked at: each look reads the whole rest.
    let mut may_close = true;
    while let Some(next) = rest.chars().next() {
        let tags = (may_close && next == '{').then(|| rest.split_once('}')).flatten();
        may_close &= next != '{' || tags.is_some();
        if let Some((tags, after)) = tags {
            tags.split('\\').skip(1).for_each(|tag| style.apply(tag));
            if is_open && !style.is_italic {
                text.insert_str(text.trim_end().len(), "</i>");
                is_open = false;
            }
            rest = after;
            continue;
        }
        let escape = rest.strip_prefix('\\').and_then(|after| after.chars().next());
        let (length, shown) = match escape {
            Some('N' | 'n') => (2, "\n"),
            Some('h') => (2, "\u{a0}"),
            _ => (next.len_utf8(), &rest[..next.len_utf8()]),
        };
        rest = &rest[length..];
        if style.is_drawing {
            continue;
        }
        // Tags stand beside text only, so that a line is empty when it shows nothing.
        if style.is_italic && !is_open && !shown.trim().is_empty() {
            text += "<i>";
            is_open = true;
        }
        text += &escaped(shown);
    }
    // An empty line would end the cue.
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join("\n");
    if is_open { text + "</i>" } else { text }
}

#[derive(Default)]
struct Style {
    is_italic: bool,
    /// Text is the outline of a shape.
    is_drawing: bool,
}

impl Style {
    fn apply(&mut self, tag: &str) {
        match tag.trim() {
            "i1" => self.is_italic = true,
            "i" | "i0" | "r" => self.is_italic = false,
            other => {
                let scale = other.strip_prefix('p').and_then(|scale| scale.parse::<u32>().ok());
                self.is_drawing = scale.map_or(self.is_drawing, |scale| scale > 0);
            }
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(['\r', '\0'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_text_without_style() {
        let event = |text: &str| plain(&format!("0,0,Default,,0,0,0,,{text}"));
        assert_eq!(event("Hello, world"), "Hello, world");
        assert_eq!(event("{\\an8}{\\i1}far{\\i0} off\\Nsecond\\hline"), "<i>far</i> off\nsecond\u{a0}line");
        assert_eq!(event("{\\i1}all of it\\N\\Nof two"), "<i>all of it\nof two</i>");
        assert_eq!(event("{\\p1}m 0 0 l 9 9{\\p0}after <b> & -->"), "after &lt;b&gt; &amp; --&gt;");
        assert_eq!(event("{\\pos(3,4)}{\\i1}\\N{\\i0}"), "");
        assert_eq!(event("{\\i1}one\\N{\\i0}two"), "<i>one</i>\ntwo");
        assert_eq!(event("a { b"), "a { b");
        // Without the look ahead only once, this takes minutes.
        assert_eq!(event(&"{".repeat(1 << 20)).len(), 1 << 20);
    }

    #[test]
    fn a_line_without_an_end_stands_until_the_next_one() {
        let cue = |from, to, text: &str| Cue { from, to, text: text.to_owned() };
        let text =
            document(&mut [cue(3_600_000, None, "last"), cue(500, None, "a"), cue(2_000, Some(2_500), "b")]);
        let expected = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:90000\n\n\
            00:00:00.500 --> 00:00:02.000\na\n\n00:00:02.000 --> 00:00:02.500\nb\n\n\
            01:00:00.000 --> 01:00:10.000\nlast\n";
        assert_eq!(text, expected);
    }
}
