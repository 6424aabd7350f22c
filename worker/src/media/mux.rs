//! The output file: an MP4 with its index in front, whose times start at zero.

use std::path::Path;

use ffmpeg_next as ff;

use super::chapter::Chapter;
use super::error::MediaError;
use super::ffi;
use super::probe::Stream;

/// Takes the packets of tracks.
pub(super) trait Sink {
    /// Takes a packet of a track, whose times count in `time_base`.
    fn write(&mut self, index: usize, packet: ff::Packet, time_base: ff::Rational) -> Result<(), MediaError>;
}

/// Writes the packets of all tracks, with strictly growing decode times in each track.
pub(super) struct Muxer {
    output: ff::format::context::Output,
    tracks: Vec<TrackState>,
    /// Seconds written so far, of the longest track.
    written: f64,
    pictures: u64,
}

/// Position of a track.
struct TrackState {
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

    /// Takes over the title, the chapters, and no other metadata: cameras also store locations and owners there.
    pub(super) fn describe(
        &mut self,
        input: &ff::format::context::Input,
        chapters: &[Chapter],
    ) -> Result<(), MediaError> {
        if let Some(title) = input.metadata().get("title") {
            let mut metadata = ff::Dictionary::new();
            metadata.set("title", title);
            self.output.set_metadata(metadata);
        }
        for (id, chapter) in (0_i64..).zip(chapters) {
            let [start, end] = [chapter.start, chapter.end].map(|seconds| (seconds * 1000.0).round() as i64);
            self.output
                .add_chapter(id, ff::Rational(1, 1000), start, end, &chapter.title)
                .map_err(|error| MediaError::output("add a chapter to the output", error))?;
        }
        Ok(())
    }

    /// Adds a track of copied packets; returns its index.
    pub(super) fn add_copy(
        &mut self,
        parameters: ff::codec::Parameters,
        time_base: ff::Rational,
        label: Label<'_>,
        shape: Option<Shape<'_>>,
    ) -> Result<usize, MediaError> {
        let is_video = parameters.medium() == ff::media::Type::Video;
        let mut stream = self.output.add_stream(ff::codec::Id::None).map_err(add_failed)?;
        stream.set_parameters(parameters);
        ffi::clear_tag(&mut stream);
        if let Some(Shape { aspect, display_matrix }) = shape {
            ffi::set_sample_aspect(&mut stream, aspect);
            if let Some(matrix) = display_matrix {
                ffi::set_display_matrix(&mut stream, matrix);
            }
        }
        describe(&mut stream, time_base, label);
        Ok(self.add_track(is_video))
    }

    /// Adds a track of an open encoder; returns its index.
    pub(super) fn add_encoder(
        &mut self,
        encoder: &ff::codec::Context,
        time_base: ff::Rational,
        label: Label<'_>,
    ) -> Result<usize, MediaError> {
        let is_video = encoder.medium() == ff::media::Type::Video;
        let mut stream = self.output.add_stream_with(encoder).map_err(add_failed)?;
        if is_video {
            stream.set_avg_frame_rate(encoder.frame_rate());
        }
        describe(&mut stream, time_base, label);
        Ok(self.add_track(is_video))
    }

    fn add_track(&mut self, is_video: bool) -> usize {
        // The real time base is known once the header is written.
        let time_base = ff::Rational(1, 1);
        self.tracks.push(TrackState { time_base, last_dts: None, is_video, packets: 0 });
        self.tracks.len() - 1
    }

    /// Writes the header; after it no track can be added.
    pub(super) fn start(&mut self) -> Result<(), MediaError> {
        let mut options = ff::Dictionary::new();
        options.set("movflags", "+faststart");
        self.output
            .write_header_with(options)
            .map_err(|error| MediaError::output("write the header", error))?;
        // The muxer may have chosen finer time bases than asked for.
        for (track, stream) in self.tracks.iter_mut().zip(self.output.streams()) {
            track.time_base = stream.time_base();
        }
        Ok(())
    }

    pub(super) fn written_seconds(&self) -> f64 {
        self.written
    }

    pub(super) fn pictures(&self) -> u64 {
        self.pictures
    }

    /// Number of packets written to a track.
    pub(super) fn packets(&self, index: usize) -> u64 {
        self.tracks[index].packets
    }

    /// Writes the index and moves it to the front, which rewrites the whole file.
    pub(super) fn finish(mut self) -> Result<(), MediaError> {
        self.output.write_trailer().map_err(|error| MediaError::output("finish the output", error))
    }
}

impl Sink for Muxer {
    fn write(
        &mut self,
        index: usize,
        mut packet: ff::Packet,
        time_base: ff::Rational,
    ) -> Result<(), MediaError> {
        let track = &mut self.tracks[index];
        packet.rescale_ts(time_base, track.time_base);
        let next = track.last_dts.map(|last| last + 1);
        let dts = packet.dts().or(packet.pts()).or(next).unwrap_or(0);
        // Damaged input may step back in time, which the container does not allow.
        let dts = next.map_or(dts, |next| dts.max(next));
        let pts = packet.pts().map_or(dts, |pts| pts.max(dts));
        packet.set_dts(Some(dts));
        packet.set_pts(Some(pts));
        packet.set_stream(index);
        packet.set_position(-1);
        track.last_dts = Some(dts);
        track.packets += 1;
        self.pictures += u64::from(track.is_video);
        let end = (pts + packet.duration()) as f64 * f64::from(track.time_base);
        self.written = self.written.max(end);
        packet
            .write_interleaved(&mut self.output)
            .map_err(|error| MediaError::output("write the output", error))
    }
}

/// Name of a track in players.
#[derive(Clone, Copy)]
pub(super) struct Label<'a> {
    /// ISO 639.
    pub(super) language: Option<&'a str>,
    pub(super) title: Option<&'a str>,
}

impl<'a> Label<'a> {
    pub(super) fn of(stream: &'a Stream) -> Self {
        Self { language: stream.language.as_deref(), title: stream.title.as_deref() }
    }
}

/// How players show a copied picture.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    /// Shape of the pixels.
    pub(super) aspect: ff::Rational,
    /// Rotation.
    pub(super) display_matrix: Option<&'a [u8]>,
}

fn describe(stream: &mut ff::StreamMut<'_>, time_base: ff::Rational, label: Label<'_>) {
    stream.set_time_base(time_base);
    let mut metadata = ff::Dictionary::new();
    let named = [("language", label.language), ("title", label.title), ("handler_name", label.title)];
    for (key, value) in named {
        if let Some(value) = value.filter(|value| !value.contains('\0')) {
            metadata.set(key, value);
        }
    }
    stream.set_metadata(metadata);
}

fn add_failed(error: ff::Error) -> MediaError {
    MediaError::output("add a track to the output", error)
}
