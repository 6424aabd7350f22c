//! The sounds of a film in pieces, from one pass over the file.

use std::path::{Path, PathBuf};

use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

use super::audio::{self, Audio};
use super::encode::EncodedTrack;
use super::error::MediaError;
use super::event::Event;
use super::input::Input;
use super::mux::Sink;
use super::piece::{self, Piece, PieceWriter};
use super::probe::Probe;
use super::source::Source;

/// Seconds of the first piece, which whoever watches at once waits for, and of the others.
const FIRST_PIECE: f64 = 12.0;
const PIECE: f64 = 60.0;
/// A fragment for each segment; times stay those of the film.
const FRAGMENTS: [(&str, &str); 2] =
    [("movflags", "+empty_moov+default_base_moof+frag_discont+skip_trailer"), ("frag_duration", "4000000")];

/// A sound to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sound {
    /// Name of the variant.
    pub name: String,
    /// Index of the stream in the upload.
    pub stream: usize,
    /// ISO 639, if the upload names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Title in the upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Channels of the output.
    pub channels: u32,
    /// It plays unless another is chosen.
    pub default: bool,
}

/// The sounds to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SoundTask {
    /// The sounds; one pass makes all.
    pub sounds: Vec<Sound>,
}

/// Writes the pieces beside the output and tells each as soon as it is complete.
pub(super) fn encode(
    input: &Input,
    folder: &Path,
    task: &SoundTask,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<(), MediaError> {
    let (mut source, probe) = Source::open(input)?;
    let mut pieces = Pieces { folder: folder.to_owned(), tracks: Vec::new(), ready: Vec::new() };
    let mut tracks = open(&source, &probe, task, &mut pieces)?;
    let duration = probe.duration.unwrap_or(f64::INFINITY);
    while let Some(packet) = source.next()? {
        for (stream, track) in &mut tracks {
            if *stream == packet.stream() {
                track.packet(Some(&packet), &mut pieces)?;
            }
        }
        pieces.tell(tell, duration);
    }
    for (_, track) in &mut tracks {
        track.packet(None, &mut pieces)?;
    }
    pieces.finish()?;
    pieces.tell(tell, duration);
    Ok(())
}

fn open(
    source: &Source,
    probe: &Probe,
    task: &SoundTask,
    pieces: &mut Pieces,
) -> Result<Vec<(usize, EncodedTrack<Audio>)>, MediaError> {
    let mut tracks = Vec::new();
    for sound in &task.sounds {
        let stream = probe.audio.iter().find(|stream| stream.index == sound.stream);
        let vanished = || MediaError::permanent(format!("sound stream {} vanished", sound.stream));
        let (stream, input) = (stream.ok_or_else(vanished)?, source.stream(sound.stream)?);
        let open =
            |encoder: &ff::encoder::audio::Encoder, time_base| Ok(pieces.add(sound, encoder, time_base));
        tracks.push((sound.stream, audio::open(&input, stream, probe.start, sound.channels, open)?));
    }
    Ok(tracks)
}

/// Cuts each sound into pieces.
struct Pieces {
    folder: PathBuf,
    tracks: Vec<Track>,
    /// Pieces that are complete and not told yet.
    ready: Vec<Piece>,
}

struct Track {
    name: String,
    parameters: ff::codec::Parameters,
    time_base: ff::Rational,
    writer: Option<PieceWriter>,
    n: u32,
    /// Second at which the current piece began.
    began: f64,
    /// Second up to which it is written.
    written: f64,
    /// The piece before, held back because the last one is marked.
    held: Option<Piece>,
}

impl Pieces {
    fn add(
        &mut self,
        sound: &Sound,
        encoder: &ff::encoder::audio::Encoder,
        time_base: ff::Rational,
    ) -> usize {
        let parameters = ff::codec::Parameters::from(encoder);
        let name = sound.name.clone();
        let (writer, held) = (None, None);
        self.tracks.push(Track { name, parameters, time_base, writer, n: 0, began: 0.0, written: 0.0, held });
        self.tracks.len() - 1
    }

    fn tell(&mut self, tell: &mut (dyn FnMut(Event) + Send), duration: f64) {
        for piece in self.ready.drain(..) {
            tell(Event::Piece(piece));
        }
        let written = self.tracks.iter().map(|track| track.written).fold(f64::INFINITY, f64::min);
        if written.is_finite() {
            tell(Event::progress("audio", written / duration));
        }
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        for track in &mut self.tracks {
            let last = track.end()?.map(|piece| Piece { last: true, ..piece });
            let held = track.held.take();
            match last {
                Some(last) => self.ready.extend(held.into_iter().chain([last])),
                None => self.ready.extend(held.map(|piece| Piece { last: true, ..piece })),
            }
        }
        Ok(())
    }
}

impl Sink for Pieces {
    fn write(&mut self, index: usize, packet: ff::Packet, time_base: ff::Rational) -> Result<(), MediaError> {
        let track = &mut self.tracks[index];
        // The encoder's warm-up lies before the film, where a piece has no edit list to hide it.
        let Some(pts) = packet.pts().filter(|pts| *pts >= 0) else { return Ok(()) };
        let seconds = pts as f64 * f64::from(time_base);
        let limit = if track.n == 0 { FIRST_PIECE } else { PIECE };
        if track.writer.is_some() && seconds - track.began >= limit {
            let ended = track.end()?;
            self.ready.extend(track.held.take());
            // The first piece is told at once: it lets a player begin.
            match ended {
                Some(piece) if piece.n == 0 => self.ready.push(piece),
                other => track.held = other,
            }
        }
        if track.writer.is_none() {
            let path = piece::draft(&self.folder, &track.name, track.n);
            track.writer = Some(PieceWriter::create(path, &track.parameters, track.time_base, &FRAGMENTS)?);
            track.began = seconds;
        }
        track.written = seconds;
        match &mut track.writer {
            Some(writer) => writer.write(packet, time_base),
            None => Ok(()),
        }
    }
}

impl Track {
    fn end(&mut self) -> Result<Option<Piece>, MediaError> {
        let Some(writer) = self.writer.take() else { return Ok(None) };
        let piece = writer.finish(&self.name, self.n)?;
        self.n += 1;
        Ok(piece)
    }
}
