//! One chunk of a film in several sizes, from one decode.

mod rung;

use std::path::Path;

use ff::{Rescale, frame};
use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

use super::clock::ticks;
use super::decoder::Decoder;
use super::error::MediaError;
use super::ffi;
use super::filter::Filters;
use super::hardware::{self, Method};
use super::input::Input;
use super::piece::Piece;
use super::probe::Stream;
use super::progress::{Meter, Progress};
use super::shape;
use super::source::Source;
use super::video::{self, TIME_BASE};
use rung::Rung;

/// Seconds between key frames, at the same moments in all variants, so that players switch between them.
const KEY_FRAME_SECONDS: i64 = 2;
/// Fragments begin at key frames; times stay those of the film.
const FRAGMENTS: [(&str, &str); 1] =
    [("movflags", "+frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer")];
/// Seconds before the chunk at which decoding begins: the next is tried when the key frame that was found lies
/// behind the start of the chunk. The last one is the start of the film.
const MARGINS: [f64; 4] = [0.0, 10.0, 60.0, f64::INFINITY];

/// A part of a film.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Place in the film, from 0.
    pub n: u32,
    /// First second.
    pub from: f64,
    /// Second after the last; `None`: the end of the film.
    pub to: Option<f64>,
}

/// A size to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Name of the variant.
    pub name: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Most bits a second.
    pub maxrate: u32,
}

/// A chunk in these sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChunkTask {
    /// The part of the film.
    pub chunk: Span,
    /// The sizes.
    pub variants: Vec<Size>,
    /// How the pictures of the film are made.
    #[serde(default)]
    pub method: Method,
}

/// Writes the chunk beside `output`; one piece for each size.
pub(super) fn encode(
    input: &Input,
    folder: &Path,
    task: &ChunkTask,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Piece>, MediaError> {
    for margin in MARGINS {
        let mut attempt = Ladder::open(input, folder, task, margin)?;
        if let Some(pieces) = attempt.run(report)? {
            return Ok(pieces);
        }
    }
    if task.chunk.n == 0 {
        return Err(MediaError::permanent(
            "no picture could be decoded: the file is damaged or cut off at its start",
        ));
    }
    // A film with a damaged part goes on after it.
    Ladder::open(input, folder, task, 0.0)?.blank()
}

struct Ladder<'a> {
    task: &'a ChunkTask,
    source: Source,
    stream: Stream,
    rate: ff::Rational,
    decoder: Decoder,
    /// The filters before the sizes part.
    common: Filters<shape::Format>,
    rungs: Vec<Rung>,
    input_time_base: ff::Rational,
    offset: i64,
    /// On the clock of the encoders.
    from: i64,
    to: Option<i64>,
    /// Whether decoding began at or before the start of the chunk.
    is_covered: bool,
    /// Time of the next picture on the clock of the input, if it has none of its own.
    next_pts: i64,
    frames: u64,
}

impl<'a> Ladder<'a> {
    fn open(input: &Input, folder: &Path, task: &'a ChunkTask, margin: f64) -> Result<Self, MediaError> {
        let (mut source, probe) = Source::open(input)?;
        let stream = probe.video.ok_or_else(|| MediaError::permanent("the file holds no video"))?;
        let begin = task.chunk.from - margin;
        if begin > 0.0 {
            source.seek(begin + probe.start)?;
        }
        let input_stream = source.stream(stream.index)?;
        let device = hardware::decoding_device().filter(|_| task.method.hardware_decode);
        let decoder = Decoder::open_on(&input_stream, device)?;
        let input_time_base = input_stream.time_base();
        let rate = shape::output_rate(&stream);
        let by = task.method.encoder;
        let rungs =
            task.variants.iter().map(|size| Rung::open(folder, task.chunk.n, size, &stream, rate, by));
        let rungs = rungs.collect::<Result<_, _>>()?;
        let clock = |seconds: f64| ticks(seconds, TIME_BASE);
        Ok(Self {
            task,
            offset: ticks(probe.start, input_time_base),
            rungs,
            decoder,
            common: Filters::new(),
            input_time_base,
            rate,
            from: clock(task.chunk.from),
            to: task.chunk.to.map(clock),
            is_covered: begin <= 0.0,
            next_pts: 0,
            frames: 0,
            source,
            stream,
        })
    }

