//! The question before a command that cannot be undone, and the option `--yes` that answers it.

use std::io::{IsTerminal, stderr, stdin};

use clap::Args;
use console::Term;

use crate::context::Context;
use crate::error::{Doing, Error, Result};

/// The option `--yes`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Confirmation {
    /// Do not ask for confirmation; required without a terminal
    #[arg(long, short)]
    yes: bool,
}

impl Confirmation {
    /// Whether `--yes` was given.
    pub(crate) fn is_given(self) -> bool {
        self.yes
    }

    /// Whether there is a terminal to ask at.
    pub(crate) fn can_ask() -> bool {
        stdin().is_terminal() && stderr().is_terminal()
    }

    /// Asks unless `--yes` was given. After a no, prints that nothing was changed and returns `false`.
    /// Without a terminal it is an error, since a script must not wait for an answer that never comes.
    pub(crate) fn given(self, context: &Context, question: &str) -> Result<bool> {
        if self.yes {
            return Ok(true);
        }
        if !Self::can_ask() {
            let detail = format!("this needs confirmation, and there is no terminal: {question}");
            return Err(Error::usage(detail).hint("Nothing was changed. Add --yes if that is meant."));
        }
        let terminal = Term::stderr();
        let ask = || {
            terminal.write_str(&format!("{question} [y/N] "))?;
            terminal.read_line()
        };
        let answer = ask().doing(|| "ask at the terminal".to_owned())?;
        let given = is_yes(&answer);
        if !given {
            context.output.message("Nothing was changed.")?;
        }
        Ok(given)
    }
}

/// Only an explicit yes counts.
fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_explicit_yes_confirms() {
        for yes in ["y", "Y\n", " yes "] {
            assert!(is_yes(yes), "{yes}");
        }
        for no in ["", "\n", "n", "no", "yes please", "j"] {
            assert!(!is_yes(no), "{no}");
        }
    }
}
