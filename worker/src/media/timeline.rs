//! One clock that goes on, whatever times the packets of a file have.
//!
//! Recordings that were joined begin anew at each joint; a receiver that lost the signal jumps by minutes. All streams
//! of such a file jump, though not in the same packet, because each has packets of its own before the joint. A packet
//! that jumps is held back until the next one of its stream confirms the jump; one that stays alone is damaged.

use std::collections::VecDeque;

use ffmpeg_next as ff;

use super::clock::ticks;
use super::probe::Probe;

/// Seconds by which a stream may step back, where times may jump, and elsewhere: less is rounding.
const MAX_STEP_BACK: (f64, f64) = (0.25, 1.0);
/// Seconds that may pass without a packet in any stream, in a container whose times may jump.
const MAX_GAP: f64 = 10.0;
/// Packets after a doubtful one before which no jump makes it whole: parsers are behind by so many.
const MAX_DOUBTFUL: usize = 3;
/// Seconds without a packet that are noted as a gap of a stream.
const GAP: f64 = 0.4;
/// Gaps of a stream that are noted.
const MAX_GAPS: usize = 1_000;

/// The clock of the streams of a probe.
pub(super) struct Timeline {
    /// By index of the stream; `None` for streams that are not used.
    tracks: Vec<Option<Track>>,
    may_jump: bool,
    /// The picture, if there is one, and the first sound.
    watched: Vec<usize>,
    is_sound_alone: bool,
    /// End of all that was passed on, in seconds.
    frontier: f64,
    /// Seconds that are added to the times since the last jump.
    shift: f64,
    jumps: usize,
    /// Packets that were dropped because their times are damaged.
    dropped: u64,
}

struct Track {
    time_base: ff::Rational,
    is_subtitle: bool,
    shift: f64,
    /// Time at which the next packet is expected, on the clock that goes on.
    expected: Option<f64>,
    /// Seconds, from and to, for which the stream has no packet.
    gaps: Vec<(f64, f64)>,
    /// A packet that jumps.
    jumping: Option<ff::Packet>,
    /// A packet that the demuxer calls damaged, and those after it. One that the demuxer calls so because the next part
    /// of the recording does not continue the stream is whole.
    doubtful: Vec<ff::Packet>,
}

impl Timeline {
    pub(super) fn new(input: &ff::format::context::Input, probe: &Probe) -> Self {
        let used = |index: usize| {
            let subtitle = probe.subtitles.iter().any(|stream| stream.index == index);
            let other = probe.video.iter().chain(&probe.audio).any(|stream| stream.index == index);
            (subtitle || other).then_some(subtitle)
        };
        let tracks = input.streams().map(|stream| {
            Some(Track {
                time_base: stream.time_base(),
                is_subtitle: used(stream.index())?,
                shift: 0.0,
                expected: None,
                gaps: Vec::new(),
                jumping: None,
                doubtful: Vec::new(),
            })
        });
        Self {
            tracks: tracks.collect(),
            may_jump: probe.may_jump,
            is_sound_alone: probe.video.is_none(),
            watched: probe.video.iter().chain(probe.audio.first()).map(|stream| stream.index).collect(),
            frontier: f64::NEG_INFINITY,
            shift: 0.0,
            jumps: 0,
            dropped: 0,
        }
    }

    /// Takes a packet and adds those that are ready; packets of unused streams vanish.
    pub(super) fn push(&mut self, packet: ff::Packet, ready: &mut VecDeque<ff::Packet>) {
        let index = packet.stream();
        let Some(track) = self.tracks.get_mut(index).and_then(Option::as_mut) else { return };
        if track.is_subtitle {
            // Subtitles are rare; they follow the clock of picture and sound.
            ready.push_back(shifted(packet, self.shift, track.time_base));
            return;
        }
        let Some(time) = track.time(&packet) else {
            ready.push_back(packet);
            return;
        };
        if track.expected.is_none() {
            track.shift = self.shift;
        }
        let jumps = track.jumps(time, self.frontier, self.may_jump);
        if jumps || track.doubtful.len() > MAX_DOUBTFUL {
            self.release(index, jumps, ready);
        }
        match (self.track(index).jumping.take(), jumps) {
            (None, false) => self.settle(packet, ready),
            (None, true) => self.track(index).jumping = Some(packet),
            (Some(held), _) => self.confirm(held, packet, time, jumps, ready),
        }
    }

    /// Adds what is still held back at the end of the file.
    pub(super) fn flush(&mut self, ready: &mut VecDeque<ff::Packet>) {
        for index in 0..self.tracks.len() {
            if self.tracks[index].is_none() {
                continue;
            }
            self.release(index, false, ready);
            self.dropped += u64::from(self.track(index).jumping.take().is_some());
        }
    }

