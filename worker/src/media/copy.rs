//! A stream whose packets go into the output bit by bit.

use ffmpeg_next as ff;

use super::MediaError;
use super::mux::Muxer;
use super::probe::Stream;

/// Matroska has no decode times and libav can only guess them after the first few pictures; no codec delays more.
const MAX_HELD: usize = 32;

/// Copies packets, moved onto the output's clock.
pub(super) struct Copy {
    track: usize,
    time_base: ff::Rational,
    offset: i64,
    is_video: bool,
    /// A picture can only start at a key frame.
    awaits_key: bool,
    /// For the packets whose container does not say how long they last.
    usual_duration: i64,
    /// Pictures at the start that wait for the first known decode time.
    held: Vec<ff::Packet>,
    has_dts: bool,
}

impl Copy {
    pub(super) fn new(
        input: &ff::Stream<'_>,
        stream: &Stream,
        start: f64,
        muxer: &mut Muxer,
    ) -> Result<Self, MediaError> {
        let parameters = input.parameters();
        let is_video = parameters.medium() == ff::media::Type::Video;
        let time_base = input.time_base();
        let frame = f64::from(stream.frame_rate.invert()) / f64::from(time_base);
        let matrix = stream.display_matrix.as_deref();
        let track = muxer.add_copy(parameters, time_base, stream.language.as_deref(), matrix)?;
        Ok(Self {
            track,
            time_base,
            offset: super::clock::ticks(start, time_base),
            is_video,
            awaits_key: is_video,
            usual_duration: if is_video { frame.round() as i64 } else { 0 },
            held: Vec::new(),
            has_dts: false,
        })
    }

    pub(super) fn packet(&mut self, mut packet: ff::Packet, muxer: &mut Muxer) -> Result<(), MediaError> {
        if self.awaits_key && !packet.is_key() {
            return Ok(());
        }
        self.awaits_key = false;
        packet.set_pts(packet.pts().map(|pts| pts - self.offset));
        packet.set_dts(packet.dts().map(|dts| dts - self.offset));
        if packet.duration() == 0 {
            packet.set_duration(self.usual_duration);
        }
        if self.is_video && !self.has_dts {
            if packet.dts().is_none() && self.held.len() < MAX_HELD {
                self.held.push(packet);
                return Ok(());
            }
            self.release(packet.dts(), muxer)?;
        }
        muxer.write(self.track, packet, self.time_base)
    }

    /// Writes what is still held; only streams of a few pictures get here with anything.
    pub(super) fn finish(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        self.release(None, muxer)
    }

    /// Gives the held pictures decode times that count down from the first known one, or, when there is none,
    /// from the earliest moment that any of them is shown.
    fn release(&mut self, known: Option<i64>, muxer: &mut Muxer) -> Result<(), MediaError> {
        self.has_dts = true;
        let step = self.usual_duration.max(1);
        let first_shown = self.held.iter().filter_map(ff::Packet::pts).min();
        let Some(end) = known.or(first_shown) else {
            return Ok(());
        };
        let count = self.held.len() as i64;
        for (place, mut packet) in (0_i64..).zip(std::mem::take(&mut self.held)) {
            packet.set_dts(Some(end - (count - place) * step));
            muxer.write(self.track, packet, self.time_base)?;
        }
        Ok(())
    }

    pub(super) fn track(&self) -> usize {
        self.track
    }
}
