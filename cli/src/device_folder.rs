//! The folder of this machine's device.

use std::path::{Path, PathBuf};

use crate::error::{Code, Error};

/// Identity of a device with an agent.
pub(crate) const AGENT_IDENTITY: &str = "agent.json";
/// Identity of a device that joined without a code, and has no agent.
pub(crate) const BUNDLE_IDENTITY: &str = "device.json";

/// The default of `--dir` for a new device.
pub(crate) fn default_folder() -> PathBuf {
    named_folder(&host_name())
}

/// The machine-wide folder for root, else a folder in the current one.
pub(crate) fn named_folder(name: &str) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/etc/nebula")
    } else {
        // The name may come from the command line, and must not lead to another folder.
        PathBuf::from(format!("nebula-{}", name.replace(['/', '\0'], "_")))
    }
}

/// The default of `--dir` for a device that has joined: the default folder, that of the server itself, or the
/// only other one that a join with `--name` has made here.
pub(crate) fn existing_folder() -> PathBuf {
    let default = default_folder();
    if holds_device(&default) {
        return default;
    }
    let program = std::env::current_exe().ok();
    let server = program.as_deref().and_then(server_folder).filter(|folder| holds_device(folder));
    match server {
        Some(folder) => folder,
        None if default.is_absolute() => default,
        None => only_device(Path::new(".")).unwrap_or(default),
    }
}

/// The folder in which `make up LIGHTHOUSE=` keeps the device of the server whose program this is.
fn server_folder(program: &Path) -> Option<PathBuf> {
    program.parent()?.parent().map(|home| home.join("device"))
}

/// Whether this user can see that this machine has a device.
pub(crate) fn is_device() -> bool {
    holds_device(&existing_folder())
}

fn holds_device(folder: &Path) -> bool {
    [AGENT_IDENTITY, BUNDLE_IDENTITY].iter().any(|name| folder.join(name).is_file())
}

fn only_device(parent: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(parent).ok()?.flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("nebula-"));
    let mut folders = ours.map(|entry| entry.path()).filter(|path| holds_device(path));
    match (folders.next(), folders.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// There is no device with an agent in this folder.
pub(crate) fn no_agent(folder: &Path) -> Error {
    if folder.join(BUNDLE_IDENTITY).is_file() {
        let detail = format!("the device in {} joined without a code, so it has no agent", folder.display());
        return Error::new(Code::WrongState, detail).hint(
            "An agent takes over with a code for it: nebulactl enrolment create --device NAME, then \
             nebulactl join --code CODE",
        );
    }
    no_device(folder)
        .hint("Make this machine one: nebulactl join --code CODE; or name its folder with --dir.")
}

/// There is no device at all in this folder.
pub(crate) fn no_device(folder: &Path) -> Error {
    Error::new(Code::NotFound, format!("there is no device in {}", folder.display()))
        .hint("Name its folder with --dir.")
}

/// The host name without its domain.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("device").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_a_server_lies_beside_its_programs() {
        let folder = server_folder(Path::new("/srv/home/.nebula/bin/nebulactl"));
        assert_eq!(folder.as_deref(), Some(Path::new("/srv/home/.nebula/device")));
    }

    #[test]
    fn a_folder_of_another_name_is_found_only_if_it_is_the_only_one() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, identity: &str| {
            let folder = parent.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(identity), "{}").unwrap();
            folder
        };
        make("other", AGENT_IDENTITY);
        assert_eq!(only_device(parent.path()), None);
        let first = make("nebula-phone", BUNDLE_IDENTITY);
        assert_eq!(only_device(parent.path()), Some(first));
        make("nebula-laptop", AGENT_IDENTITY);
        assert_eq!(only_device(parent.path()), None);
    }
}
