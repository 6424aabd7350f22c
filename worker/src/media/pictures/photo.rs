//! The preview of an uploaded picture: upright, and small enough for a list.

use std::path::Path;

use ff::color::Space;
use ff::frame::{self, side_data};
use ff::media::Type;
use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

use super::super::decoder::Decoder;
use super::super::error::MediaError;
use super::super::input::Input;
use super::super::open;
use super::super::probe::{self, Stream};
use super::{POSTER, poster};

/// A picture that was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Photo {
    /// Pixels of `poster.jpg`.
    pub preview: (u32, u32),
    /// Pixels of the picture.
    pub size: (u32, u32),
    /// Its format, as libav names it.
    pub format: String,
    /// Whether the preview is turned as the camera was held.
    pub is_turned: bool,
}

/// Writes `poster.jpg` into `folder`, from the first picture of the file.
pub(in super::super) fn make(input: &Input, folder: &Path) -> Result<Photo, MediaError> {
    let mut opened = open::open_picture(input)?;
    let found = opened.streams().find(|stream| stream.parameters().medium() == Type::Video);
    let found = found.ok_or_else(|| MediaError::permanent("it holds no picture"))?;
    let mut stream = Stream::of(&opened, &found);
    probe::check_video(&stream)?;
    let mut decoder = Decoder::open(&found)?;
    let picture = first(&mut opened, &mut decoder, stream.index)?;
    // The camera's note arrives with the picture, not with the stream.
    let turn = picture.side_data(side_data::Type::DisplayMatrix).map(|matrix| matrix.data().to_vec());
    stream.display_matrix = turn.or(stream.display_matrix);
    // Pictures that do not name their colours have those of JPEG, in every size.
    if stream.parameters.space == Space::Unspecified {
        stream.parameters.space = Space::BT470BG;
    }
    Ok(Photo {
        preview: poster::write(&picture, &stream, &folder.join(POSTER))?,
        size: (stream.parameters.width, stream.parameters.height),
        format: stream.codec.name().to_owned(),
        is_turned: stream.display_matrix.is_some(),
    })
}

fn first(
    input: &mut ff::format::context::Input,
    decoder: &mut Decoder,
    stream: usize,
) -> Result<frame::Video, MediaError> {
    let mut picture = frame::Video::empty();
    loop {
        let mut packet = ff::Packet::empty();
        let read = packet.read(input);
        match read {
            Ok(()) if packet.stream() == stream => decoder.send(Some(&packet)),
            Ok(()) => continue,
            Err(_) => decoder.send(None),
        }
        if decoder.receive(&mut picture) {
            return Ok(picture);
        }
        if read.is_err() {
            return Err(MediaError::permanent("it cannot be decoded"));
        }
    }
}