    /// Whether `held` begins a new part of the recording; the packet after it tells.
    fn confirm(
        &mut self,
        held: ff::Packet,
        packet: ff::Packet,
        time: f64,
        jumps: bool,
        ready: &mut VecDeque<ff::Packet>,
    ) {
        let index = packet.stream();
        let began = self.track(index).time(&held).unwrap_or(time);
        let is_continued = (-MAX_STEP_BACK.1..MAX_GAP).contains(&(time - began));
        if is_continued && jumps {
            self.begin_part(index, &held, began);
            self.settle(held, ready);
            self.settle(packet, ready);
        } else if jumps {
            self.dropped += 1;
            self.track(index).jumping = Some(packet);
        } else {
            self.dropped += 1;
            self.settle(packet, ready);
        }
    }

    /// Moves a stream to the part of the recording in which `first` lies at second `began`: the one that another
    /// stream has entered already, or a new one at the end of all that was passed on.
    fn begin_part(&mut self, index: usize, first: &ff::Packet, began: f64) {
        let (shift, frontier) = (self.shift, self.frontier);
        let track = self.track(index);
        let expected = track.expected.unwrap_or(frontier);
        let in_entered = began + shift;
        let fits = track.shift != shift
            && (expected - MAX_STEP_BACK.1..expected.max(frontier) + MAX_GAP).contains(&in_entered);
        if !fits {
            let shown = first.pts().map_or(began, |pts| pts as f64 * f64::from(track.time_base));
            self.shift = frontier - shown;
            self.jumps += 1;
        }
        let shift = self.shift;
        self.track(index).shift = shift;
    }

    /// Passes a packet on, unless the demuxer doubts it.
    fn settle(&mut self, packet: ff::Packet, ready: &mut VecDeque<ff::Packet>) {
        let (index, frontier) = (packet.stream(), self.frontier);
        let track = self.track(index);
        let seconds = f64::from(track.time_base);
        let duration = packet.duration().max(0) as f64 * seconds;
        let Some(time) = track.time(&packet).map(|time| time + track.shift) else { return };
        if let Some(expected) = track.expected.filter(|expected| time > expected + GAP)
            && track.gaps.len() < MAX_GAPS
        {
            track.gaps.push((expected, time));
        }
        track.expected = Some(time + duration);
        let shown = packet.pts().map_or(time, |pts| pts as f64 * seconds + track.shift);
        self.frontier = frontier.max(shown + duration);
        let track = self.track(index);
        if packet.is_corrupt() || !track.doubtful.is_empty() {
            track.doubtful.push(packet);
        } else {
            self.pass(packet, ready);
        }
    }

    /// Passes doubtful packets on; before a jump they are whole.
    fn release(&mut self, index: usize, are_whole: bool, ready: &mut VecDeque<ff::Packet>) {
        for mut packet in std::mem::take(&mut self.track(index).doubtful) {
            if are_whole {
                packet.set_flags(packet.flags() & !ff::packet::Flags::CORRUPT);
            }
            self.pass(packet, ready);
        }
    }

    fn pass(&mut self, packet: ff::Packet, ready: &mut VecDeque<ff::Packet>) {
        let track = self.track(packet.stream());
        ready.push_back(shifted(packet, track.shift, track.time_base));
    }

    fn track(&mut self, index: usize) -> &mut Track {
        self.tracks[index].as_mut().expect("only packets of used streams are kept")
    }

    /// End of all that was passed on, in seconds.
    pub(super) fn end(&self) -> f64 {
        self.frontier
    }

    /// How often the times began anew or jumped.
    pub(super) fn jumps(&self) -> usize {
        self.jumps
    }

    /// Seconds for which there is neither picture nor sound. A picture alone may rest, and so may a sound.
    pub(super) fn missing(&self) -> f64 {
        let gaps = |index: &usize| {
            self.tracks[*index].as_ref().map(|track| track.gaps.as_slice()).unwrap_or_default()
        };
        match self.watched.as_slice() {
            [picture, sound] => {
                let both = gaps(picture)
                    .iter()
                    .flat_map(|one| gaps(sound).iter().map(|other| overlap(*one, *other)));
                both.sum()
            }
            [only] if self.is_sound_alone => gaps(only).iter().map(|(from, to)| to - from).sum(),
            _ => 0.0,
        }
    }

    /// Packets whose times are damaged.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Track {
    /// When the packet is decoded, in seconds on the clock of the file.
    fn time(&self, packet: &ff::Packet) -> Option<f64> {
        let time = packet.dts().or(packet.pts())?;
        Some(time as f64 * f64::from(self.time_base))
    }

    fn jumps(&self, time: f64, frontier: f64, may_jump: bool) -> bool {
        let time = time + self.shift;
        let Some(expected) = self.expected else { return false };
        let back = if may_jump { MAX_STEP_BACK.0 } else { MAX_STEP_BACK.1 };
        time < expected - back || may_jump && time > expected.max(frontier) + MAX_GAP
    }
}

fn overlap(one: (f64, f64), other: (f64, f64)) -> f64 {
    (one.1.min(other.1) - one.0.max(other.0)).max(0.0)
}

fn shifted(mut packet: ff::Packet, seconds: f64, time_base: ff::Rational) -> ff::Packet {
    if seconds != 0.0 {
        let shift = ticks(seconds, time_base);
        packet.set_pts(packet.pts().map(|pts| pts + shift));
        packet.set_dts(packet.dts().map(|dts| dts + shift));
    }
    packet
}
