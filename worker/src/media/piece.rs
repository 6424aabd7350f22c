//! A piece of one track as fragmented MP4, for adaptive streaming.

use std::path::{Path, PathBuf};

use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::MediaError;
use super::fragment::{self, Fragment};

/// Seconds of a segment. Pictures have key frames at its multiples; players fetch one at a time.
pub(super) const SEGMENT_SECONDS: f64 = 4.0;

/// Seconds that the clock of all pieces is ahead of the film: decoding begins before the first picture is shown.
pub(super) const CLOCK_OFFSET: f64 = 1.0;

/// A piece that is written: a file of segments beside the output, and its description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece {
    /// Name of the variant.
    pub variant: String,
    /// Place in the film, from 0.
    pub n: u32,
    /// Name of the file in the folder of the output.
    pub file: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// Seconds from the start of the film.
    pub starts_at: f64,
    /// Seconds of each segment.
    pub durations: Vec<f32>,
    /// Bytes of each segment.
    pub sizes: Vec<u32>,
    /// Codecs as in RFC 6381.
    pub codecs: String,
    /// Initialization segment, hex.
    pub init: String,
    /// It is the last one of its variant.
    pub last: bool,
}

/// Writes the packets of one track into a piece.
pub(super) struct PieceWriter {
    output: ff::format::context::Output,
    path: PathBuf,
    time_base: ff::Rational,
    packets: u64,
}

impl PieceWriter {
    /// `options` say where the muxer cuts fragments.
    pub(super) fn create(
        path: PathBuf,
        parameters: &ff::codec::Parameters,
        time_base: ff::Rational,
        options: &[(&str, &str)],
    ) -> Result<Self, MediaError> {
        let failed = |error| MediaError::output("create a piece", error);
        let mut output = ff::format::output_as(&path, "mp4").map_err(failed)?;
        let mut stream = output.add_stream(ff::codec::Id::None).map_err(failed)?;
        stream.set_parameters(parameters.clone());
        stream.set_time_base(time_base);
        let mut dictionary = ff::Dictionary::new();
        // The muxer must keep the film's clock: it neither moves the first packet to zero nor writes an edit list.
        dictionary.set("avoid_negative_ts", "disabled");
        for (name, value) in options {
            dictionary.set(name, value);
        }
        output.write_header_with(dictionary).map_err(failed)?;
        let time_base = output.stream(0).map_or(time_base, |stream| stream.time_base());
        Ok(Self { output, path, time_base, packets: 0 })
    }

    pub(super) fn write(
        &mut self,
        mut packet: ff::Packet,
        time_base: ff::Rational,
    ) -> Result<(), MediaError> {
        packet.rescale_ts(time_base, self.time_base);
        packet.set_stream(0);
        packet.set_position(-1);
        self.packets += 1;
        packet.write_interleaved(&mut self.output).map_err(|error| MediaError::output("write a piece", error))
    }

    /// Ends the piece; `None` when it holds nothing.
    pub(super) fn finish(mut self, variant: &str, n: u32) -> Result<Option<Piece>, MediaError> {
        self.output.write_trailer().map_err(|error| MediaError::output("finish a piece", error))?;
        drop(self.output);
        let written = std::fs::read(&self.path).map_err(|error| io_error("read a piece", &error))?;
        std::fs::remove_file(&self.path).map_err(|error| io_error("remove a piece", &error))?;
        if self.packets == 0 {
            return Ok(None);
        }
        let scale = f64::from(self.time_base.denominator()) / f64::from(self.time_base.numerator());
        let offset = (CLOCK_OFFSET * scale).round() as u64;
        let parts =
            fragment::split(&written, offset).map_err(|error| MediaError::transient(error.to_string()))?;
        let codecs = fragment::codecs(&parts.init)
            .ok_or_else(|| MediaError::transient("the codec of a piece is not in its header"))?;
        let file = format!("{variant}-{n}.m4s");
        write_file(&self.path.with_file_name(&file), &parts.media)?;
        let (durations, sizes) = segments(&parts.fragments, scale);
        Ok(Some(Piece {
            variant: variant.to_owned(),
            n,
            file,
            size: parts.media.len() as u64,
            sha256: hex::encode(Sha256::digest(&parts.media)),
            starts_at: parts.fragments.first().map_or(0.0, |first| first.time as f64 / scale),
            durations,
            sizes,
            codecs,
            init: hex::encode(&parts.init),
            last: false,
        }))
    }
}

/// Fragments joined to segments: one for each multiple of the length of a segment in which fragments begin.
fn segments(fragments: &[Fragment], scale: f64) -> (Vec<f32>, Vec<u32>) {
    let (mut durations, mut sizes): (Vec<f32>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut current = None;
    for (index, fragment) in fragments.iter().enumerate() {
        // Times are rounded to ticks, so a key frame may lie a little before its second.
        let place = ((fragment.time as f64 / scale + 0.02) / SEGMENT_SECONDS).floor() as i64;
        // The next fragment tells better where this one ends than the last packet's duration, which may be a guess.
        let ticks = fragments.get(index + 1).map_or(fragment.duration, |next| next.time - fragment.time);
        let (seconds, size) = ((ticks as f64 / scale) as f32, fragment.size as u32);
        match (durations.last_mut(), sizes.last_mut()) {
            (Some(duration), Some(bytes)) if current == Some(place) => {
                *duration += seconds;
                *bytes += size;
            }
            _ => {
                durations.push(seconds);
                sizes.push(size);
            }
        }
        current = Some(place);
    }
    (durations, sizes)
}

pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), MediaError> {
    std::fs::write(path, bytes).map_err(|error| io_error("write an output", &error))
}

fn io_error(action: &str, error: &std::io::Error) -> MediaError {
    let message = format!("cannot {action}: {error}");
    if nebula_storage::is_no_room(error) {
        MediaError::no_room(message)
    } else {
        MediaError::transient(message)
    }
}

/// Path of the file that is being written for a piece.
pub(super) fn draft(folder: &Path, variant: &str, n: u32) -> PathBuf {
    folder.join(format!("{variant}-{n}.mp4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_between_multiples_of_four_seconds_are_one_segment() {
        let fragment = |time, duration, size| Fragment { time, duration, size };
        let fragments = [
            fragment(80_00, 200, 1),
            fragment(82_00, 200, 2),
            fragment(83_99, 201, 3),
            fragment(86_00, 50, 4),
        ];
        assert_eq!(segments(&fragments, 100.0), (vec![3.99, 2.51], vec![3, 7]));
    }
}
