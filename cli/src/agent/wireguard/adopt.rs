//! The private key of an interface, exchanged for that of a server whose peers the node takes over: they go on
//! with the `.conf` that they have. Called by `nebulactl node import-key`, beside a running agent.

use std::path::Path;

use zeroize::Zeroizing;

use super::desired::{Desired, DesiredInterface};
use super::key::SecretKey;
use super::{FOLDER, STATE, interface};
use crate::agent::state;
use crate::atomic_file::{self, PRIVATE};
use crate::error::{Code, Error, Result};

/// An interface that this node runs, as the gateway last said.
pub(crate) struct OwnInterface {
    wanted: DesiredInterface,
}

/// How a peer of an interface is known to WireGuard.
pub(crate) struct OwnPeer<'a> {
    pub(crate) preshared_key: Option<&'a str>,
    pub(crate) allowed_ips: &'a [String],
}

impl OwnInterface {
    /// The interface of this name, or the only one where there is none of this name.
    pub(crate) fn find(device_folder: &Path, name: &str) -> Result<Self> {
        let desired: Option<Desired> = state::read(&device_folder.join(FOLDER).join(STATE))?;
        let mut interfaces = desired.unwrap_or_default().interfaces;
        let names: Vec<&str> = interfaces.iter().map(|one| one.state.name.as_str()).collect();
        let place = match (names.iter().position(|known| *known == name), names.len()) {
            (Some(place), _) => place,
            (None, 1) => 0,
            (None, 0) => {
                return Err(Error::new(Code::WrongState, "the agent of this device runs no interface").hint(
                    "Tie the device to its node: nebulactl node tie NODE --device NAME; then try again.",
                ));
            }
            (None, _) => {
                let error = Error::new(Code::NotFound, format!("this node has no interface \"{name}\""));
                return Err(error.hint(format!("Choose with --interface: {}", names.join(", "))));
            }
        };
        Ok(Self { wanted: interfaces.swap_remove(place) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.wanted.state.name
    }

    pub(crate) fn listen_port(&self) -> u16 {
        self.wanted.state.listen_port
    }

    /// The peer of this public key.
    pub(crate) fn peer(&self, public_key: &str) -> Option<OwnPeer<'_>> {
        let peer = self.wanted.state.peers.iter().find(|peer| peer.public_key == public_key)?;
        Some(OwnPeer { preshared_key: peer.preshared_key.as_deref(), allowed_ips: &peer.allowed_ips })
    }

    /// Replaces the key in the agent's folder; the agent takes it over with its next pass. Answers whether it
    /// was another one.
    pub(crate) fn adopt(&self, device_folder: &Path, private_key: &str) -> Result<bool> {
        let key = SecretKey::parse(private_key)
            .ok_or_else(|| Error::new(Code::InvalidArgument, "a private key is 32 bytes in base64"))?;
        let folder = device_folder.join(FOLDER);
        let path = interface::key_file(&folder, &self.wanted);
        let before = atomic_file::read_if_exists(&path)?.map(Zeroizing::new);
        if before.and_then(|text| SecretKey::parse(&text)).is_some_and(|before| before == key) {
            return Ok(false);
        }
        atomic_file::create_private_dir(&folder)?;
        atomic_file::write_atomic(&path, private_key.trim().as_bytes(), PRIVATE)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::desired::tests::{peer, state as interface_state};
    use super::*;

    const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    fn node_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let interfaces: Vec<_> = names
            .iter()
            .zip(1..)
            .map(|(name, number)| {
                let mut interface = interface_state(0, 1, &[peer(7)]);
                (interface.name, interface.interface_id) =
                    ((*name).to_owned(), uuid::Uuid::from_u128(number));
                interface
            })
            .collect();
        let answer = serde_json::json!({ "nonce": "", "epoch": uuid::Uuid::nil(), "interfaces": interfaces });
        let mut desired = Desired::default();
        let _ = desired.merge(serde_json::from_value(answer).unwrap()).unwrap();
        std::fs::create_dir(folder.path().join(FOLDER)).unwrap();
        state::write(&folder.path().join(FOLDER).join(STATE), &desired).unwrap();
        folder
    }

    #[test]
    fn the_agent_finds_the_adopted_key_in_the_place_of_its_own() {
        let folder = node_with(&["wg0"]);
        let own = OwnInterface::find(folder.path(), "old-server").unwrap();
        let load = || interface::load_key(&folder.path().join(FOLDER), &own.wanted).unwrap();
        let made = load();
        assert!(own.adopt(folder.path(), KEY).unwrap());
        assert!(load() == SecretKey::parse(KEY).unwrap() && load() != made);
        let path = interface::key_file(&folder.path().join(FOLDER), &own.wanted);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!own.adopt(folder.path(), KEY).unwrap(), "the same key again is no change");
        assert!(own.adopt(folder.path(), "AAAA").is_err() && load() == SecretKey::parse(KEY).unwrap());
        assert!(own.peer(&peer(7).public_key).is_some() && own.peer(&peer(8).public_key).is_none());
    }

    #[test]
    fn an_interface_is_named_where_there_are_several() {
        let folder = node_with(&["wg0", "phones"]);
        assert_eq!(OwnInterface::find(folder.path(), "phones").unwrap().name(), "phones");
        let error = OwnInterface::find(folder.path(), "old-server").map(drop).unwrap_err();
        assert!(error.failure().hint.as_deref().is_some_and(|hint| hint.contains("wg0, phones")), "{error}");
        let empty = tempfile::tempdir().unwrap();
        assert!(OwnInterface::find(empty.path(), "wg0").is_err());
    }
}
