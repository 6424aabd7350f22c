//! Secrets that come from a file or a pipe, since arguments are visible to every user of the machine.

use std::io::{Read, stdin};
use std::path::Path;

use crate::error::{Code, Doing, Error, Result};

/// Bytes read: a wrong path must not send a large file.
const MAX_BYTES: u64 = 1024;

/// The first line of a file; `-` is standard input. `kind` names the secret in errors.
pub(crate) fn read(path: &Path, kind: &str) -> Result<String> {
    if path.as_os_str() == "-" {
        return read_standard_input(kind);
    }
    let name = path.display().to_string();
    first_line(std::fs::File::open(path).doing(|| format!("read {name}"))?, &name, kind)
}

/// The first line of standard input.
pub(crate) fn read_standard_input(kind: &str) -> Result<String> {
    first_line(stdin(), "standard input", kind)
}

fn first_line(from: impl Read, name: &str, kind: &str) -> Result<String> {
    let mut text = String::new();
    from.take(MAX_BYTES + 1).read_to_string(&mut text).doing(|| format!("read a {kind} from {name}"))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() || text.len() as u64 > MAX_BYTES {
        return Err(Error::new(Code::InvalidArgument, format!("{name} does not hold a {kind}"))
            .hint(format!("Its first line is the {kind}, 1 to 1024 bytes.")));
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_unchanged_first_line() {
        let read = |text: &str| first_line(text.as_bytes(), "f", "password");
        assert_eq!(read(" a b \r\nrest").unwrap(), " a b ");
        assert!(read("\nsecret").is_err());
        assert!(read("").is_err());
        let error = read(&"secret".repeat(200)).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
