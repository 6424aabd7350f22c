//! Errors of the command line, from clap: text for people, with `--json` the same document as other errors.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::error::Error;
use crate::output::Output;

/// Prints help, the version or the error. The exit status is 0 for what was asked for, else 2.
pub(crate) fn report(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    if error.use_stderr() && asks_for_json(arguments) {
        let error = told(error);
        Output::new(true, false).failure(&error);
        return error.exit_code();
    }
    // If the stream is closed, there is nobody to tell.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Looks for `--json` by itself, since the command line could not be parsed.
fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// The first paragraph of clap's text is the error; tips and usage are the hint.
fn told(error: &clap::Error) -> Error {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::usage("a command is missing").hint("List them with --help.");
    }
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n").map(on_one_line).filter(|paragraph| !paragraph.is_empty());
    let detail = paragraphs.next().unwrap_or_default();
    let hints: Vec<String> =
        paragraphs.filter(|paragraph| !paragraph.starts_with("For more information")).collect();
    Error::usage(detail.strip_prefix("error: ").unwrap_or(&detail)).hint(hints.join(". "))
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::tree;

    fn failure(arguments: &[&str]) -> Error {
        told(&tree().try_get_matches_from(arguments).unwrap_err())
    }

    #[test]
    fn errors_of_the_parser_have_a_sentence_and_a_hint() {
        let unknown = failure(&["nebulactl", "ls", "--recursiv"]);
        assert_eq!(unknown.to_string(), "unexpected argument '--recursiv' found");
        let hint = unknown.failure().hint.as_deref().unwrap();
        assert!(
            hint.starts_with("tip: a similar argument exists: '--recursive'. Usage: nebulactl ls"),
            "{hint}"
        );

        let missing = failure(&["nebulactl", "device", "revoke"]);
        let detail = "the following required arguments were not provided: <DEVICE>";
        assert_eq!((missing.to_string().as_str(), missing.failure().sqlstate.as_str()), (detail, "22023"));
        assert_eq!(failure(&["nebulactl", "device"]).to_string(), "a command is missing");
    }

    #[test]
    fn json_is_looked_for_before_the_end_of_options() {
        let asks = |arguments: &[&str]| asks_for_json(arguments.iter().map(OsString::from));
        assert!(asks(&["nebulactl", "ls", "--nonsense", "--json"]));
        assert!(!asks(&["nebulactl", "ls", "--nonsense"]));
        assert!(!asks(&["nebulactl", "ls", "--nonsense", "--", "--json"]));
    }
}
