//! PEM as nebula writes it: 64 columns, no headers, often several blocks in one file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::Error;

/// Labels of blocks.
pub(crate) mod banner {
    pub(crate) const CERTIFICATE_V1: &str = "NEBULA CERTIFICATE";
    pub(crate) const CERTIFICATE_V2: &str = "NEBULA CERTIFICATE V2";
    pub(crate) const X25519_PRIVATE: &str = "NEBULA X25519 PRIVATE KEY";
    pub(crate) const X25519_PUBLIC: &str = "NEBULA X25519 PUBLIC KEY";
    pub(crate) const P256_PRIVATE: &str = "NEBULA P256 PRIVATE KEY";
    pub(crate) const P256_PUBLIC: &str = "NEBULA P256 PUBLIC KEY";
    pub(crate) const ED25519_PRIVATE: &str = "NEBULA ED25519 PRIVATE KEY";
    pub(crate) const ED25519_PUBLIC: &str = "NEBULA ED25519 PUBLIC KEY";
    pub(crate) const ECDSA_PRIVATE: &str = "NEBULA ECDSA P256 PRIVATE KEY";
    pub(crate) const ECDSA_PUBLIC: &str = "NEBULA ECDSA P256 PUBLIC KEY";
    pub(crate) const ED25519_ENCRYPTED: &str = "NEBULA ED25519 ENCRYPTED PRIVATE KEY";
    pub(crate) const ECDSA_ENCRYPTED: &str = "NEBULA ECDSA P256 ENCRYPTED PRIVATE KEY";
}

/// Beginning of every block.
pub(crate) const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const COLUMNS: usize = 64;

/// One block; the body may be a private key, so it is wiped when dropped and never printed.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Writes one block, ending in a newline.
pub(crate) fn encode(label: &str, body: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(STANDARD.encode(body));
    // Allocated at once: a string that grows leaves copies of a key in memory.
    let mut out =
        Zeroizing::new(String::with_capacity(text.len() + text.len() / COLUMNS + 2 * label.len() + 48));
    out.extend([BEGIN, label, DASHES, "\n"]);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(COLUMNS));
        out.extend([line, "\n"]);
        rest = after;
    }
    out.extend([END, label, DASHES, "\n"]);
    out
}

/// Reads all blocks of a text. Strict, because nebula refuses text after a block: between blocks only blank
/// lines, inside them only base64.
///
/// # Errors
/// [`Error::Pem`] with the line.
pub(crate) fn decode(text: &str) -> Result<Vec<Block>, Error> {
    let mut blocks = Vec::new();
    // The label, the line it stands on, and the base64 so far.
    let mut open: Option<(&str, usize, Zeroizing<String>)> = None;
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim_end(), index + 1);
        let fail = |problem| Error::Pem { line: number, problem };
        if let Some(label) = banner_label(line, BEGIN) {
            if open.is_some() {
                return Err(fail("a block begins inside another one"));
            }
            // A plain private key has at most two lines, so the string does not grow and leaves no copy in
            // memory.
            open = Some((label, number, Zeroizing::new(String::with_capacity(2 * COLUMNS))));
        } else if let Some(end_label) = banner_label(line, END) {
            let (label, _, base64) = open.take().ok_or_else(|| fail("a block ends that did not begin"))?;
            if label != end_label {
                return Err(fail("a block ends under another name than it began"));
            }
            let body =
                STANDARD.decode(base64.as_bytes()).map_err(|_| fail("the block above is not base64"))?;
            blocks.push(Block { label: label.to_owned(), body: Zeroizing::new(body) });
        } else if let Some((_, _, base64)) = &mut open {
            if line.len() > COLUMNS || line.is_empty() {
                return Err(fail("lines of a block have 1 to 64 characters"));
            }
            base64.push_str(line);
        } else if !line.is_empty() {
            return Err(fail("there is text outside of the blocks"));
        }
    }
    match open {
        Some((_, line, _)) => Err(Error::Pem { line, problem: "the block that begins here does not end" }),
        None => Ok(blocks),
    }
}

/// Reads a text that must hold exactly one block.
///
/// # Errors
/// [`Error::Pem`], [`Error::BlockCount`].
pub(crate) fn decode_one(text: &str, wanted: &'static str) -> Result<Block, Error> {
    let mut blocks = decode(text)?;
    match blocks.pop() {
        Some(block) if blocks.is_empty() => Ok(block),
        last => Err(Error::BlockCount { found: blocks.len() + usize::from(last.is_some()), wanted }),
    }
}

fn banner_label<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    let label = line.strip_prefix(start)?.strip_suffix(DASHES)?;
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ';
    (label.len() <= COLUMNS && label.chars().all(plain)).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_blocks_round_trip() {
        let text = format!("{}\n{}", *encode("A", &[1; 100]), *encode("B 2", b""));
        let blocks = decode(&text.replace('\n', "\r\n")).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].label.as_str(), blocks[0].body.as_slice()), ("A", &[1; 100][..]));
        assert_eq!((blocks[1].label.as_str(), blocks[1].body.len()), ("B 2", 0));
    }

    #[test]
    fn a_malformed_text_is_refused_with_its_line() {
        for (text, wanted) in [
            ("hello\n-----BEGIN A-----\n-----END A-----\n", 1),
            ("-----BEGIN A-----\n-----END B-----\n", 2),
            ("-----BEGIN A-----\nAAAA\n", 1),
            ("-----BEGIN A-----\n-----BEGIN A-----\n", 2),
            ("-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n-----END A-----\n", 3),
            ("-----BEGIN A-----\nAAA\n-----END A-----\n", 3),
            ("\n-----END A-----\n", 2),
        ] {
            match decode(text) {
                Err(Error::Pem { line, .. }) => assert_eq!(line, wanted, "{text}"),
                _ => panic!("accepted: {text}"),
            }
        }
    }
}
