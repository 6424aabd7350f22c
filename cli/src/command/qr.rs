//! QR codes in a terminal.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The code in half-height blocks, with dark and light exchanged for terminals with a dark background; none
/// if the text is too long for any code.
pub(crate) fn blocks(text: &str, level: EcLevel) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, level).ok()?;
    let colours = code.render::<Dense1x2>();
    Some({ colours }.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build())
}

/// Columns that such a picture takes.
pub(crate) fn width(picture: &str) -> usize {
    picture.lines().map(|line| line.chars().count()).max().unwrap_or_default()
}
