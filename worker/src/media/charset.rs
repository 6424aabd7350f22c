//! Text of subtitles in whatever encoding, as UTF-8.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;

/// Recognises the encoding of a track from all of its lines so far: a single one is too short.
pub(super) struct Charset {
    detector: EncodingDetector,
}

impl Charset {
    pub(super) fn new() -> Self {
        Self { detector: EncodingDetector::new(Iso2022JpDetection::Deny) }
    }

    /// The line as UTF-8; `None` when it is already.
    pub(super) fn convert(&mut self, line: &[u8]) -> Option<String> {
        self.learn(line);
        self.decode(line)
    }

    /// Takes a line into account. Lines in UTF-8 tell nothing about the others.
    pub(super) fn learn(&mut self, line: &[u8]) {
        if std::str::from_utf8(line).is_err() {
            self.detector.feed(line, false);
        }
    }

    /// The line as UTF-8, by what was learnt so far; `None` when it is already.
    pub(super) fn decode(&self, line: &[u8]) -> Option<String> {
        if std::str::from_utf8(line).is_ok() {
            return None;
        }
        let encoding: &'static Encoding = self.detector.guess(None, Utf8Detection::Deny);
        let (text, _) = encoding.decode_without_bom_handling(line);
        Some(text.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_utf_8() {
        let mut german = Charset::new();
        assert_eq!(german.convert("Schöne Grüße".as_bytes()), None);
        let latin = b"Sch\xf6ne Gr\xfc\xdfe aus M\xfcnchen".as_slice();
        assert_eq!(german.convert(latin).as_deref(), Some("Schöne Grüße aus München"));
        let (russian, _, _) = encoding_rs::WINDOWS_1251.encode("Привет, как дела? Всё хорошо, спасибо.");
        let converted = Charset::new().convert(&russian);
        assert_eq!(converted.as_deref(), Some("Привет, как дела? Всё хорошо, спасибо."));
    }
}
