//! Files that are there whole or not at all, readable by whom they should be.

use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::NamedTempFile;

use crate::error::{Code, Doing, Error, Result};

/// Mode of what only its owner may read.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of what anyone may read; the umask still applies.
pub(crate) const PUBLIC: u32 = 0o644;

/// Replaces a file in one step; it never exists with a wider mode, and survives a power cut once this returns.
///
/// # Errors
/// `io_error` naming the file.
pub(crate) fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let staged = stage(path, content, mode)?;
    staged.persist(path).map_err(|error| error.error).doing(|| format!("write {}", path.display()))?;
    sync_dir(path)
}

/// Makes a file that must not exist yet.
///
/// # Errors
/// `already_exists`, or `io_error` naming the file.
pub(crate) fn create_new(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let staged = stage(path, content, mode)?;
    match staged.persist_noclobber(path) {
        Ok(_) => sync_dir(path),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::new(Code::AlreadyExists, format!("{} exists already", path.display()))
                .hint("It was left as it is; move it away or name another file."))
        }
        Err(error) => Err(error.error).doing(|| format!("write {}", path.display())),
    }
}

/// Makes a folder only its owner may enter, with the folders above it; leaves one that exists as it is.
///
/// # Errors
/// `io_error` naming the folder.
pub(crate) fn create_private_dir(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.doing(|| format!("make the folder {}", path.display()))
}

/// Puts a folder of finished files in its place in one step, also where one is already; survives a power cut once this
/// returns.
///
/// # Errors
/// `io_error` naming the folder.
pub(crate) fn install_dir(path: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    let staged = tempfile::Builder::new()
        .prefix(".nebulactl-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent_dir(path))
        .doing(|| format!("make a folder beside {}", path.display()))?;
    for (name, content) in files {
        write_atomic(&staged.path().join(name), content, PRIVATE)?;
    }
    // What was there goes where the new one was made, and from there with its end.
    let flags = if path.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    renameat_with(CWD, staged.path(), CWD, path, flags)
        .map_err(std::io::Error::from)
        .doing(|| format!("write {}", path.display()))?;
    sync_dir(path)
}

/// Makes or turns a symbolic link in one step: whoever follows it sees the old target or the new one.
///
/// # Errors
/// `io_error` naming the link.
pub(crate) fn replace_symlink(link: &Path, target: &Path) -> Result<()> {
    let turn = || {
        let place = tempfile::Builder::new().prefix(".nebulactl-").tempdir_in(parent_dir(link))?;
        let staged = place.path().join("link");
        symlink(target, &staged)?;
        std::fs::rename(&staged, link)
    };
    turn().doing(|| format!("turn the link {}", link.display()))?;
    sync_dir(link)
}

/// Removes a file if it is there.
///
/// # Errors
/// `io_error` naming the file.
pub(crate) fn remove_if_exists(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Reads a small text file; `None` when there is none.
///
/// # Errors
/// `io_error` naming the file.
pub(crate) fn read_if_exists(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(|| format!("read {}", path.display())),
    }
}

/// The folder a file is in, `.` for a bare name.
pub(crate) fn parent_dir(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn stage(path: &Path, content: &[u8], mode: u32) -> Result<NamedTempFile> {
    let write = || {
        let mut staged = tempfile::Builder::new()
            .prefix(".nebulactl-")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(parent_dir(path))?;
        staged.write_all(content)?;
        staged.as_file().sync_all()?;
        Ok(staged)
    };
    write().doing(|| format!("write {}", path.display()))
}

/// A rename is on disk only when its folder is.
fn sync_dir(path: &Path) -> Result<()> {
    let folder = parent_dir(path);
    File::open(folder).and_then(|open| open.sync_all()).doing(|| format!("write to {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn replaces_whole_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_atomic(&path, b"one", PRIVATE).unwrap();
        write_atomic(&path, b"two", PRIVATE).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o600));
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn creates_only_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        create_new(&path, b"one", PRIVATE).unwrap();
        let error = create_new(&path, b"two", PRIVATE).unwrap_err();
        assert_eq!(error.failure().error, "already_exists");
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn folders_appear_whole_and_links_turn() {
        let parent = tempfile::tempdir().unwrap();
        let (one, two, link) =
            (parent.path().join("one"), parent.path().join("two"), parent.path().join("current"));
        install_dir(&one, &[("a", b"1"), ("b", b"2")]).unwrap();
        install_dir(&two, &[("a", b"3")]).unwrap();
        assert_eq!((mode(&one), mode(&one.join("b"))), (0o700, 0o600));
        install_dir(&one, &[("a", b"1")]).unwrap();
        assert!(!one.join("b").exists());
        for (target, content) in [("one", "1"), ("two", "3")] {
            replace_symlink(&link, Path::new(target)).unwrap();
            assert_eq!(std::fs::read_to_string(link.join("a")).unwrap(), content);
        }
        let names = parent.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert_eq!(left.len(), 0, "{left:?}");
    }

    #[test]
    fn folders_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        create_private_dir(&path).unwrap();
        create_private_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }
}
