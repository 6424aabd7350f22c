//! Writes pictures as JPEG.

use std::path::Path;

use ff::frame;
use ffmpeg_next as ff;

use super::super::encode::encoded_packet;
use super::super::error::MediaError;

/// Writes a picture of format `yuv420p` in full range. `coarseness` is from 2, the finest, to 31.
pub(super) fn write(picture: &frame::Video, coarseness: i32, path: &Path) -> Result<(), MediaError> {
    let failed = |error| MediaError::output("write a JPEG", error);
    let codec = ff::encoder::find_by_name("mjpeg").ok_or(ff::Error::EncoderNotFound).map_err(failed)?;
    let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().video().map_err(failed)?;
    encoder.set_width(picture.width());
    encoder.set_height(picture.height());
    encoder.set_format(ff::format::Pixel::YUV420P);
    encoder.set_color_range(ff::color::Range::JPEG);
    encoder.set_time_base(ff::Rational(1, 25));
    encoder.set_qmin(coarseness);
    encoder.set_qmax(coarseness);
    let mut options = ff::Dictionary::new();
    options.set("threads", "1");
    let mut encoder = encoder.open_as_with(codec, options).map_err(failed)?;
    encoder.send_frame(picture).and_then(|()| encoder.send_eof()).map_err(failed)?;
    let packet = encoded_packet(&mut encoder).map_err(failed)?;
    let bytes = packet.as_ref().and_then(ff::Packet::data).unwrap_or_default();
    if bytes.is_empty() {
        return Err(MediaError::transient("the JPEG encoder made nothing"));
    }
    super::super::piece::write_file(path, bytes)
}
