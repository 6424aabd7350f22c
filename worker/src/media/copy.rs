//! A stream whose packets are copied into the output unchanged.

use ffmpeg_next as ff;

use super::clock::ticks;
use super::error::MediaError;
use super::mux::{Muxer, Sink};
use super::probe::Stream;

/// Pictures held back at the start until the first decode time is known. Matroska stores no decode times and
/// libav derives them only after some pictures; no codec reorders more than these.
const MAX_HELD: usize = 32;

/// Copies packets and moves their times to the output's clock.
pub(super) struct CopiedTrack {
    track: usize,
    time_base: ff::Rational,
    offset: i64,
    is_video: bool,
    /// Packets before the first key frame are dropped, since no decoder can start there.
    awaits_key: bool,
    /// Duration of packets for which the container names none.
    usual_duration: i64,
    /// Pictures held back until the first decode time is known.
    held: Vec<ff::Packet>,
    has_dts: bool,
}

impl CopiedTrack {
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
            offset: ticks(start, time_base),
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

    /// Writes the pictures that are still held back, which only very short streams have.
    pub(super) fn finish(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        self.release(None, muxer)
    }

    /// Writes the held pictures. Their decode times count down from the first known one or, without one, from
    /// the earliest presentation time among them.
    fn release(&mut self, known: Option<i64>, muxer: &mut Muxer) -> Result<(), MediaError> {
        self.has_dts = true;
        let step = self.usual_duration.max(1);
        let first_shown = self.held.iter().filter_map(ff::Packet::pts).min();
        let Some(end) = known.or(first_shown) else {
            return Ok(());
        };
        let count = self.held.len() as i64;
        for (index, mut packet) in (0_i64..).zip(std::mem::take(&mut self.held)) {
            packet.set_dts(Some(end - (count - index) * step));
            muxer.write(self.track, packet, self.time_base)?;
        }
        Ok(())
    }

    pub(super) fn track(&self) -> usize {
        self.track
    }
}