    /// `None` when decoding began behind the start of the chunk.
    fn run(&mut self, report: &mut (dyn FnMut(Progress) + Send)) -> Result<Option<Vec<Piece>>, MediaError> {
        let seconds = self.task.chunk.to.map(|to| to - self.task.chunk.from);
        let mut meter = Meter::new("transcode".into(), report);
        let mut frame = frame::Video::empty();
        let mut is_over = false;
        while !is_over {
            let packet = self.next_packet()?;
            is_over = packet.is_none();
            self.decoder.send(packet.as_ref());
            while self.decoder.receive(&mut frame) {
                match self.place(&frame) {
                    Place::Before => {}
                    Place::Missed => return Ok(None),
                    Place::Within(pts) => {
                        hardware::fetch(&mut frame)?;
                        frame.set_pts(Some(pts));
                        self.filter(Some(&frame))?;
                        let done =
                            (pts.rescale(self.input_time_base, TIME_BASE) - self.from) as f64 / 90_000.0;
                        meter.tick(self.frames, || seconds.map_or(0.0, |seconds| done / seconds));
                    }
                    Place::After => is_over = true,
                }
            }
        }
        self.filter(None)?;
        let rungs = std::mem::take(&mut self.rungs);
        let pieces = rungs.into_iter().map(|rung| rung.finish(self.task.chunk.n));
        let pieces: Vec<_> = pieces.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        Ok((!pieces.is_empty()).then_some(pieces))
    }

    /// A chunk of black pictures, for a part of which nothing can be decoded.
    fn blank(mut self) -> Result<Vec<Piece>, MediaError> {
        let step = ticks(1.0 / f64::from(self.rate), TIME_BASE).max(1);
        let to = self.to.unwrap_or(self.from + step);
        for rung in &mut self.rungs {
            let mut frame = rung.black();
            for pts in (self.from..to).step_by(usize::try_from(step).unwrap_or(1)) {
                rung.encode_picture(&mut frame, pts)?;
            }
            rung.end()?;
        }
        let n = self.task.chunk.n;
        let pieces = self.rungs.into_iter().map(|rung| rung.finish(n));
        Ok(pieces.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The next packet of the picture; `None` at the end of the file.
    fn next_packet(&mut self) -> Result<Option<ff::Packet>, MediaError> {
        while let Some(packet) = self.source.next()? {
            if packet.stream() == self.stream.index {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    fn place(&mut self, frame: &frame::Video) -> Place {
        // Streams without times are read from their start, so that each picture follows the one before.
        let pts = frame.timestamp().map_or(self.next_pts, |timestamp| timestamp - self.offset);
        self.next_pts = pts + ticks(1.0 / f64::from(self.stream.frame_rate), self.input_time_base);
        let film = pts.rescale(self.input_time_base, TIME_BASE);
        if self.to.is_some_and(|to| film >= to) {
            return Place::After;
        }
        if film < self.from {
            self.is_covered = true;
            return Place::Before;
        }
        // Without a picture before it, this one is the first of the chunk only if it lies at its very start.
        let step = ticks(1.0 / f64::from(self.rate), TIME_BASE);
        if !self.is_covered && film > self.from + step {
            return Place::Missed;
        }
        self.is_covered = true;
        self.frames += 1;
        Place::Within(pts)
    }

    fn filter(&mut self, frame: Option<&frame::Video>) -> Result<(), MediaError> {
        let Some(frame) = frame else {
            self.drain_common()?;
            return self.rungs.iter_mut().try_for_each(Rung::end);
        };
        let format = shape::Format::of(frame);
        if self.common.need_chain_for(&format) {
            self.drain_common()?;
            let filters = video::common_filters(&self.stream, self.rate);
            self.common.replace(format, video::chain(format, self.input_time_base, &filters)?);
        }
        self.common.send(Some(frame))?;
        self.pass_on()
    }

    fn drain_common(&mut self) -> Result<(), MediaError> {
        self.common.send(None)?;
        self.pass_on()
    }

    /// Moves what the common filters have ready to all sizes.
    fn pass_on(&mut self) -> Result<(), MediaError> {
        let mut frame = frame::Video::empty();
        while let Some(time_base) = self.common.receive(&mut frame)? {
            for rung in &mut self.rungs {
                let shared =
                    ffi::share(&frame).map_err(|error| MediaError::output("share a picture", error))?;
                rung.encode(&shared, time_base)?;
            }
        }
        Ok(())
    }
}

/// Where a picture lies.
enum Place {
    Before,
    /// Behind the start of the chunk, though none before it was seen.
    Missed,
    /// At this time on the clock of the input, counted from the start of the film.
    Within(i64),
    After,
}
