//! The folder of a device without an agent: key, identity, and the files of the bundle.

use std::fs;
use std::path::{Path, PathBuf};

use nebula_certificate::{Curve, KeyPair};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::bundle::{Bundle, NAMES};
use crate::atomic_file::{self, PRIVATE, PUBLIC};
use crate::device_folder::{BUNDLE_IDENTITY as DEVICE, host_name};
use crate::error::{Code, Doing, Error, Result};

const KEY: &str = "node.key";

/// The identity of the device. It is saved, so that a repeated join is the same device, even with fewer
/// options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Membership {
    /// Gateway it joined at.
    pub(crate) server: String,
    pub(crate) project_id: Uuid,
    /// Generated here; never changes.
    pub(crate) device_id: Uuid,
    /// Name in the certificate.
    pub(crate) device_name: String,
    /// `host`, `lighthouse` or `relay`.
    pub(crate) role: String,
    /// `host:port` on the underlay.
    pub(crate) endpoints: Vec<String>,
}

/// The identity in this folder, if there is one.
pub(crate) fn membership(path: &Path) -> Result<Option<Membership>> {
    let Some(text) = atomic_file::read_if_exists(&path.join(DEVICE))? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        let detail = format!("{} is damaged: {error}", path.join(DEVICE).display());
        Error::new(Code::Damaged, detail).hint("Join with another --dir, as a new device.")
    })
}

/// Removes the files of the bundle after the device has left, or an agent has taken it over. The key is no
/// longer in use.
pub(crate) fn clear(path: &Path) -> Result<()> {
    NAMES
        .into_iter()
        .chain([KEY, DEVICE])
        .try_for_each(|name| atomic_file::remove_if_exists(&path.join(name)))
}

/// Options of the command; those left out keep their present value or get the default.
#[derive(Debug)]
pub(crate) struct JoinOptions {
    /// Gateway to join at.
    pub(crate) server: String,
    pub(crate) project_id: Uuid,
    /// Name in the certificate.
    pub(crate) name: Option<String>,
    pub(crate) role: Option<String>,
    /// `host:port` on the underlay.
    pub(crate) endpoints: Vec<String>,
}

impl JoinOptions {
    fn of_new_device(self) -> Membership {
        Membership {
            server: self.server,
            project_id: self.project_id,
            device_id: Uuid::new_v4(),
            device_name: self.name.unwrap_or_else(host_name),
            role: self.role.unwrap_or_else(|| "host".to_owned()),
            endpoints: self.endpoints,
        }
    }

    /// Changes an existing identity. A name counts only if it was given, because the host name may have
    /// changed.
    fn of_known_device(self, known: Membership) -> Membership {
        let same_role = self.role.as_ref().is_none_or(|role| *role == known.role);
        let keep_endpoints = self.endpoints.is_empty() && same_role;
        Membership {
            server: self.server,
            device_name: self.name.unwrap_or(known.device_name),
            role: self.role.unwrap_or(known.role),
            endpoints: if keep_endpoints { known.endpoints } else { self.endpoints },
            ..known
        }
    }
}

/// The folder. Key and identity are saved before the gateway is called, so that a join whose response was
/// lost can be repeated.
pub(crate) struct BundleFolder {
    path: PathBuf,
    membership: Membership,
    key: KeyPair,
    made_folder: bool,
    made_identity: bool,
}

impl BundleFolder {
    /// Reads the identity and key in the folder, or creates them with a key on this curve.
    pub(crate) fn open(path: &Path, options: JoinOptions, curve: Curve) -> Result<Self> {
        let path = std::path::absolute(path).doing(|| format!("find {}", path.display()))?;
        let Some(known) = membership(&path)? else {
            return Self::make(path, options.of_new_device(), curve);
        };
        if known.project_id != options.project_id {
            let detail = format!(
                "{} belongs to a device of another project, \"{}\"",
                path.display(),
                known.device_name
            );
            return Err(Error::new(Code::AlreadyExists, detail).hint("Choose another folder with --dir."));
        }
        let membership = options.of_known_device(known);
        let key_path = path.join(KEY);
        let pem = fs::read_to_string(&key_path).doing(|| format!("read {}", key_path.display()))?;
        let key = KeyPair::parse(&nebula_certificate::Zeroizing::new(pem)).map_err(|error| {
            Error::new(Code::Damaged, format!("{}: {error}", key_path.display()))
                .hint("Join with another --dir, as a new device.")
        })?;
        Ok(Self { path, membership, key, made_folder: false, made_identity: false })
    }

