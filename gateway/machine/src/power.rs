//! Supplies of power: batteries of the machine, and what charges them.

use std::path::Path;

use crate::{sensors, text};

/// Battery and charger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Power {
    /// All batteries of the machine together.
    pub battery: Option<Battery>,
    /// Whether a charger supplies power; absent where the machine does not tell.
    pub charger: Option<bool>,
}

/// The batteries of the machine together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Battery {
    /// How full they are.
    pub percent: u8,
    /// Whether one of them supplies power.
    pub is_discharging: bool,
}

impl Power {
    /// Whether the machine lives on its battery.
    pub fn is_on_battery(self) -> bool {
        // Some machines use the battery beside a charger that is too weak.
        self.battery.is_some_and(|battery| battery.is_discharging) && self.charger != Some(true)
    }
}

/// One battery.
struct Cell {
    percent: f64,
    /// Charge or energy when it is full, in a unit that all batteries of a machine have in common.
    full: Option<f64>,
    is_discharging: bool,
}

pub(crate) fn read(folder: &Path) -> Power {
    let mut power = Power::default();
    let mut cells = Vec::new();
    for supply in sensors(folder) {
        match text(&supply, "type").as_deref() {
            // Those of mice and headsets are of their own scope.
            Some("Battery") if text(&supply, "scope").as_deref() != Some("Device") => {
                cells.extend(cell(&supply))
            }
            Some("Mains" | "USB" | "Wireless") => {
                let online = text(&supply, "online").map(|online| online != "0");
                power.charger = power.charger.max(online);
            }
            _ => {}
        }
    }
    power.battery = together(&cells);
    power
}

fn cell(supply: &Path) -> Option<Cell> {
    let number = |name: &str| text(supply, name)?.parse::<f64>().ok();
    if text(supply, "present").as_deref() == Some("0") {
        return None;
    }
    let full = number("energy_full").or_else(|| number("charge_full")).filter(|full| *full > 0.0);
    let now = number("energy_now").or_else(|| number("charge_now"));
    let percent = number("capacity").or_else(|| Some(now? / full? * 100.0))?;
    Some(Cell { percent, full, is_discharging: text(supply, "status").as_deref() == Some("Discharging") })
}

/// Batteries count by their size where all tell it.
fn together(cells: &[Cell]) -> Option<Battery> {
    let sized = cells.iter().all(|cell| cell.full.is_some());
    let weight = |cell: &Cell| cell.full.filter(|_| sized).unwrap_or(1.0);
    let whole: f64 = cells.iter().map(weight).sum();
    let held: f64 = cells.iter().map(|cell| cell.percent * weight(cell)).sum();
    (!cells.is_empty()).then(|| Battery {
        percent: (held / whole).round().clamp(0.0, 100.0) as u8,
        is_discharging: cells.iter().any(|cell| cell.is_discharging),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the files of a supply: `type=Mains online=1`.
    fn supply(folder: &Path, name: &str, files: &str) {
        let supply = folder.join(name);
        std::fs::create_dir_all(&supply).unwrap();
        for file in files.split(' ') {
            let (name, text) = file.split_once('=').unwrap();
            std::fs::write(supply.join(name), format!("{text}\n")).unwrap();
        }
    }

    #[test]
    fn a_laptop_lives_on_its_battery_without_a_charger() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(read(folder), Power::default());
        assert!(!read(&folder.join("none")).is_on_battery(), "a server has no battery");
        supply(folder, "BAT0", "type=Battery capacity=42 status=Discharging present=1");
        supply(folder, "AC", "type=Mains online=0");
        supply(folder, "mouse", "type=Battery scope=Device capacity=3 status=Discharging");
        let power = read(folder);
        assert_eq!(power.battery, Some(Battery { percent: 42, is_discharging: true }));
        assert!(power.is_on_battery() && power.charger == Some(false));
        supply(folder, "usb", "type=USB online=1");
        assert!(!read(folder).is_on_battery() && read(folder).charger == Some(true));
    }

    #[test]
    fn batteries_count_by_their_size() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        supply(folder, "BAT0", "type=Battery capacity=100 energy_full=20000 status=Full");
        supply(folder, "BAT1", "type=Battery energy_now=15000 energy_full=60000 status=Discharging");
        supply(folder, "BAT2", "type=Battery present=0 capacity=0");
        let power = read(folder);
        assert_eq!(power.battery, Some(Battery { percent: 44, is_discharging: true }));
        assert!(power.is_on_battery(), "a machine that does not tell of chargers");
    }
}
