//! How far uploads are: bars at a terminal, else a line from time to time, or one JSON document per event.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar};
use serde_json::{Value, json};

use super::source::Source;
use crate::error::Result;
use crate::output::{Output, bytes, clean, duration};

/// How often bars and events are brought up to date.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// How often a line is written where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// The time over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(15);

/// Where progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Bars,
    Lines,
    Events,
    Nothing,
}

/// The progress of all files of one command.
#[derive(Debug)]
pub(super) struct Progress {
    output: Output,
    form: Form,
    bars: MultiProgress,
    all: Option<ProgressBar>,
    totals: Arc<Totals>,
    rate: RefCell<Rate>,
    line_at: Cell<Instant>,
}

#[derive(Debug)]
struct Totals {
    files: usize,
    size: u64,
    /// Bytes that are at the gateway, of all files.
    position: AtomicU64,
    /// Bytes sent by this command.
    sent: AtomicU64,
}

/// The progress of one file.
#[derive(Debug)]
pub(super) struct Meter {
    bar: ProgressBar,
    size: u64,
    /// Bytes that are at the gateway or on their way.
    position: AtomicU64,
    /// Bytes that the gateway says it has.
    confirmed: AtomicU64,
    /// Bytes sent by this command.
    sent: AtomicU64,
    totals: Arc<Totals>,
}

impl Meter {
    fn new(bar: ProgressBar, size: u64, totals: Arc<Totals>) -> Self {
        let [position, confirmed, sent] = [0; 3].map(AtomicU64::new);
        Self { bar, size, position, confirmed, sent, totals }
    }

    /// The gateway has the bytes up to here.
    pub(super) fn at(&self, offset: u64) {
        self.confirmed.store(offset, Ordering::Relaxed);
        self.show(offset);
    }

    fn show(&self, offset: u64) {
        let before = self.position.swap(offset, Ordering::Relaxed);
        // Wraps for an offset that goes back, which is the difference all the same.
        self.totals.position.fetch_add(offset.wrapping_sub(before), Ordering::Relaxed);
        self.bar.set_position(offset);
    }

    /// The bytes up to here are on their way.
    pub(super) fn sent(&self, offset: u64) {
        let step = offset.saturating_sub(self.position());
        self.sent.fetch_add(step, Ordering::Relaxed);
        self.totals.sent.fetch_add(step, Ordering::Relaxed);
        self.show(offset);
    }

    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Bytes of the file that this command has sent.
    pub(super) fn sent_here(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// The file needs no more attention; all of it counts as done, whether it was sent or refused.
    pub(super) fn finish(&self) {
        self.show(self.size);
        self.bar.finish_and_clear();
    }
}

impl Progress {
    pub(super) fn new(output: Output, with_events: bool, files: &[Source]) -> Self {
        let form = match () {
            () if output.json => {
                if with_events {
                    Form::Events
                } else {
                    Form::Nothing
                }
            }
            () if output.quiet => Form::Nothing,
            () if stderr().is_terminal() => Form::Bars,
            () => Form::Lines,
        };
        let size = files.iter().map(|source| source.size).sum();
        let (position, sent) = (AtomicU64::new(0), AtomicU64::new(0));
        let totals = Arc::new(Totals { files: files.len(), size, position, sent });
        let bars = MultiProgress::new();
        let all = (form == Form::Bars && files.len() > 1)
            .then(|| bars.add(output.bytes_bar(&format!("{} files", files.len()), size)));
        let (rate, line_at) = (RefCell::default(), Cell::new(Instant::now()));
        Self { output, form, bars, all, totals, rate, line_at }
    }

    /// Begins to show a file.
    pub(super) fn meter(&self, source: &Source) -> Arc<Meter> {
        let bar = match self.form {
            Form::Bars => self.bars.insert(0, self.output.bytes_bar(&source.shown(), source.size)),
            _ => ProgressBar::hidden(),
        };
        self.event(|| json!({ "event": "started", "path": source.path, "name": source.shown(), "size": source.size }));
        Arc::new(Meter::new(bar, source.size, Arc::clone(&self.totals)))
    }