    fn make(path: PathBuf, membership: Membership, curve: Curve) -> Result<Self> {
        let foreign = NAMES.into_iter().chain([KEY]).find(|name| path.join(name).exists());
        if let Some(name) = foreign {
            let detail =
                format!("{} exists already, and nebulactl did not make it", path.join(name).display());
            return Err(Error::new(Code::AlreadyExists, detail)
                .hint("Choose another folder with --dir, or move it away."));
        }
        let made_folder = !path.exists();
        atomic_file::create_private_dir(&path)?;
        let key = KeyPair::generate(curve)
            .map_err(|error| Error::new(Code::Io, format!("cannot make a key pair: {error}")))?;
        let folder = Self { path, membership, key, made_folder, made_identity: true };
        let written =
            atomic_file::create_new(&folder.path.join(KEY), folder.key.private_pem().as_bytes(), PRIVATE);
        written.and_then(|()| folder.save_identity()).inspect_err(|_| folder.undo())?;
        Ok(folder)
    }

    /// Absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(crate) fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Writes the bundle, each file atomically. The configuration comes last, since nebula finds the other
    /// files through it.
    pub(crate) fn write(&self, bundle: &Bundle) -> Result<()> {
        self.save_identity()?;
        let (last, others): (Vec<_>, Vec<_>) = bundle.files().partition(|(name, _)| *name == "nebula.yml");
        for (name, content) in others.into_iter().chain(last) {
            atomic_file::write_atomic(&self.path.join(name), content, PUBLIC)?;
        }
        Ok(())
    }

    /// Removes what this run created, after the gateway has refused the join.
    pub(crate) fn undo(&self) {
        if self.made_identity {
            // The next join uses files that could not be removed.
            let _ = fs::remove_file(self.path.join(DEVICE));
            let _ = fs::remove_file(self.path.join(KEY));
        }
        if self.made_folder {
            let _ = fs::remove_dir(&self.path);
        }
    }

    fn save_identity(&self) -> Result<()> {
        let path = self.path.join(DEVICE);
        let text = serde_json::to_vec_pretty(&self.membership).map_err(std::io::Error::from);
        atomic_file::write_atomic(&path, &text.doing(|| format!("write {}", path.display()))?, PRIVATE)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn options(project_id: Uuid) -> JoinOptions {
        JoinOptions {
            server: "http://home".to_owned(),
            project_id,
            name: Some("laptop".to_owned()),
            role: None,
            endpoints: Vec::new(),
        }
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_repeated_join_is_the_same_device() {
        let parent = tempfile::tempdir().unwrap();
        let (path, project) = (parent.path().join("nebula"), Uuid::new_v4());
        let lighthouse = JoinOptions {
            role: Some("lighthouse".to_owned()),
            endpoints: vec!["192.0.2.1:4242".to_owned()],
            ..options(project)
        };
        let first = BundleFolder::open(&path, lighthouse, Curve::Curve25519).unwrap();
        assert_eq!((mode(&path), mode(&path.join(KEY))), (0o700, 0o600));
        // Neither the host name nor the default role replaces the earlier choice.
        let again =
            BundleFolder::open(&path, JoinOptions { name: None, ..options(project) }, Curve::P256).unwrap();
        assert_eq!(again.membership(), first.membership());
        assert_eq!(again.key().public_key(), first.key().public_key());
        let options = JoinOptions {
            name: Some("desktop".to_owned()),
            role: Some("host".to_owned()),
            ..options(project)
        };
        let changed = BundleFolder::open(&path, options, Curve::P256).unwrap().membership().clone();
        assert_eq!(changed.device_id, first.membership().device_id);
        assert_eq!((changed.device_name.as_str(), changed.role.as_str()), ("desktop", "host"));
        assert!(changed.endpoints.is_empty());
    }

    #[test]
    fn foreign_files_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), "theirs").unwrap();
        let open = |project| BundleFolder::open(folder.path(), options(project), Curve::Curve25519);
        assert_eq!(open(Uuid::new_v4()).err().unwrap().failure().error, "already_exists");
        fs::remove_file(folder.path().join("ca.crt")).unwrap();
        open(Uuid::new_v4()).unwrap();
        assert_eq!(open(Uuid::new_v4()).err().unwrap().failure().error, "already_exists");
    }

    #[test]
    fn a_refused_first_join_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("nebula");
        BundleFolder::open(&path, options(Uuid::new_v4()), Curve::Curve25519).unwrap().undo();
        assert!(!path.exists());
    }
}
