//! Watches battery, charger and temperature: in `/metrics`, in `/api/system` and in the log of events.

use std::sync::Arc;
use std::time::Duration;

use nebula_machine::{Machine, Sensors};
use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::database::{Database, storage};
use crate::error::ApiError;
use crate::infra::metrics::Metrics;

/// Time between looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Percent below which a battery is low, and degrees from which on a processor is hot; each ends with some distance.
const LOW_PERCENT: u8 = 20;
const HOT_CELSIUS: f32 = 95.0;
const MORE_PERCENT: u8 = 5;
const COOLER: f32 = 10.0;

/// The sensors of this machine.
#[derive(Debug)]
pub(crate) struct MachineWatch {
    sensors: Sensors,
    database: Database,
}

impl MachineWatch {
    pub(crate) fn new(sensors: Sensors, database: Database) -> Self {
        Self { sensors, database }
    }

    /// The machine now; nothing is known of it if the sensors cannot be read.
    pub(crate) async fn look(&self) -> Machine {
        let sensors = self.sensors.clone();
        spawn_blocking(move || sensors.read()).await.unwrap_or_default()
    }

    async fn record(&self, part: &str, state: &str, machine: &Machine) -> Result<(), ApiError> {
        let detail = json!({
            "batteryPercent": machine.power.battery.map(|battery| battery.percent),
            "charger": machine.power.charger,
            "celsius": machine.celsius,
        });
        storage::record_state(&self.database.client().await?, part, state, &detail).await
    }
}

/// The word for the power, in events.
fn power_word(machine: &Machine, before: Option<&str>) -> &'static str {
    let limit = if before == Some("battery-low") { LOW_PERCENT + MORE_PERCENT } else { LOW_PERCENT };
    match machine.power.battery {
        Some(battery) if machine.power.is_on_battery() && battery.percent < limit => "battery-low",
        _ if machine.power.is_on_battery() => "battery-used",
        _ => "power-ok",
    }
}

fn heat_word(machine: &Machine, before: Option<&str>) -> &'static str {
    let limit = if before == Some("heat-high") { HOT_CELSIUS - COOLER } else { HOT_CELSIUS };
    if machine.celsius.is_some_and(|celsius| celsius >= limit) { "heat-high" } else { "heat-ok" }
}

/// Looks at the machine every few seconds until `stopping` is cancelled: sets the gauges, logs and records changes.
pub(crate) fn start_watching(watch: Arc<MachineWatch>, metrics: Metrics, stopping: CancellationToken) {
    let watching = async move {
        let (mut power, mut heat) = (None, None);
        loop {
            let machine = watch.look().await;
            metrics.machine(&machine);
            for (part, now, recorded) in [
                ("power", power_word(&machine, power), &mut power),
                ("processor", heat_word(&machine, heat), &mut heat),
            ] {
                // Without a database the change is recorded at a later look.
                if *recorded != Some(now) && watch.record(part, now, &machine).await.is_ok() {
                    tracing::info!(part, state = now, "the machine has changed");
                    *recorded = Some(now);
                }
            }
            sleep(INTERVAL).await;
        }
    };
    tokio::spawn(async move { stopping.run_until_cancelled(watching).await });
}

#[cfg(test)]
mod tests {
    use nebula_machine::{Battery, Power};

    use super::*;

    #[test]
    fn a_state_ends_with_some_distance() {
        let machine = |percent, charger, celsius| Machine {
            power: Power { battery: Some(Battery { percent, is_discharging: true }), charger: Some(charger) },
            celsius: Some(celsius),
        };
        let power = |percent, charger, before| power_word(&machine(percent, charger, 40.0), before);
        assert_eq!(power(20, false, None), "battery-used");
        assert_eq!(power(19, false, None), "battery-low");
        assert_eq!(power(24, false, Some("battery-low")), "battery-low");
        assert_eq!(power(25, false, Some("battery-low")), "battery-used");
        assert_eq!(power(1, true, Some("battery-low")), "power-ok");
        assert_eq!(power_word(&Machine::default(), None), "power-ok", "a server");
        let heat = |celsius, before| heat_word(&machine(50, true, celsius), before);
        assert_eq!([heat(94.0, None), heat(95.0, None)], ["heat-ok", "heat-high"]);
        assert_eq!([86.0, 84.0].map(|c| heat(c, Some("heat-high"))), ["heat-high", "heat-ok"]);
    }
}
