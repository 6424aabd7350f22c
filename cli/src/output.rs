//! Output of the commands: results on standard output, notes and errors on standard error, JSON on request.

use std::env;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use console::{Style, measure_text_width, truncate_str};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::{Doing, Error, Result};

/// The global output options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// One JSON document on standard output.
    pub(crate) json: bool,
    /// Only the result and errors.
    pub(crate) quiet: bool,
    colour: bool,
}

impl Output {
    /// Colours are used on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { json, quiet, colour: stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// Whether standard output is a terminal for a person.
    pub(crate) fn is_interactive(self) -> bool {
        !self.json && !self.quiet && stdout().is_terminal()
    }

    /// Prints a result as JSON or as text, even with `--quiet`.
    pub(crate) fn show(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.json { self.document(value) } else { self.line(&text()) }
    }

    /// Prints a confirmation as JSON, or as a sentence that `--quiet` hides.
    pub(crate) fn confirm(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if self.quiet && !self.json { Ok(()) } else { self.show(value, text) }
    }

    /// Prints a line; nothing with `--quiet` or `--json`.
    pub(crate) fn message(self, text: &str) -> Result<()> {
        if self.quiet || self.json { Ok(()) } else { self.line(text) }
    }

    /// Prints a note on standard error; nothing with `--quiet` or `--json`.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet && !self.json {
            // If standard error is closed, the note is lost.
            let _ = writeln!(stderr(), "note: {text}");
        }
    }

    /// Prints a warning on standard error, also with `--json`; nothing with `--quiet`.
    pub(crate) fn warning(self, text: &str) {
        if !self.quiet {
            let _ = writeln!(stderr(), "warning: {text}");
        }
    }

    /// Prints the error that ends the program: as JSON on standard output, or as text on standard error.
    pub(crate) fn failure(self, error: &Error) {
        if self.json {
            let _ = self.document(error.failure());
        } else {
            self.error(error);
        }
    }

    /// Prints an error and its hint on standard error.
    pub(crate) fn error(self, error: &Error) {
        let failure = error.failure();
        let _ = writeln!(stderr(), "error: {}", clean(&failure.detail));
        if let Some(hint) = &failure.hint {
            let _ = writeln!(stderr(), "hint: {}", clean(hint));
        }
    }

    /// Colours a text if colours are used.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.colour { style.force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }

    /// Colours a state: green for success, red for failure, yellow for work in progress.
    pub(crate) fn state(self, text: &str) -> String {
        let style = match text.split(' ').next().unwrap_or_default() {
            "ready" | "succeeded" | "ok" | "active" | "healthy" => Style::new().green(),
            "failed" | "dead" | "revoked" | "refused" | "lost" => Style::new().red(),
            "processing" | "running" | "pending" | "moving" | "drifted" | "late" => Style::new().yellow(),
            _ => Style::new().dim(),
        };
        self.paint(style, text)
    }

    /// A table under bold headings; columns whose heading begins with `>` are right-aligned.
    pub(crate) fn table<const N: usize>(self, headings: [&str; N], rows: Vec<[String; N]>) -> String {
        let width = stdout().is_terminal().then(|| usize::from(console::Term::stdout().size().1));
        let mut lines = layout(headings, rows, width);
        if let Some(first) = lines.first_mut() {
            *first = self.paint(Style::new().bold(), first);
        }
        lines.join("\n")
    }

    /// A progress bar in bytes on standard error; hidden if that is not a terminal, and with `--quiet` or
    /// `--json`.
    pub(crate) fn bytes_bar(self, name: &str, size: u64) -> ProgressBar {
        let style = "{msg}  {bar:30}  {binary_bytes:>11} / {binary_total_bytes}  {binary_bytes_per_sec:>13}  ETA {eta}";
        self.bar(name, size, style)
    }

    /// A progress bar from 0 to 1000.
    pub(crate) fn share_bar(self, name: &str) -> ProgressBar {
        self.bar(name, 1000, "{msg}  {bar:30}  {percent:>3} %  ETA {eta}")
    }

    fn bar(self, name: &str, length: u64, style: &str) -> ProgressBar {
        if self.quiet || self.json {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(style).expect("the templates are constants that tests try");
        let bar = ProgressBar::new(length).with_style(style.progress_chars("━╸ "));
        bar.with_message(truncate_str(&clean(name), 32, "…").into_owned())
    }

    fn document(self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from);
        self.line(&text.doing(|| "write the result".to_owned())?)
    }

    /// Prints a text, even with `--quiet`.
    pub(crate) fn line(self, text: &str) -> Result<()> {
        let mut out = stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).doing(|| "write to standard output".to_owned())
    }
}

