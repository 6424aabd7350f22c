//! The project's options that this agent has set in Syncthing. An option that the project withdraws is reset
//! to Syncthing's default, unless the owner has changed it since. Options set by the owner are never touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::atomic_file::{self, PRIVATE};
use crate::error::Result;

const FILE: &str = "syncthing.json";
/// Options that a project can set; all other values of the desired configuration are always set.
const OPTIONS: [&str; 5] =
    ["pullerMaxPendingKiB", "hashers", "maxConcurrentWrites", "blockPullOrder", "numConnections"];

/// The values by folder or device id, then by option name. Saved on disk, since a project may withdraw an
/// option while no agent runs.
pub(super) struct AppliedOptions {
    path: PathBuf,
    set: BTreeMap<String, Map<String, Value>>,
}

impl AppliedOptions {
    /// Reads the saved values; none if the file is missing or damaged, so that nothing is reset.
    pub(super) fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let text = atomic_file::read_if_exists(&path).ok().flatten().unwrap_or_default();
        Self { set: serde_json::from_str(&text).unwrap_or_default(), path }
    }

    /// Records the options that are about to be set, except those that Syncthing has already or does not
    /// know.
    pub(super) fn record(&mut self, id: &str, desired: &Value, found: &Value) -> Result<()> {
        let differs =
            |name: &str| found.is_null() || found.get(name).is_some_and(|found| *found != desired[name]);
        let ours = options_in(desired).filter(|(name, _)| differs(name));
        let ours: Vec<_> = ours.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        self.change(|set| {
            if !ours.is_empty() {
                set.entry(id.to_owned()).or_default().extend(ours);
            }
        })
    }

    /// Names of options that the project has withdrawn and that still have the value that was set.
    pub(super) fn withdrawn(&self, id: &str, desired: &Value, found: &Value) -> Vec<&str> {
        let set = self.set.get(id).into_iter().flatten();
        let gone = set.filter(|(name, value)| desired.get(name).is_none() && found.get(name) == Some(value));
        gone.map(|(name, _)| name.as_str()).collect()
    }

    /// Removes options that are no longer desired, and folders and devices that are not in the list.
    pub(super) fn retain(&mut self, wanted: &[(&str, &Value)]) -> Result<()> {
        self.change(|set| {
            set.retain(|id, values| {
                let desired = wanted.iter().find(|(other, _)| other == id);
                values.retain(|name, _| desired.is_some_and(|(_, desired)| desired.get(name).is_some()));
                !values.is_empty()
            });
        })
    }

    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<String, Map<String, Value>>)) -> Result<()> {
        let before = self.set.clone();
        change(&mut self.set);
        if self.set == before {
            return Ok(());
        }
        let text = serde_json::json!(self.set).to_string();
        atomic_file::write_atomic(&self.path, text.as_bytes(), PRIVATE)
    }
}

fn options_in(desired: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    OPTIONS.into_iter().filter_map(|name| Some((name, desired.get(name)?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_options_set_by_the_agent_and_unchanged_since_are_reset() {
        let folder = tempfile::tempdir().unwrap();
        let desired = json!({ "id": "home", "hashers": 2, "maxConcurrentWrites": 8, "numConnections": 3 });
        // The owner had set one of them before; this release does not know another.
        let found =
            json!({ "id": "home", "hashers": 0, "maxConcurrentWrites": 8, "blockPullOrder": "standard" });
        let mut applied = AppliedOptions::open(folder.path());
        applied.record("home", &desired, &found).unwrap();
        applied.record("BBB", &desired, &Value::Null).unwrap();

        // The next agent reads the saved values.
        let mut applied = AppliedOptions::open(folder.path());
        let current = json!({ "hashers": 2, "maxConcurrentWrites": 8, "numConnections": 3 });
        assert_eq!(applied.withdrawn("home", &desired, &current), [""; 0]);
        assert_eq!(applied.withdrawn("home", &json!({}), &current), ["hashers"]);
        let changed = json!({ "hashers": 4, "maxConcurrentWrites": 8, "numConnections": 3 });
        assert_eq!(applied.withdrawn("home", &json!({}), &changed), [""; 0]);
        assert_eq!(
            applied.withdrawn("BBB", &json!({ "hashers": 2 }), &current),
            ["maxConcurrentWrites", "numConnections"]
        );

        // Options that were reset, and devices that are gone, are forgotten.
        applied.retain(&[("home", &json!({})), ("CCC", &desired)]).unwrap();
        let applied = AppliedOptions::open(folder.path());
        for id in ["home", "BBB"] {
            assert_eq!(applied.withdrawn(id, &json!({}), &current), [""; 0]);
        }
    }

    #[test]
    fn a_damaged_file_means_that_no_options_were_set() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{\"home\": 1").unwrap();
        let mut applied = AppliedOptions::open(folder.path());
        assert_eq!(applied.withdrawn("home", &json!({}), &json!({ "hashers": 2 })), [""; 0]);
        applied.record("home", &json!({ "hashers": 2 }), &Value::Null).unwrap();
        assert_eq!(
            AppliedOptions::open(folder.path()).withdrawn("home", &json!({}), &json!({ "hashers": 2 })),
            ["hashers"]
        );
    }
}
