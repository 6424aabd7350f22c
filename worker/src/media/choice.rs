//! Chooses the streams of a file that are used.

use ff::codec::Id;
use ff::format::stream::Disposition;
use ff::media::Type;
use ffmpeg_next as ff;

use super::codec_name::codec_name;
use super::codecs::{is_decodable, is_text};
use super::ffi;

/// Sounds and subtitles of one film. More are in recordings that went wrong, and each takes memory.
const MAX_SOUNDS: usize = 32;
const MAX_SUBTITLES: usize = 64;
/// Sentences about streams that are not used; a file may name thousands of those.
const MAX_SENTENCES: usize = 50;
/// Flags of sounds that are made for some people, or about the film.
const SPECIAL: [Disposition; 6] = [
    Disposition::COMMENT,
    Disposition::VISUAL_IMPAIRED,
    Disposition::HEARING_IMPAIRED,
    Disposition::DESCRIPTIONS,
    Disposition::KARAOKE,
    Disposition::CLEAN_EFFECTS,
];
/// Words in the title of such a sound.
const SPECIAL_TITLES: [&str; 4] = ["commentary", "audio description", "kommentar", "described"];

/// The streams that are used.
pub(super) struct Choice {
    /// Indexes: the picture, the sounds with the default one first, the subtitles.
    pub(super) streams: Vec<usize>,
    /// Sentences about the others.
    pub(super) left_out: Vec<String>,
}

pub(super) fn choose(input: &ff::format::context::Input) -> Choice {
    let picture = picture(input);
    let programme = programme(input, picture);
    let mut choice = Choice { streams: picture.into_iter().collect(), left_out: Vec::new() };
    let (mut sounds, mut subtitles) = (Vec::new(), Vec::new());
    choice.left_out.extend(attached(input, picture.is_some()));
    for stream in input.streams() {
        let (index, codec, kind) = (stream.index(), stream.parameters().id(), stream.parameters().medium());
        if Some(index) == picture || is_cover(&stream) {
            continue;
        }
        let Some(kind_name) = name(kind) else { continue };
        let mut leave = |reason: String| {
            choice.left_out.push(format!("{kind_name} stream {index} was left out: {reason}"))
        };
        match kind {
            _ if programme.as_ref().is_some_and(|programme| !programme.contains(&index)) => {
                leave("it belongs to another programme".to_owned());
            }
            Type::Video => leave("one is kept".to_owned()),
            Type::Audio if is_usable_sound(&stream) => sounds.push(index),
            Type::Subtitle if is_text(codec) => subtitles.push(index),
            Type::Subtitle if codec != Id::None => leave(format!(
                "{} consists of pictures, which browsers do not show; it stays in the upload",
                codec_name(codec.name())
            )),
            _ if codec == Id::None => leave("its codec is unknown".to_owned()),
            _ => leave(format!("{} is not supported", codec_name(codec.name()))),
        }
    }
    // Stable: those of the same rank keep their order.
    sounds.sort_by_key(|index| input.stream(*index).map(|stream| rank(&stream)));
    for (list, most, kind) in
        [(&mut sounds, MAX_SOUNDS, "audio"), (&mut subtitles, MAX_SUBTITLES, "subtitle")]
    {
        if list.len() > most {
            choice
                .left_out
                .push(format!("{} {kind} streams were left out: {most} are kept", list.len() - most));
            list.truncate(most);
        }
    }
    if choice.left_out.len() > MAX_SENTENCES {
        let more = choice.left_out.len() - MAX_SENTENCES;
        choice.left_out.truncate(MAX_SENTENCES);
        choice.left_out.push(format!("{more} more streams were left out"));
    }
    choice.streams.extend(sounds);
    choice.streams.extend(subtitles);
    choice
}

/// Sentences about parts that are neither picture, sound nor subtitle.
fn attached(input: &ff::format::context::Input, has_picture: bool) -> Vec<String> {
    let mut left_out = Vec::new();
    if has_picture && input.streams().any(|stream| is_cover(&stream)) {
        left_out.push("the cover was left out: the poster is a picture of the film".to_owned());
    }
    let kind = |stream: &ff::Stream<'_>| stream.parameters().medium();
    match input.streams().filter(|stream| kind(stream) == Type::Attachment).count() {
        0 => {}
        1 => left_out.push("an attachment was left out: MP4 has no place for it".to_owned()),
        count => left_out.push(format!("{count} attachments were left out: MP4 has no place for them")),
    }
    left_out
}

/// The best picture as libav judges it, unless that is a cover.
fn picture(input: &ff::format::context::Input) -> Option<usize> {
    let best = input.streams().best(Type::Video).filter(|stream| !is_cover(stream));
    let first =
        || input.streams().find(|stream| stream.parameters().medium() == Type::Video && !is_cover(stream));
    best.or_else(first).map(|stream| stream.index())
}

/// The streams of the programme of the picture or, in a recording of radio, of the best sound; `None` when there are
/// no programmes.
fn programme(input: &ff::format::context::Input, picture: Option<usize>) -> Option<Vec<usize>> {
    let main = picture.or_else(|| input.streams().best(Type::Audio).map(|stream| stream.index()))?;
    ffi::programme(input, main)
}

fn is_usable_sound(stream: &ff::Stream<'_>) -> bool {
    let parameters = ffi::stream_parameters(&stream.parameters());
    is_decodable(stream.parameters().id()) && parameters.channels > 0 && parameters.sample_rate > 0
}

/// Lowest for the sound that plays unless another is chosen.
fn rank(stream: &ff::Stream<'_>) -> (bool, bool) {
    let disposition = stream.disposition();
    let metadata = stream.metadata();
    let title = metadata.get("title").or(metadata.get("handler_name")).unwrap_or_default().to_lowercase();
    let is_special = SPECIAL.iter().any(|flag| disposition.contains(*flag))
        || SPECIAL_TITLES.iter().any(|word| title.contains(word));
    (is_special, !disposition.contains(Disposition::DEFAULT))
}

/// The first cover that can be decoded.
pub(super) fn cover(input: &ff::format::context::Input) -> Option<ff::Stream<'_>> {
    input.streams().find(|stream| is_cover(stream) && is_decodable(stream.parameters().id()))
}

/// Cover art is a still picture, not a video stream.
fn is_cover(stream: &ff::Stream<'_>) -> bool {
    stream.disposition().contains(Disposition::ATTACHED_PIC)
}

fn name(kind: Type) -> Option<&'static str> {
    match kind {
        Type::Video => Some("video"),
        Type::Audio => Some("audio"),
        Type::Subtitle => Some("subtitle"),
        _ => None,
    }
}
