//! The desired configuration of Syncthing as documents of its REST interface. Does no input or output.

use std::path::Path;

use nebula_api::agent::Instruction;
use serde_json::{Map, Value, json};

/// Syncthing's port on the overlay.
const PORT: u16 = 22000;

/// Options that keep Syncthing on the overlay. It chooses block sizes itself; concurrency is set per folder
/// and device if the project says so. All other options are the owner's.
pub(super) fn options(overlay: &str) -> Value {
    json!({
        "listenAddresses": [address(overlay)],
        "globalAnnounceEnabled": false,
        "localAnnounceEnabled": false,
        "relaysEnabled": false,
        "natEnabled": false,
        "stunServers": [""],
        "announceLANAddresses": false,
        "crashReportingEnabled": false,
        "urAccepted": -1,
        "autoUpgradeIntervalH": 0,
        "startBrowser": false,
        // Devices often go offline; a connection attempt costs one packet.
        "reconnectionIntervalS": 10,
    })
}

/// The other devices of the project, with their overlay addresses only.
pub(super) fn devices(own: &str, instruction: &Instruction) -> Vec<Value> {
    let others = instruction.syncthing.iter().filter(|peer| peer.id != own);
    let device = |peer: &nebula_api::agent::SyncthingPeer| {
        let device = json!({
            "deviceID": peer.id,
            "name": peer.name,
            "addresses": [address(&peer.address)],
            "introducer": false,
            "autoAcceptFolders": false,
        });
        with(device, [("numConnections", json!(instruction.options.connections))])
    };
    others.map(device).collect()
}

/// The project's folder, shared with all its devices.
pub(super) fn folder(own: &str, instruction: &Instruction, path: &Path) -> Value {
    let others = instruction.syncthing.iter().map(|peer| peer.id.as_str()).filter(|id| *id != own);
    let members: Vec<Value> =
        std::iter::once(own).chain(others).map(|id| json!({ "deviceID": id })).collect();
    let folder = json!({
        "id": instruction.folder_id,
        "label": instruction.folder_label,
        "path": path,
        "devices": members,
        "fsWatcherEnabled": true,
        "fsWatcherDelayS": 1,
    });
    let options = &instruction.options;
    with(
        folder,
        [
            ("pullerMaxPendingKiB", json!(options.pending_kib)),
            ("hashers", json!(options.hashers)),
            ("maxConcurrentWrites", json!(options.writes)),
            ("blockPullOrder", json!(options.order)),
        ],
    )
}

/// Adds the project's options that are set; the others are the owner's.
fn with<const N: usize>(mut document: Value, set: [(&str, Value); N]) -> Value {
    for (name, value) in set {
        if !value.is_null() {
            document[name] = value;
        }
    }
    document
}

fn address(overlay: &str) -> String {
    if overlay.contains(':') {
        format!("tcp://[{overlay}]:{PORT}")
    } else {
        format!("tcp://{overlay}:{PORT}")
    }
}

/// The part of `desired` that `found` does not have; `None` if it has all. Devices of a folder are compared
/// by id in any order, because Syncthing sorts them and adds fields.
pub(super) fn missing(desired: &Value, found: &Value) -> Option<Value> {
    let mut missing = Map::new();
    for (name, wanted) in desired.as_object()? {
        let same = match (name.as_str(), found.get(name)) {
            ("devices", found) => members(wanted) == members(found.unwrap_or(&Value::Null)),
            (_, Some(found)) => wanted == found,
            // An option that this release does not know would otherwise be sent again and again.
            (_, None) => found.is_object(),
        };
        if !same {
            missing.insert(name.clone(), wanted.clone());
        }
    }
    (!missing.is_empty()).then_some(Value::Object(missing))
}

/// Sorted device ids of a list.
pub(super) fn members(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    let mut ids: Vec<String> =
        list.filter_map(|device| device["deviceID"].as_str().map(str::to_owned)).collect();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use nebula_api::agent::{SyncthingOptions, SyncthingPeer};

    use super::*;

    fn instruction() -> Instruction {
        let peer = |id: &str, address: &str| SyncthingPeer {
            name: id.to_lowercase(),
            id: id.to_owned(),
            address: address.to_owned(),
        };
        Instruction {
            nonce: Vec::new(),
            folder_id: "home".to_owned(),
            folder_label: "Home".to_owned(),
            syncthing: vec![peer("BBB", "10.42.0.2"), peer("AAA", "10.42.0.1"), peer("CCC", "fd00::3")],
            options: SyncthingOptions::default(),
        }
    }

    #[test]
    fn devices_have_only_their_overlay_address() {
        let devices = devices("AAA", &instruction());
        let addresses: Vec<&Value> = devices.iter().map(|device| &device["addresses"]).collect();
        assert_eq!(addresses, [&json!(["tcp://10.42.0.2:22000"]), &json!(["tcp://[fd00::3]:22000"])]);
        let folder = folder("AAA", &instruction(), Path::new("/srv/shared"));
        assert_eq!(members(&folder["devices"]), ["AAA", "BBB", "CCC"]);
    }

    #[test]
    fn only_options_of_the_project_are_desired() {
        let mut instruction = instruction();
        let plain = folder("AAA", &instruction, Path::new("/srv/shared"));
        assert_eq!(plain.get("hashers"), None);
        instruction.options = SyncthingOptions {
            hashers: Some(2),
            order: Some("inOrder".to_owned()),
            connections: Some(3),
            ..SyncthingOptions::default()
        };
        let desired = folder("AAA", &instruction, Path::new("/srv/shared"));
        let mut found = plain.clone();
        found["hashers"] = json!(0);
        found["blockPullOrder"] = json!("standard");
        found["maxConcurrentWrites"] = json!(2);
        assert_eq!(missing(&desired, &found), Some(json!({ "hashers": 2, "blockPullOrder": "inOrder" })));
        // A release that does not know the option is not asked for it.
        let device = devices("AAA", &instruction).remove(0);
        assert_eq!(device["numConnections"], 3);
        let mut found = device.clone();
        found.as_object_mut().unwrap().remove("numConnections");
        assert_eq!(missing(&device, &found), None);
        found["numConnections"] = json!(0);
        assert_eq!(missing(&device, &found), Some(json!({ "numConnections": 3 })));
    }

    #[test]
    fn only_what_differs_is_sent() {
        let desired = folder("AAA", &instruction(), Path::new("/srv/shared"));
        let mut found = desired.clone();
        found["devices"] =
            json!([{ "deviceID": "CCC", "x": 1 }, { "deviceID": "BBB" }, { "deviceID": "AAA" }]);
        found["rescanIntervalS"] = json!(3600);
        assert_eq!(missing(&desired, &found), None);
        found["label"] = json!("Other");
        assert_eq!(missing(&desired, &found), Some(json!({ "label": "Home" })));
        assert_eq!(missing(&desired, &Value::Null), Some(desired));
    }
}
