//! A stream whose packets are copied into the output unchanged.

use ffmpeg_next as ff;

use super::clock::ticks;
use super::error::MediaError;
use super::ffi;
use super::mux::{Label, Muxer, Shape, Sink};
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
    /// Packets that were left out.
    damaged: u64,
    /// Bytes of the length before each unit of H.264; 0 when there are none.
    length_size: usize,
    is_broken: bool,
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
        let shape = is_video.then_some(Shape {
            aspect: stream.parameters.aspect,
            display_matrix: stream.display_matrix.as_deref(),
        });
        let track = muxer.add_copy(parameters, time_base, Label::of(stream), shape)?;
        Ok(Self {
            track,
            time_base,
            offset: ticks(start, time_base),
            is_video,
            awaits_key: is_video,
            usual_duration: if is_video { frame.round() as i64 } else { 0 },
            held: Vec::new(),
            has_dts: false,
            damaged: 0,
            length_size: ffi::length_size(&input.parameters()),
            is_broken: false,
        })
    }

    pub(super) fn packet(&mut self, mut packet: ff::Packet, muxer: &mut Muxer) -> Result<(), MediaError> {
        // Players end at what they cannot decode; they go on after a gap.
        if packet.is_corrupt() {
            self.damaged += 1;
            return Ok(());
        }
        if self.length_size > 0 && !packet.data().is_some_and(|data| has_whole_units(data, self.length_size))
        {
            self.is_broken = true;
            return Ok(());
        }
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

    /// Number of packets that were left out because they are damaged.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Whether the content of a packet is noise, which only a decoder gets over.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    pub(super) fn track(&self) -> usize {
        self.track
    }
}

/// Whether a picture consists of units of H.264, each behind its length.
fn has_whole_units(mut data: &[u8], length_size: usize) -> bool {
    while !data.is_empty() {
        let Some((length, rest)) = data.split_at_checked(length_size) else { return false };
        let length = length.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte));
        let Some((unit, rest)) = rest.split_at_checked(length) else { return false };
        // The first bit is always 0, type 0 is not used.
        if unit.first().is_some_and(|first| first & 0x80 != 0 || first & 0x1f == 0) {
            return false;
        }
        data = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fill_their_picture() {
        let picture = [0, 0, 0, 2, 0x09, 0x10, 0, 0, 0, 3, 0x65, 0x88, 0x84];
        assert!(has_whole_units(&picture, 4) && has_whole_units(&[], 4));
        for broken in [&picture[..12], &[0, 0, 0, 2, 0x80, 0x10], &[0xff; 40], &[0, 0, 0, 1, 0]] {
            assert!(!has_whole_units(broken, 4), "{broken:x?}");
        }
    }
}
