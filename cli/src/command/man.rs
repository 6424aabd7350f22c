//! `man`: the manual pages, made from the command tree.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::error::{Doing, Result};

#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The folder, such as /usr/local/share/man/man1
    dir: PathBuf,
}

pub(crate) fn run(context: &Context, arguments: &Man, tree: clap::Command) -> Result<()> {
    let pages = write(&arguments.dir, tree)?;
    let value = json!({ "dir": arguments.dir, "pages": pages });
    context.output.confirm(&value, || format!("Wrote {pages} manual pages to {}.", arguments.dir.display()))
}

/// Writes a page for each command, and returns how many.
pub(super) fn write(dir: &Path, tree: clap::Command) -> Result<usize> {
    let mut tree = tree.disable_help_subcommand(true);
    tree.build();
    write_below(dir, &tree)
}

fn write_below(dir: &Path, command: &clap::Command) -> Result<usize> {
    let page = clap_mangen::Man::new(command.clone());
    let (path, mut text) = (dir.join(page.get_filename()), Vec::new());
    page.render(&mut text).doing(|| format!("write {}", path.display()))?;
    write_file(&path, &text)?;
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    below.map(|command| write_below(dir, command)).sum::<Result<usize>>().map(|pages| pages + 1)
}

/// Writes a file, and makes its folder.
pub(super) fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, content)).doing(|| format!("write {}", path.display()))
}
