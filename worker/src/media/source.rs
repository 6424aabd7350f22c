//! Reads the packets of a file on one clock, past damage.

use std::collections::VecDeque;

use ffmpeg_next as ff;

use super::error::MediaError;
use super::input::Input;
use super::open;
use super::probe::{self, Probe};
use super::timeline::Timeline;

/// Unreadable packets in a row after which the rest of the file is skipped.
const MAX_BAD_READS: u32 = 1_000;

/// An open file. All that read it see the same packets at the same times.
pub(super) struct Source {
    input: ff::format::context::Input,
    timeline: Timeline,
    ready: VecDeque<ff::Packet>,
    is_over: bool,
    unreadable: u64,
    /// Place of the last packet in the file.
    position: u64,
}

impl Source {
    pub(super) fn open(input: &Input) -> Result<(Self, Probe), MediaError> {
        let input = open::open(input)?;
        let probe = probe::probe(&input)?;
        let timeline = Timeline::new(&input, &probe);
        let source =
            Self { input, timeline, ready: VecDeque::new(), is_over: false, unreadable: 0, position: 0 };
        Ok((source, probe))
    }

    pub(super) fn input(&self) -> &ff::format::context::Input {
        &self.input
    }

    pub(super) fn stream(&self, index: usize) -> Result<ff::Stream<'_>, MediaError> {
        self.input.stream(index).ok_or_else(|| MediaError::permanent(format!("stream {index} vanished")))
    }

    /// Seeks before the first packet is read.
    pub(super) fn seek(&mut self, seconds: f64) -> Result<(), MediaError> {
        let position = super::clock::ticks(seconds, ff::Rational(1, ff::ffi::AV_TIME_BASE));
        self.input.seek(position, ..position).map_err(|error| MediaError::input("seek", error))
    }

    /// The next packet of a used stream; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<ff::Packet>, MediaError> {
        let mut in_a_row = 0;
        while self.ready.is_empty() && !self.is_over {
            let mut packet = ff::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) => {
                    in_a_row = 0;
                    self.position = self.position.max(u64::try_from(packet.position()).unwrap_or(0));
                    self.timeline.push(packet, &mut self.ready);
                }
                Err(ff::Error::Other { errno: ff::error::ENOMEM }) => {
                    return Err(MediaError::transient("out of memory while reading the file"));
                }
                Err(error) => {
                    // Demuxers resynchronise after damage. One that reports only errors has reached its end.
                    in_a_row += 1;
                    self.unreadable += u64::from(error != ff::Error::Eof);
                    self.is_over = error != ff::Error::InvalidData || in_a_row > MAX_BAD_READS;
                    if self.is_over {
                        self.timeline.flush(&mut self.ready);
                    }
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Bytes of the file up to the last packet.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Reads to the end; answers the second at which the file ends, on the clock of the file.
    pub(super) fn find_end(&mut self, mut tick: impl FnMut()) -> Result<f64, MediaError> {
        while self.next()?.is_some() {
            tick();
        }
        Ok(self.timeline.end())
    }

    /// Whether the times jumped, so that the length that the container names means nothing.
    pub(super) fn has_jumped(&self) -> bool {
        self.timeline.jumps() > 0
    }

    /// Whether parts of the file are missing.
    pub(super) fn is_damaged(&self) -> bool {
        self.unreadable > 0 || self.timeline.missing() > 0.0
    }

    /// The damage that was found, as sentences for people.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let damaged = self.unreadable + self.timeline.dropped();
        if damaged > 0 {
            warnings.push(format!("the file is damaged: {damaged} packets were skipped"));
        }
        if self.timeline.jumps() > 0 {
            let times = self.timeline.jumps();
            warnings.push(format!(
                "the times in the recording begin anew or jump ({times} times); its parts follow each other"
            ));
        }
        if self.timeline.missing() > 0.0 {
            warnings.push(format!("the file is damaged: {:.1} s of it are missing", self.timeline.missing()));
        }
        warnings
    }
}
