//! `completions`: scripts that let a shell complete commands and options, and their installation.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;
use serde_json::json;

use super::man;
use crate::context::Context;
use crate::error::Result;

/// Files below a folder of shared files in which the shells look by themselves.
const INSTALLED: &[(Shell, &str)] = &[
    (Shell::Bash, "bash-completion/completions/nebulactl"),
    (Shell::Fish, "fish/vendor_completions.d/nebulactl.fish"),
    (Shell::Zsh, "zsh/site-functions/_nebulactl"),
];

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[arg(required_unless_present = "share")]
    shell: Option<Shell>,
    /// Write those of bash, fish and zsh, and the manual pages, where they look below this folder, such as
    /// /usr/local/share
    #[arg(long, value_name = "DIR", conflicts_with = "shell")]
    share: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, arguments: &Completions, tree: clap::Command) -> Result<()> {
    if let Some(share) = &arguments.share {
        for (shell, file) in INSTALLED {
            man::write_file(&share.join(file), script(*shell, tree.clone()).as_bytes())?;
        }
        let pages = man::write(&share.join("man/man1"), tree)?;
        let value = json!({ "dir": share, "pages": pages });
        let text = || format!("Wrote completions and {pages} manual pages below {}.", share.display());
        return context.output.confirm(&value, text);
    }
    let Some(shell) = arguments.shell else { return Ok(()) };
    let script = script(shell, tree);
    let value = json!({ "shell": shell.to_string(), "script": script });
    context.output.show(&value, || script.trim_end().to_owned())
}

fn script(shell: Shell, mut tree: clap::Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut tree, "nebulactl", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
