//! Takes pictures from a film at intervals, decoding key frames only.

use ff::frame;
use ffmpeg_next as ff;

use super::super::clock::ticks;
use super::super::decoder::Decoder;
use super::super::error::MediaError;
use super::super::ffi;
use super::super::input::Input;
use super::super::probe::{Probe, Stream};
use super::super::source::Source;
use super::poster;
use super::still::Still;

/// Pixels of the longer side of a small picture.
const LONGEST: u32 = 160;
/// Seconds between two pictures, at least.
const MIN_INTERVAL: f64 = 2.0;
/// Pictures of a film.
pub(super) const MAX_TILES: usize = 600;
/// Seconds from the start in which a poster is looked for where key frames are too rare.
const CLOSE_LOOK: f64 = 120.0;
/// Seconds between pictures that are looked at there.
const CLOSE_STEP: f64 = 1.0;

/// Small pictures, and the film's best picture with its score.
#[derive(Default)]
pub(super) struct Taken {
    /// Second and picture.
    pub(super) tiles: Vec<(f64, frame::Video)>,
    /// Seconds between two of them, at least.
    pub(super) interval: f64,
    pub(super) best: Option<(f64, frame::Video)>,
}

/// Takes pictures while a file is read.
pub(super) struct Stills {
    stream: usize,
    decoder: Decoder,
    still: Still,
    clock: Clock,
    duration: Option<f64>,
    /// Whether all packets are decoded.
    is_close: bool,
    /// Second from which the next picture is taken.
    due: f64,
    taken: Taken,
    frame: frame::Video,
}

/// Seconds of packets and pictures from the start of the film.
struct Clock {
    time_base: ff::Rational,
    offset: i64,
    /// Seconds between pictures.
    step: f64,
    /// Packets so far, for streams without times.
    packets: u64,
}

impl Stills {
    /// `None` when the file has no picture.
    pub(super) fn open(source: &Source, probe: &Probe) -> Result<Option<Self>, MediaError> {
        Self::open_as(source, probe, false)
    }

    fn open_as(source: &Source, probe: &Probe, is_close: bool) -> Result<Option<Self>, MediaError> {
        let Some(stream) = &probe.video else { return Ok(None) };
        let input = source.stream(stream.index)?;
        let decoder = if is_close { Decoder::open(&input)? } else { Decoder::open_key_frames(&input)? };
        let interval = probe.duration.map_or(MIN_INTERVAL, |duration| duration / MAX_TILES as f64);
        Ok(Some(Self {
            stream: stream.index,
            decoder,
            still: Still::new(stream, LONGEST),
            clock: Clock::new(&input, stream, probe.start),
            duration: probe.duration,
            is_close,
            due: 0.0,
            taken: Taken {
                interval: if is_close { CLOSE_STEP } else { interval.max(MIN_INTERVAL) },
                ..Taken::default()
            },
            frame: frame::Video::empty(),
        }))
    }

    /// Takes the picture of a packet if it is one of this stream, a key frame, and due.
    pub(super) fn packet(&mut self, packet: &ff::Packet) -> Result<(), MediaError> {
        if packet.stream() != self.stream {
            return Ok(());
        }
        let seconds = self.clock.tick(packet);
        if !self.is_close && (!packet.is_key() || packet.is_corrupt() || seconds < self.due) {
            return Ok(());
        }
        if !self.is_close {
            self.due =
                (seconds / self.taken.interval).floor().max(0.0) * self.taken.interval + self.taken.interval;
        }
        let mut timed = packet.clone();
        timed.set_pts(Some(self.clock.ticks(seconds)));
        self.decoder.send(Some(&timed));
        self.receive()
    }

    fn receive(&mut self) -> Result<(), MediaError> {
        while self.decoder.receive(&mut self.frame) {
            let seconds = self.frame.timestamp().map_or(0.0, |ticks| self.clock.seconds(ticks)).max(0.0);
            if self.is_close {
                if seconds < self.due {
                    continue;
                }
                self.due = seconds + CLOSE_STEP;
            }
            // The filters take the picture away.
            let kept = shared(&self.frame)?;
            let tile = self.still.render(&self.frame)?;
            let place = self.duration.map(|duration| seconds / duration);
            let score = poster::score(&tile, place);
            if self.taken.best.as_ref().is_none_or(|(best, _)| score > *best) {
                self.taken.best = Some((score, kept));
            }
            self.taken.tiles.push((seconds, tile));
            self.taken.thin();
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Taken, MediaError> {
        self.decoder.send(None);
        self.receive()?;
        self.taken.tiles.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Ok(self.taken)
    }
}

impl Taken {
    /// Drops every second picture of a film that is longer than its container says.
    fn thin(&mut self) {
        if self.tiles.len() > MAX_TILES {
            let mut n = 0;
            self.tiles.retain(|_| {
                n += 1;
                n % 2 == 1
            });
            self.interval *= 2.0;
        }
    }
}

impl Clock {
    fn new(input: &ff::Stream<'_>, stream: &Stream, start: f64) -> Self {
        let time_base = input.time_base();
        let step = f64::from(stream.frame_rate.invert());
        Self { time_base, offset: ticks(start, time_base), step, packets: 0 }
    }

    /// The second of the next packet.
    fn tick(&mut self, packet: &ff::Packet) -> f64 {
        self.packets += 1;
        let by_number = (self.packets - 1) as f64 * self.step;
        packet.pts().or(packet.dts()).map_or(by_number, |ticks| self.seconds(ticks))
    }

    fn seconds(&self, ticks: i64) -> f64 {
        (ticks - self.offset) as f64 * f64::from(self.time_base)
    }

    fn ticks(&self, seconds: f64) -> i64 {
        ticks(seconds, self.time_base) + self.offset
    }
}

/// The best picture of the first minutes with its score, from all pictures and not key frames alone.
pub(super) fn look_closely(
    input: &Input,
    mut tick: impl FnMut(),
) -> Result<Option<(f64, frame::Video)>, MediaError> {
    let (mut source, probe) = Source::open(input)?;
    let Some(mut stills) = Stills::open_as(&source, &probe, true)? else { return Ok(None) };
    while let Some(packet) = source.next()? {
        stills.packet(&packet)?;
        // Only the best one is kept.
        stills.taken.tiles.clear();
        tick();
        let is_found = stills.taken.best.as_ref().is_some_and(|(score, _)| *score >= poster::GOOD);
        if stills.due > CLOSE_LOOK || is_found {
            break;
        }
    }
    Ok(stills.finish()?.best)
}

fn shared(frame: &frame::Video) -> Result<frame::Video, MediaError> {
    ffi::share(frame).map_err(|error| MediaError::output("keep a picture", error))
}
