//! Thermal zones.

use std::path::Path;

use crate::{sensors, text};

/// Parts of the names of zones that are the processor's.
const PROCESSOR: [&str; 5] = ["pkg", "cpu", "soc", "core", "k10temp"];
/// A sensor that shows more, or less than nothing, is broken or not there.
const PLAUSIBLE: std::ops::Range<f32> = -20.0..150.0;

/// The hottest zone of the processor; where no zone is named so, the hottest of all.
pub(crate) fn read(folder: &Path) -> Option<f32> {
    let zones: Vec<(bool, f32)> = sensors(folder)
        .filter_map(|zone| {
            let celsius = text(&zone, "temp")?.parse::<f32>().ok()? / 1000.0;
            let name = text(&zone, "type").unwrap_or_default().to_lowercase();
            let is_processor = PROCESSOR.iter().any(|part| name.contains(part));
            PLAUSIBLE.contains(&celsius).then_some((is_processor, celsius))
        })
        .collect();
    let has_processor = zones.iter().any(|(is_processor, _)| *is_processor);
    let counted = zones.iter().filter(|(is_processor, _)| *is_processor || !has_processor);
    counted.map(|(_, celsius)| *celsius).max_by(f32::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_zone_of_the_processor_counts() {
        let folder = tempfile::tempdir().unwrap();
        let zone = |number: u32, kind: &str, temp: &str| {
            let zone = folder.path().join(format!("thermal_zone{number}"));
            std::fs::create_dir_all(&zone).unwrap();
            std::fs::write(zone.join("type"), kind).unwrap();
            std::fs::write(zone.join("temp"), temp).unwrap();
        };
        assert_eq!(read(folder.path()), None);
        zone(0, "acpitz", "27800\n");
        zone(1, "iwlwifi_1", "51000\n");
        assert_eq!(read(folder.path()), Some(51.0));
        zone(2, "x86_pkg_temp", "47500\n");
        zone(3, "cpu-thermal", "-274000\n");
        assert_eq!(read(folder.path()), Some(47.5));
    }
}
