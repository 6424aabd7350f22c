//! Battery, charger and temperature of the machine, as Linux shows them below `/sys/class`. What a machine does not
//! have, or cannot be read, is absent: a server without a battery never runs on it.

mod power;
mod thermal;

use std::path::PathBuf;

pub use power::{Battery, Power};

/// Where Linux shows the supplies of power and the thermal zones.
const POWER_SUPPLY: &str = "/sys/class/power_supply";
const THERMAL: &str = "/sys/class/thermal";

/// The folders that are read.
#[derive(Clone, Debug)]
pub struct Sensors {
    power: PathBuf,
    thermal: PathBuf,
}

/// The machine at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Machine {
    /// Battery and charger.
    pub power: Power,
    /// The hottest processor in degrees Celsius.
    pub celsius: Option<f32>,
}

impl Sensors {
    /// Reads these folders in place of those of Linux.
    pub fn new(power: Option<PathBuf>, thermal: Option<PathBuf>) -> Self {
        Self {
            power: power.unwrap_or_else(|| POWER_SUPPLY.into()),
            thermal: thermal.unwrap_or_else(|| THERMAL.into()),
        }
    }

    /// Reads all sensors. Small files of the kernel, but some drivers ask the hardware: up to some milliseconds.
    pub fn read(&self) -> Machine {
        Machine { power: power::read(&self.power), celsius: thermal::read(&self.thermal) }
    }
}

/// The trimmed text of a file of a sensor.
fn text(folder: &std::path::Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok().map(|text| text.trim().to_owned())
}

/// The folders of the sensors below `folder`.
fn sensors(folder: &std::path::Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}