/// Lines of columns two spaces apart; the first column is truncated if the terminal is too narrow.
fn layout<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>, width: Option<usize>) -> Vec<String> {
    let right = headings.map(|heading| heading.starts_with('>'));
    let headings = headings.map(|heading| heading.trim_start_matches('>').to_owned());
    let mut widths = [0; N];
    for row in std::iter::once(&headings).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = measure_text_width(cell).max(*width);
        }
    }
    if let Some(width) = width {
        let others: usize = widths[1..].iter().map(|column| column + 2).sum();
        widths[0] = widths[0].min(width.saturating_sub(others).max(12));
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().enumerate().map(|(index, cell)| {
            let cell = truncate_str(cell, widths[index], "…");
            let space = " ".repeat(widths[index].saturating_sub(measure_text_width(&cell)));
            if right[index] { format!("{space}{cell}") } else { format!("{cell}{space}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(&headings).chain(&rows).map(line).collect()
}

/// Replaces control characters, with which names from other users could manipulate the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `12.3 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be rounded to 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 file`, `2 files`.
pub(crate) fn counted(count: impl Into<i128>, noun: &str) -> String {
    let count = count.into();
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// `1.2 ms`, `3.4 s`, `5 min 06 s`, `2 h 03 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{:.1} ms", duration.as_secs_f64() * 1000.0),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// `just now`, `5 min ago`, `3 h ago`, then the local date and time.
pub(crate) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (now - at).num_seconds() {
        // A clock that runs slightly behind must not show a time in the future.
        -60..45 => "just now".to_owned(),
        seconds @ 45..3600 => format!("{} min ago", (seconds + 30) / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => at.with_timezone(&Local).format("%Y-%m-%d %H:%M").to_string(),
    }
}

/// `2035-11-20`.
pub(crate) fn date(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(|| format!("Unix time {seconds}"), |at| at.format("%Y-%m-%d").to_string())
}

/// Adds the progress to a state of work: `processing 43 %`.
pub(crate) fn with_progress(state: &str, progress: Option<f32>) -> String {
    match progress {
        Some(share) if matches!(state, "processing" | "running") => format!("{state} {:.0} %", share * 100.0),
        _ => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_have_binary_units() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (12_900_000, "12.3 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn one_of_a_kind_has_no_plural() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "file")), ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn durations_and_ages_are_rounded_for_people() {
        for (micros, text) in [
            (1234, "1.2 ms"),
            (3_400_000, "3.4 s"),
            (306_000_000, "5 min 06 s"),
            (7_380_000_000, "2 h 03 min"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
        let now = Utc::now();
        let before = |seconds| ago(now - chrono::TimeDelta::seconds(seconds), now);
        assert_eq!(before(-30), "just now");
        assert_eq!(before(50), "1 min ago");
        assert_eq!(before(7300), "2 h ago");
        assert_eq!(before(90_000).len(), "2026-01-01 00:00".len());
    }

    #[test]
    fn tables_align_numbers_right_and_fit() {
        let rows = vec![
            ["a name that is rather long".to_owned(), "1 B".to_owned(), "ready".to_owned()],
            ["b".to_owned(), "10.0 MiB".to_owned(), "waiting".to_owned()],
        ];
        let lines = layout(["NAME", ">SIZE", "STATE"], rows.clone(), Some(36));
        assert_eq!(lines[0], "NAME                   SIZE  STATE");
        assert_eq!(lines[1], "a name that is r…       1 B  ready");
        assert_eq!(lines[2], "b                  10.0 MiB  waiting");
        let wide = layout(["NAME", ">SIZE", "STATE"], rows, None);
        assert!(wide[1].starts_with("a name that is rather long"));
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(clean("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }

    #[test]
    fn bars_have_valid_templates() {
        let output = Output { json: false, quiet: false, colour: false };
        output.bytes_bar("film.mkv", 10).finish_and_clear();
        output.share_bar("film.mkv").finish_and_clear();
    }

    #[test]
    fn progress_is_shown_only_for_work_in_progress() {
        assert_eq!(with_progress("processing", Some(0.426)), "processing 43 %");
        assert_eq!(with_progress("ready", Some(1.0)), "ready");
    }
}
