//! The files of an upload: those that the arguments name, and those in their folders.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Code, Doing, Error, Result};

/// A file on this machine, and the name it gets at the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Folder at the gateway: parts joined by slashes, empty at the top.
    pub(super) folder: String,
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// A file that cannot be uploaded, and why.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) path: PathBuf,
    pub(super) error: Error,
}

/// The files that arguments name, in their order, those of folders sorted by name.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) files: Vec<Source>,
    pub(super) refused: Vec<Refused>,
    /// Hidden entries of folders, which are left out.
    pub(super) hidden: usize,
}

impl Sources {
    pub(super) fn collect(arguments: &[PathBuf], with_hidden: bool) -> Self {
        let mut sources = Self::default();
        for path in arguments {
            if path.is_dir() {
                // `.` and `..` have no name of their own: their contents go to the top.
                let folder = match path.file_name().map(|name| name.to_str()) {
                    Some(None) => {
                        sources.refuse(path, unreadable_name(path));
                        continue;
                    }
                    name => name.flatten().unwrap_or_default(),
                };
                sources.walk(path, folder, with_hidden);
            } else {
                sources.add(path, "");
            }
        }
        sources
    }

    fn walk(&mut self, path: &Path, folder: &str, with_hidden: bool) {
        let entries = fs::read_dir(path).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
        });
        let mut entries = match entries.doing(|| format!("read {}", path.display())) {
            Ok(entries) => entries,
            Err(error) => return self.refuse(path, error),
        };
        entries.sort();
        for entry in entries {
            let Some(name) = entry.file_name().and_then(|name| name.to_str()) else {
                self.refuse(&entry, unreadable_name(&entry));
                continue;
            };
            if name.starts_with('.') && !with_hidden {
                self.hidden += 1;
            } else if entry.is_dir() {
                if entry.is_symlink() {
                    // Not followed: a link to a folder above would be walked for ever.
                    let detail = format!("{} is a link to a folder", entry.display());
                    let error = Error::new(Code::InvalidArgument, detail)
                        .hint("Links to folders are not followed; name that folder itself.");
                    self.refuse(&entry, error);
                } else {
                    let below = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                    self.walk(&entry, &below, with_hidden);
                }
            } else {
                self.add(&entry, folder);
            }
        }
    }

    fn add(&mut self, path: &Path, folder: &str) {
        match inspect(path, folder) {
            Ok(source) => self.files.push(source),
            Err(error) => self.refuse(path, error),
        }
    }

    fn refuse(&mut self, path: &Path, error: Error) {
        self.refused.push(Refused { path: path.to_owned(), error });
    }
}

/// Name and size of a file, checked before anything is sent.
fn inspect(path: &Path, folder: &str) -> Result<Source> {
    let metadata = path.metadata().doing(|| format!("read {}", path.display()))?;
    if !metadata.is_file() {
        return Err(Error::new(Code::InvalidArgument, format!("{} is not a file", path.display()))
            .hint("Only files and folders of files can be uploaded."));
    }
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| unreadable_name(path))?;
    let modified = metadata.modified().doing(|| format!("read {}", path.display()))?;
    let (path, folder, name) = (path.to_owned(), folder.to_owned(), name.to_owned());
    Ok(Source { path, folder, name, size: metadata.len(), modified })
}

fn unreadable_name(path: &Path) -> Error {
    Error::new(Code::InvalidArgument, format!("the name of {} is not valid UTF-8", path.display()))
        .hint("Rename it first.")
}

impl Source {
    /// Name with its folder, as people are shown it.
    pub(super) fn shown(&self) -> String {
        if self.folder.is_empty() { self.name.clone() } else { format!("{}/{}", self.folder, self.name) }
    }

    /// Fails if the file is no longer the one that was found: its bytes would not fit those sent before.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        let now = inspect(&self.path, &self.folder)?;
        if now == *self {
            return Ok(());
        }
        Err(self.changed())
    }

    pub(super) fn changed(&self) -> Error {
        Error::new(Code::WrongState, format!("{} was changed while it was uploaded", self.path.display()))
            .hint("Run the same command again when it is complete.")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn shown(sources: &Sources) -> Vec<String> {
        sources.files.iter().map(Source::shown).collect()
    }

    #[test]
    fn folders_keep_their_structure_and_what_cannot_be_read_stops_nothing() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["Trip/2024", "Trip/empty", "Trip/.cache"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["Trip/b.jpg", "Trip/2024/a.jpg", "Trip/.hidden", "Trip/.cache/c", "film.mkv"] {
            fs::write(at(file), file).unwrap();
        }
        symlink(at("Trip"), at("Trip/loop")).unwrap();
        symlink(at("film.mkv"), at("Trip/link.mkv")).unwrap();
        let arguments = [at("film.mkv"), at("Trip"), at("none")];
        let found = Sources::collect(&arguments, false);
        assert_eq!(shown(&found), ["film.mkv", "Trip/2024/a.jpg", "Trip/b.jpg", "Trip/link.mkv"]);
        assert_eq!((found.files[1].size, found.hidden), ("Trip/2024/a.jpg".len() as u64, 2));
        let refused: Vec<_> = found.refused.iter().map(|refused| refused.error.to_string()).collect();
        assert!(refused[0].ends_with("loop is a link to a folder"), "{refused:?}");
        assert!(refused[1].contains("No such file"), "{refused:?}");
        assert_eq!(refused.len(), 2);
        let all = Sources::collect(&[at("Trip/.")], true);
        assert!(shown(&all).contains(&"Trip/.cache/c".to_owned()), "{all:?}");
    }

    #[test]
    fn a_file_that_changes_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "one").unwrap();
        let found = Sources::collect(std::slice::from_ref(&path), false);
        found.files[0].check_unchanged().unwrap();
        fs::write(&path, "two!").unwrap();
        assert!(found.files[0].check_unchanged().is_err());
    }
}
