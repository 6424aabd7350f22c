//! The zip in the response to a registration: four files with fixed names.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use zip::ZipArchive;

use crate::error::{Code, Error, Result};

/// Entries with other names are refused, so that none can be written elsewhere.
pub(crate) const NAMES: [&str; 4] = ["ca.crt", "node.crt", "nebula.yml", "README.md"];

/// Bytes of one file; a trust bundle of a hundred authorities is far smaller.
const MAX_SIZE: u64 = 1024 * 1024;

/// The unpacked files.
#[derive(Debug)]
pub(crate) struct Bundle {
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl Bundle {
    /// Unpacks a zip. A foreign or missing name and a file that is too large are errors.
    pub(crate) fn read(zip: &[u8]) -> Result<Self> {
        let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|error| wrong(&error.to_string()))?;
        let mut files = BTreeMap::new();
        for index in 0..archive.len() {
            let entry = archive.by_index(index).map_err(|error| wrong(&error.to_string()))?;
            let name = NAMES.into_iter().find(|name| entry.name().is_ok_and(|found| found == *name));
            let name = name.ok_or_else(|| wrong("it holds a file it should not"))?;
            let mut content = Vec::new();
            // The size in the header may be wrong, so the unpacked bytes are counted.
            entry.take(MAX_SIZE + 1).read_to_end(&mut content).map_err(|error| wrong(&error.to_string()))?;
            if content.len() as u64 > MAX_SIZE {
                return Err(wrong(&format!("{name} is larger than 1 MiB")));
            }
            files.insert(name, content);
        }
        match NAMES.into_iter().find(|name| !files.contains_key(name)) {
            Some(missing) => Err(wrong(&format!("{missing} is missing"))),
            None => Ok(Self { files }),
        }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.files.iter().map(|(name, content)| (*name, content.as_slice()))
    }

    /// One file as text.
    pub(crate) fn text(&self, name: &str) -> Result<&str> {
        let content = self.files.get(name).map(Vec::as_slice).unwrap_or_default();
        std::str::from_utf8(content).map_err(|_| wrong(&format!("{name} is not text")))
    }
}

/// The error of a bundle that cannot be used.
pub(crate) fn wrong(problem: &str) -> Error {
    Error::new(Code::Protocol, format!("the bundle from the gateway was not taken over: {problem}"))
        .hint("No certificate was written. Compare the versions: nebulactl --version, nebulactl ping")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn packed(names: &[&str], size: usize) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(&vec![b'a'; size]).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn a_bundle_has_exactly_four_files() {
        let bundle = Bundle::read(&packed(&NAMES, 3)).unwrap();
        assert_eq!(bundle.files().count(), 4);
        assert_eq!(bundle.text("node.crt").unwrap(), "aaa");
    }

    #[test]
    fn foreign_missing_and_oversized_files_are_refused() {
        for (extra, problem) in [
            ("../../root/.ssh/authorized_keys", "should not"),
            ("/etc/passwd", "should not"),
            ("node.key", "should not"),
            ("sub/ca.crt", "should not"),
        ] {
            let names: Vec<&str> = NAMES.into_iter().chain([extra]).collect();
            let error = Bundle::read(&packed(&names, 3)).unwrap_err();
            assert!(error.to_string().contains(problem), "{extra}: {error}");
        }
        assert!(Bundle::read(&packed(&NAMES[1..], 3)).unwrap_err().to_string().contains("ca.crt is missing"));
        assert!(Bundle::read(b"no zip").is_err());
        // 2 MiB of the same letter are compressed to 2 kB.
        assert!(Bundle::read(&packed(&NAMES, 2 << 20)).unwrap_err().to_string().contains("larger"));
    }
}
