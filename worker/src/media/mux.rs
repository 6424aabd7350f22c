//! The output file: one MP4 with its index in front, on a clock that starts at zero.

use std::path::Path;

use ffmpeg_next as ff;

use super::{MediaError, ffi};

/// Writes packets of all tracks; owns the rule that decode times of a track only grow.
pub(super) struct Muxer {
    output: ff::format::context::Output,
    tracks: Vec<Clock>,
    /// Seconds written so far, of the track that is furthest.
    written: f64,
    pictures: u64,
}

/// Where a track is.
struct Clock {
    time_base: ff::Rational,
    last_dts: Option<i64>,
    is_video: bool,
    packets: u64,
}

impl Muxer {
    pub(super) fn create(path: &Path) -> Result<Self, MediaError> {
        let output = ff::format::output_as(path, "mp4")
            .map_err(|error| MediaError::output("create the output", error))?;
        Ok(Self { output, tracks: Vec::new(), written: 0.0, pictures: 0 })
    }

    /// The title is the only thing taken over from the container: cameras also write places and owners there.
    pub(super) fn set_title(&mut self, title: Option<&str>) {
        if let Some(title) = title {
            let mut metadata = ff::Dictionary::new();
            metadata.set("title", title);
            self.output.set_metadata(metadata);
        }
    }

    /// Adds a track whose packets come as they are; its index.
    pub(super) fn add_copy(
        &mut self,
        parameters: ff::codec::Parameters,
        time_base: ff::Rational,
        language: Option<&str>,
        display_matrix: Option<&[u8]>,
    ) -> Result<usize, MediaError> {
        let is_video = parameters.medium() == ff::media::Type::Video;
        let mut stream = self.output.add_stream(ff::codec::Id::None).map_err(add_failed)?;
        stream.set_parameters(parameters);
        ffi::clear_tag(&mut stream);
        if let Some(matrix) = display_matrix {
            ffi::set_display_matrix(&mut stream, matrix);
        }
        describe(&mut stream, time_base, language);
        Ok(self.track(is_video))
    }

    /// Adds a track that an open encoder feeds; its index.
    pub(super) fn add_encoder(
        &mut self,
        encoder: &ff::codec::Context,
        time_base: ff::Rational,
        language: Option<&str>,
    ) -> Result<usize, MediaError> {
        let is_video = encoder.medium() == ff::media::Type::Video;
        let mut stream = self.output.add_stream_with(encoder).map_err(add_failed)?;
        if is_video {
            stream.set_avg_frame_rate(encoder.frame_rate());
        }
        describe(&mut stream, time_base, language);
        Ok(self.track(is_video))
    }

    fn track(&mut self, is_video: bool) -> usize {
        let time_base = ff::Rational(1, 1);
        self.tracks.push(Clock { time_base, last_dts: None, is_video, packets: 0 });
        self.tracks.len() - 1
    }

    /// Writes the header; no track can be added after it.
    pub(super) fn start(&mut self) -> Result<(), MediaError> {
        let mut options = ff::Dictionary::new();
        options.set("movflags", "+faststart");
        self.output
            .write_header_with(options)
            .map_err(|error| MediaError::output("write the header", error))?;
        // The muxer may have chosen finer clocks than asked for.
        for (clock, stream) in self.tracks.iter_mut().zip(self.output.streams()) {
            clock.time_base = stream.time_base();
        }
        Ok(())
    }

    /// Writes one packet of a track, its times counted in `time_base`.
    pub(super) fn write(
        &mut self,
        track: usize,
        mut packet: ff::Packet,
        time_base: ff::Rational,
    ) -> Result<(), MediaError> {
        let clock = &mut self.tracks[track];
        packet.rescale_ts(time_base, clock.time_base);
        let next = clock.last_dts.map(|last| last + 1);
        let dts = packet.dts().or(packet.pts()).or(next).unwrap_or(0);
        // Damaged input may step back in time; the container cannot.
        let dts = next.map_or(dts, |next| dts.max(next));
        let pts = packet.pts().map_or(dts, |pts| pts.max(dts));
        packet.set_dts(Some(dts));
        packet.set_pts(Some(pts));
        packet.set_stream(track);
        packet.set_position(-1);
        clock.last_dts = Some(dts);
        clock.packets += 1;
        self.pictures += u64::from(clock.is_video);
        let end = (pts + packet.duration()) as f64 * f64::from(clock.time_base);
        self.written = self.written.max(end);
        packet
            .write_interleaved(&mut self.output)
            .map_err(|error| MediaError::output("write the output", error))
    }

    /// Seconds written so far.
    pub(super) fn written(&self) -> f64 {
        self.written
    }

    /// Pictures written so far.
    pub(super) fn pictures(&self) -> u64 {
        self.pictures
    }

    /// Packets written to a track.
    pub(super) fn packets(&self, track: usize) -> u64 {
        self.tracks[track].packets
    }

    /// Writes the index and moves it to the front, which rewrites the file once.
    pub(super) fn finish(mut self) -> Result<(), MediaError> {
        self.output.write_trailer().map_err(|error| MediaError::output("finish the output", error))
    }
}

fn describe(stream: &mut ff::StreamMut<'_>, time_base: ff::Rational, language: Option<&str>) {
    stream.set_time_base(time_base);
    if let Some(language) = language {
        let mut metadata = ff::Dictionary::new();
        metadata.set("language", language);
        stream.set_metadata(metadata);
    }
}

fn add_failed(error: ff::Error) -> MediaError {
    MediaError::output("add a track to the output", error)
}
