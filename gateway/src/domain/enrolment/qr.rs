//! QR codes as PNG.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qrcode::{Color, QrCode};

use crate::error::ApiError;

/// Pixels per module.
const SCALE: usize = 8;
/// Width in modules of the quiet zone, which readers need.
const QUIET_ZONE: usize = 4;

/// The PNG of the QR code of a text, in base64.
pub(crate) fn png(text: &str) -> Result<String, ApiError> {
    let code = QrCode::new(text).map_err(|error| ApiError::internal(&error))?;
    let modules = code.width();
    let side = (modules + 2 * QUIET_ZONE) * SCALE;
    // One bit per pixel, 1 is white; the bits that pad a row to whole bytes are ignored.
    let mut pixels = vec![0xff_u8; side.div_ceil(8) * side];
    for (at, _) in code.to_colors().iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
        let (left, top) = ((at % modules + QUIET_ZONE) * SCALE, (at / modules + QUIET_ZONE) * SCALE);
        for row in top..top + SCALE {
            // A module has the width of a byte.
            pixels[row * side.div_ceil(8) + left / 8] = 0;
        }
    }
    let mut bytes = Vec::new();
    let side = u32::try_from(side).map_err(|error| ApiError::internal(&error))?;
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(|error| ApiError::internal(&error))?;
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_shows_the_code() {
        let text = "nebula://enrol?server=https%3A%2F%2Fexample.net&code=AAAAA-BBBBB-CCCCC-DDDDD-EEEEE";
        let bytes = STANDARD.decode(png(text).unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let shape = reader.next_frame(&mut pixels).unwrap();
        let code = QrCode::new(text).unwrap();
        let side = code.width() + 2 * QUIET_ZONE;
        assert_eq!((shape.width as usize, shape.line_size), (side * SCALE, side));
        for (row, line) in pixels.chunks(side).enumerate() {
            for (column, byte) in line.iter().enumerate() {
                let inside = |at: usize| (QUIET_ZONE..side - QUIET_ZONE).contains(&at);
                let top = row / SCALE;
                let dark = inside(top)
                    && inside(column)
                    && code[(column - QUIET_ZONE, top - QUIET_ZONE)] == Color::Dark;
                assert_eq!(*byte, if dark { 0 } else { 0xff }, "{column} {row}");
            }
        }
    }
}
