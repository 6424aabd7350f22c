//! Chapters of a film or book.

use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

/// Chapters that are kept: an audiobook of a thousand is long.
const MAX_CHAPTERS: usize = 500;
/// Bytes of a text that the file brings, so that the plan of a file stays one message.
const MAX_TEXT: usize = 80;

/// A part of a film that has a title.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chapter {
    /// Seconds from the start of the output.
    pub start: f64,
    /// Seconds from the start of the output.
    pub end: f64,
    /// Empty when the file names none.
    pub title: String,
}

/// The chapters of a file whose second `start` becomes zero.
pub(super) fn list(input: &ff::format::context::Input, start: f64, duration: Option<f64>) -> Vec<Chapter> {
    let all = input.chapters().take(MAX_CHAPTERS).map(|chapter| {
        let seconds = |ticks: i64| ticks as f64 * f64::from(chapter.time_base()) - start;
        let title = short(chapter.metadata().get("title").unwrap_or_default());
        Chapter { start: seconds(chapter.start()).max(0.0), end: seconds(chapter.end()), title }
    });
    // The index of a disc may name more than the file holds.
    let is_within = |chapter: &Chapter| {
        chapter.end > chapter.start && duration.is_none_or(|duration| chapter.start < duration)
    };
    all.filter(is_within).collect()
}

/// The beginning of a text that the file brings, without zeros.
pub(super) fn short(text: &str) -> String {
    let mut text = text.replace('\0', "");
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