    /// Brings what is shown up to date; called once a second.
    pub(super) fn tick(&self) {
        let Totals { files, size, ref position, ref sent } = *self.totals;
        let position = position.load(Ordering::Relaxed);
        let now = Instant::now();
        let mut measured = self.rate.borrow_mut();
        measured.add(now, sent.load(Ordering::Relaxed));
        if let Some(all) = &self.all {
            all.set_position(position);
        }
        let rate = measured.per_second();
        let left = measured.time_for(size.saturating_sub(position));
        self.event(|| {
            let left = left.map(|left| left.as_secs());
            json!({ "event": "progress", "position": position, "size": size, "files": files,
                    "bytesPerSecond": rate, "secondsLeft": left })
        });
        if self.form == Form::Lines && now.duration_since(self.line_at.get()) >= LINE_INTERVAL {
            self.line_at.set(now);
            // If standard error is closed, the line is lost.
            let _ = writeln!(stderr(), "{}", line(position, size, rate, left));
        }
    }

    /// Prints a line of the result above the bars.
    pub(super) fn message(&self, text: &str) -> Result<()> {
        self.bars.suspend(|| self.output.message(text))
    }

    /// Says why a file does not go on now.
    pub(super) fn waiting(&self, source: &Source, reason: &str, delay: Duration) {
        let name = clean(&source.shown());
        let seconds = delay.as_secs().max(1);
        self.bars.suspend(|| {
            self.output.note(&format!("{name}: {}; trying again in {seconds} s", clean(reason)));
        });
        self.event(
            || json!({ "event": "waiting", "path": source.path, "reason": reason, "seconds": seconds }),
        );
    }

    /// Prints an event, where they are wanted.
    pub(super) fn event(&self, event: impl FnOnce() -> Value) {
        if self.form == Form::Events {
            // A reader that is gone is found when the result is printed.
            let _ = self.output.line(&event().to_string());
        }
    }

    pub(super) fn has_events(&self) -> bool {
        self.form == Form::Events
    }

    pub(super) fn finish(&self) {
        if let Some(all) = &self.all {
            all.finish_and_clear();
        }
    }
}

/// `1.2 GiB of 4.0 GiB (30 %), 12.3 MiB/s, 4 min 10 s left`.
fn line(position: u64, size: u64, rate: u64, left: Option<Duration>) -> String {
    // Never 100 % before the end.
    let percent = if position < size { (position * 100 / size.max(1)).min(99) } else { 100 };
    let left = left.map_or_else(String::new, |left| format!(", {} left", duration(left)));
    format!("{} of {} ({percent} %), {}/s{left}", bytes(position), bytes(size), bytes(rate))
}

/// The rate of the last seconds: the mean since the beginning would hide that a line has become slow.
#[derive(Debug, Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn add(&mut self, now: Instant, sent: u64) {
        self.0.push_back((now, sent));
        while self.0.len() > 2 && self.0[1].0 + WINDOW <= now {
            self.0.pop_front();
        }
    }

    fn per_second(&self) -> u64 {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return 0 };
        let time = last.0.duration_since(first.0).as_secs_f64();
        if time > 0.0 { (last.1.saturating_sub(first.1) as f64 / time) as u64 } else { 0 }
    }

    /// `None` while it would be a guess.
    fn time_for(&self, left: u64) -> Option<Duration> {
        let rate = self.per_second();
        (rate > 0).then(|| Duration::from_secs(left / rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rate = Rate::default();
        let begin = Instant::now();
        assert_eq!((rate.per_second(), rate.time_for(1)), (0, None));
        for second in 0..=30 {
            let sent = if second <= 15 { second * 1000 } else { 15_000 + (second - 15) * 10 };
            rate.add(begin + Duration::from_secs(second), sent);
        }
        assert_eq!((rate.per_second(), rate.time_for(600)), (10, Some(Duration::from_secs(60))));
    }

    #[test]
    fn a_line_says_how_much_how_fast_and_how_long() {
        let left = Some(Duration::from_secs(250));
        let text = line(1 << 30, 4 << 30, 12 << 20, left);
        assert_eq!(text, "1.0 GiB of 4.0 GiB (25 %), 12.0 MiB/s, 4 min 10 s left");
        assert!(line(999, 1000, 0, None).contains("(99 %)"));
        assert!(line(0, 0, 0, None).contains("(100 %)"));
    }

    #[test]
    fn totals_follow_offsets_that_go_back() {
        let totals = Arc::new(Totals { files: 1, size: 10, position: 0.into(), sent: 0.into() });
        let meter = Meter::new(ProgressBar::hidden(), 10, Arc::clone(&totals));
        meter.at(3);
        meter.sent(7);
        meter.at(5);
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        assert_eq!((read(&totals.position), read(&totals.sent), meter.confirmed()), (5, 4, 5));
        meter.finish();
        assert_eq!(read(&totals.position), 10);
    }
}
