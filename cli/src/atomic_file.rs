//! Files that are written completely or not at all, with the right mode from the start.

use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown, symlink};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::NamedTempFile;

use crate::error::{Code, Doing, Error, Result};

/// Readable by the owner only.
pub(crate) const PRIVATE: u32 = 0o600;
/// Readable by all, within the umask.
pub(crate) const PUBLIC: u32 = 0o644;

/// Replaces a file atomically and durably. It never exists with a wider mode.
pub(crate) fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let staged = stage(path, content, mode)?;
    staged.persist(path).map_err(|error| error.error).doing(|| format!("write {}", path.display()))?;
    sync_dir(path)
}

/// Creates a file atomically and durably. An existing file is an error.
pub(crate) fn create_new(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    place_new(stage(path, content, mode)?, path)
}

/// The same; what root creates belongs to the owner of the folder, who is the service that reads it: a key of root
/// alone would be of no use to a gateway that runs as another user.
pub(crate) fn create_new_for_owner(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let staged = stage(path, content, mode)?;
    if rustix::process::geteuid().is_root() {
        let give = || {
            let folder = std::fs::metadata(parent_dir(path))?;
            fchown(staged.as_file(), Some(folder.uid()), Some(folder.gid()))
        };
        give().doing(|| format!("give {} to the owner of its folder", path.display()))?;
    }
    place_new(staged, path)
}

fn place_new(staged: NamedTempFile, path: &Path) -> Result<()> {
    match staged.persist_noclobber(path) {
        Ok(_) => sync_dir(path),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::new(Code::AlreadyExists, format!("{} exists already", path.display()))
                .hint("It was left as it is; move it away or name another file."))
        }
        Err(error) => Err(error.error).doing(|| format!("write {}", path.display())),
    }
}

/// Creates a folder of mode 0700 and its parents. An existing folder is left as it is.
pub(crate) fn create_private_dir(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.doing(|| format!("make the folder {}", path.display()))
}

/// Puts a folder with these files in place atomically and durably, replacing an existing one.
pub(crate) fn install_dir(path: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    let staged = tempfile::Builder::new()
        .prefix(".nebulactl-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(parent_dir(path))
        .doing(|| format!("make a folder beside {}", path.display()))?;
    for (name, content) in files {
        write_atomic(&staged.path().join(name), content, PRIVATE)?;
    }
    // The exchange moves the old folder to the temporary place, which is removed at the end of this function.
    let flags = if path.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    renameat_with(CWD, staged.path(), CWD, path, flags)
        .map_err(std::io::Error::from)
        .doing(|| format!("write {}", path.display()))?;
    sync_dir(path)
}

/// Creates a symbolic link, or changes its target atomically.
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

/// Removes a file. A missing one is no error.
pub(crate) fn remove_if_exists(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Reads a text file; `None` if it does not exist.
pub(crate) fn read_if_exists(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(|| format!("read {}", path.display())),
    }
}

/// The folder that contains a file; `.` for a bare name.
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

/// A rename is durable only after its folder is synced.
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
    fn a_replaced_file_is_complete_private_and_without_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_atomic(&path, b"one", PRIVATE).unwrap();
        write_atomic(&path, b"two", PRIVATE).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o600));
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn an_existing_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.key");
        create_new(&path, b"one", PRIVATE).unwrap();
        let error = create_new(&path, b"two", PRIVATE).unwrap_err();
        assert_eq!(error.failure().error, "already_exists");
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn folders_and_links_are_replaced_without_leftovers() {
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
    fn new_folders_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        create_private_dir(&path).unwrap();
        create_private_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }
}
