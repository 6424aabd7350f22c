//! A `.conf` as QR code in the terminal, for the WireGuard app of a phone.

use console::Term;
use qrcode::EcLevel;

use crate::command::qr;
use crate::context::Context;
use crate::error::{Code, Error, Result};

/// Above this size the level of error correction is L, so that the modules stay large enough for a camera.
const MEDIUM_BYTES: usize = 500;
/// Cameras of phones fail to read larger codes.
const MAX_BYTES: usize = 1000;

/// The picture. Fails for a `.conf` of more than [`MAX_BYTES`].
pub(super) fn picture(conf: &str) -> Result<String> {
    let too_long = || {
        Error::new(
            Code::WrongState,
            format!(
                "the .conf has {} bytes, and phones do not read codes of more than {MAX_BYTES}; send the file, or \
                 let the peer reach fewer networks",
                conf.len()
            ),
        )
        .hint("Write the file: nebulactl peer conf")
    };
    let level = if conf.len() > MEDIUM_BYTES { EcLevel::L } else { EcLevel::M };
    if conf.len() > MAX_BYTES {
        return Err(too_long());
    }
    qr::blocks(conf, level).ok_or_else(too_long)
}

/// Prints the picture. A terminal that is too narrow would break its lines.
pub(super) fn show(context: &Context, picture: &str) -> Result<()> {
    let (needed, terminal) = (qr::width(picture), Term::stdout());
    let columns = usize::from(terminal.size().1);
    if terminal.is_term() && columns < needed {
        return Err(Error::new(
            Code::WrongState,
            format!("the code is {needed} columns wide, this terminal {columns}"),
        )
        .hint("Make the terminal wider or its font smaller, then: nebulactl peer qr NAME"));
    }
    context.output.line(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_get_larger_modules_and_too_long_ones_a_sentence_instead() {
        let width = |bytes: usize| qr::width(&picture(&"a".repeat(bytes)).unwrap());
        // Level L holds more: a code of 501 bytes is smaller than one of 500 bytes at level M.
        assert!(width(501) < width(500), "{} {}", width(501), width(500));
        assert!(width(1000) <= 125, "{}", width(1000));
        let reason = picture(&"a".repeat(1001)).unwrap_err();
        let reason = &reason.failure().detail;
        assert!(reason.starts_with("the .conf has 1001 bytes"), "{reason}");
    }
}
