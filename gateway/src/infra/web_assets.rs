//! The files of the console, embedded in the binary so that there is nothing to install beside it.

use std::borrow::Cow;

use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/console"]
struct Console;

/// An embedded file and its path.
pub(crate) struct Asset {
    pub(crate) path: Cow<'static, str>,
    pub(crate) file: EmbeddedFile,
}

/// The file at a path without its leading slash; the empty path is the page.
pub(crate) fn file(path: &str) -> Option<Asset> {
    if path.is_empty() {
        return page();
    }
    Console::get(path).map(|file| Asset { path: path.to_owned().into(), file })
}

/// The page that the console's own addresses are served by.
pub(crate) fn page() -> Option<Asset> {
    Console::get("index.html").map(|file| Asset { path: "index.html".into(), file })
}
