//! QR codes as PNG.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qrcode::{Color, QrCode};

use crate::ApiError;

/// Pixels per module, and the quiet zone in modules that readers need.
const SCALE: usize = 8;
const QUIET: usize = 4;

/// The PNG of a QR code that says `text`, in base64.
///
/// # Errors
/// 500; a text too long for a QR code is none that a caller chooses.
pub(super) fn png(text: &str) -> Result<String, ApiError> {
    let code = QrCode::new(text).map_err(|error| ApiError::internal(&error))?;
    let modules = code.width();
    let side = (modules + 2 * QUIET) * SCALE;
    // One bit a pixel, 1 is white; the bits that fill the last byte of a row count for nothing.
    let mut pixels = vec![0xff_u8; side.div_ceil(8) * side];
    for (at, _) in code.to_colors().iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
        let (left, top) = ((at % modules + QUIET) * SCALE, (at / modules + QUIET) * SCALE);
        for row in top..top + SCALE {
            // A module is as wide as a byte.
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
    fn the_picture_is_the_code() {
        let text = "nebula://enrol?server=https%3A%2F%2Fexample.net&code=AAAAA-BBBBB-CCCCC-DDDDD-EEEEE";
        let bytes = STANDARD.decode(png(text).unwrap()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let shape = reader.next_frame(&mut pixels).unwrap();
        let code = QrCode::new(text).unwrap();
        let side = code.width() + 2 * QUIET;
        assert_eq!((shape.width as usize, shape.line_size), (side * SCALE, side));
        for (row, line) in pixels.chunks(side).enumerate() {
            for (column, byte) in line.iter().enumerate() {
                let inside = |at: usize| (QUIET..side - QUIET).contains(&at);
                let top = row / SCALE;
                let dark =
                    inside(top) && inside(column) && code[(column - QUIET, top - QUIET)] == Color::Dark;
                assert_eq!(*byte, if dark { 0 } else { 0xff }, "{column} {row}");
            }
        }
    }
}
