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
