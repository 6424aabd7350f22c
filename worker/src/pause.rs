//! When this worker runs no jobs: on a battery that is nearly empty, when the machine is too hot, and outside of the
//! hours it was given.

use std::str::FromStr;
use std::time::Duration;

use chrono::{Local, NaiveTime};
use nebula_machine::{Machine, Sensors};
use tokio::sync::watch;
use tokio::task::{spawn, spawn_blocking};
use tokio::time::sleep;

/// Time between looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// Percent above the least, and degrees below the most, at which work goes on: otherwise it would begin and stop all
/// the time.
const MORE_PERCENT: u8 = 5;
const COOLER: f32 = 10.0;

/// When work is not done.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// On the battery, work needs so many percent of it.
    pub(crate) least_percent: u8,
    /// Work needs a processor that is cooler than this.
    pub(crate) most_celsius: f32,
    /// Work is done at these times of the day only.
    pub(crate) hours: Option<Hours>,
}

/// A part of the day on the clock of the machine; may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    from: NaiveTime,
    to: NaiveTime,
}

/// The text is not a part of the day.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0:?} is not a part of the day: write 22:00-06:00")]
pub struct HoursError(String);

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").ok();
        let hours =
            text.split_once('-').and_then(|(from, to)| Some(Self { from: time(from)?, to: time(to)? }));
        hours
            .filter(|hours| hours.from != hours.to)
            .ok_or_else(|| HoursError(text.chars().take(40).collect()))
    }
}

impl Hours {
    fn contain(self, time: NaiveTime) -> bool {
        match self.from < self.to {
            true => (self.from..self.to).contains(&time),
            false => time >= self.from || time < self.to,
        }
    }
}

/// Why no job is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Battery,
    Heat,
    Hours,
}

impl Limits {
    /// The cause of a pause and a sentence about it; `before` is the cause of the pause that is on.
    fn judge(&self, machine: &Machine, time: NaiveTime, before: Option<Cause>) -> Option<(Cause, String)> {
        let least = self.least_percent;
        let needed =
            if before == Some(Cause::Battery) { least.saturating_add(MORE_PERCENT).min(100) } else { least };
        if let Some(battery) = machine.power.battery.filter(|_| machine.power.is_on_battery())
            && battery.percent < needed
        {
            let text = format!("on the battery at {} %, work needs {needed} % or a charger", battery.percent);
            return Some((Cause::Battery, text));
        }
        let most = if before == Some(Cause::Heat) { self.most_celsius - COOLER } else { self.most_celsius };
        if let Some(celsius) = machine.celsius.filter(|celsius| *celsius >= most) {
            let text = format!("the processor has {celsius:.0} °C, work needs less than {most:.0} °C");
            return Some((Cause::Heat, text));
        }
        let hours = self.hours.filter(|hours| !hours.contain(time))?;
        let [from, to] = [hours.from, hours.to].map(|time| time.format("%H:%M").to_string());
        Some((Cause::Hours, format!("work is done from {from} to {to}")))
    }
}

/// Looks at the machine from now on; the value is the reason why no job is to run, if there is one.
pub(crate) fn watch(limits: Limits, sensors: Sensors) -> watch::Receiver<Option<String>> {
    let first = limits.judge(&sensors.read(), Local::now().time(), None);
    let mut cause = first.as_ref().map(|(cause, _)| *cause);
    let (sender, receiver) = watch::channel(first.map(|(_, text)| text));
    log(&sender.borrow());
    spawn(async move {
        while !sender.is_closed() {
            sleep(INTERVAL).await;
            let sensors = sensors.clone();
            let Ok(machine) = spawn_blocking(move || sensors.read()).await else { continue };
            let found = limits.judge(&machine, Local::now().time(), cause);
            let now = found.as_ref().map(|(cause, _)| *cause);
            // The sentence changes with every percent; the pause does not.
            if now != cause {
                cause = now;
                let text = found.map(|(_, text)| text);
                log(&text);
                sender.send_replace(text);
            }
        }
    });
    receiver
}

fn log(reason: &Option<String>) {
    match reason {
        Some(reason) => tracing::info!("pausing: {reason}"),
        None => tracing::info!("ready to work: power, heat and hours allow it"),
    }
}

#[cfg(test)]
mod tests {
    use nebula_machine::{Battery, Power};

    use super::*;

    fn at(text: &str) -> NaiveTime {
        NaiveTime::parse_from_str(text, "%H:%M").unwrap()
    }

    #[test]
    fn hours_may_go_over_midnight() {
        let night: Hours = "22:00-06:00".parse().unwrap();
        let day: Hours = "8:30 - 17:00".parse().unwrap();
        let during =
            |hours: Hours| ["21:59", "22:00", "05:59", "06:00", "12:00"].map(|time| hours.contain(at(time)));
        assert_eq!(during(night), [false, true, true, false, false]);
        assert_eq!(during(day), [false, false, false, false, true]);
        for wrong in ["", "22", "22:00", "22:00-25:00", "22:00-22:00"] {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn work_pauses_and_goes_on_with_some_distance() {
        let limits =
            Limits { least_percent: 20, most_celsius: 90.0, hours: Some("22:00-06:00".parse().unwrap()) };
        let machine = |percent, charger, celsius| Machine {
            power: Power { battery: Some(Battery { percent, is_discharging: true }), charger: Some(charger) },
            celsius: Some(celsius),
        };
        let judge = |percent, charger, celsius, before| {
            let found = limits.judge(&machine(percent, charger, celsius), at("23:00"), before);
            found.map(|(cause, _)| cause)
        };
        assert_eq!(judge(20, false, 50.0, None), None);
        assert_eq!(judge(19, false, 50.0, None), Some(Cause::Battery));
        assert_eq!(judge(24, false, 50.0, Some(Cause::Battery)), Some(Cause::Battery));
        assert_eq!(judge(25, false, 50.0, Some(Cause::Battery)), None);
        assert_eq!(judge(5, true, 50.0, Some(Cause::Battery)), None, "a charger ends it");
        assert_eq!(judge(99, true, 90.0, None), Some(Cause::Heat));
        assert_eq!(judge(99, true, 81.0, Some(Cause::Heat)), Some(Cause::Heat));
        assert_eq!(judge(99, true, 79.0, Some(Cause::Heat)), None);
        let late = limits.judge(&Machine::default(), at("07:00"), None).unwrap();
        assert_eq!(late, (Cause::Hours, "work is done from 22:00 to 06:00".to_owned()));
    }
}
