//! Progress of the conversion, reported at most four times a second.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Shortest time between two reports: smooth for a person, cheap for the pipe.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// Progress of a conversion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// From 0 to 1.
    pub progress: f32,
    /// Pictures per second; `None` without video.
    pub fps: Option<f32>,
    /// `probe`, the name of the decision, or `finish`.
    pub stage: String,
}

/// Turns the position of the muxer into progress reports.
pub(super) struct Meter<'a> {
    report: &'a mut dyn FnMut(Progress),
    stage: String,
    started: Instant,
    reported: Instant,
}

impl<'a> Meter<'a> {
    pub(super) fn new(stage: String, report: &'a mut dyn FnMut(Progress)) -> Self {
        let now = Instant::now();
        report(Progress { progress: 0.0, fps: None, stage: stage.clone() });
        Self { report, stage, started: now, reported: now }
    }

    /// Reports when the interval has passed; `fraction` is computed only then.
    pub(super) fn tick(&mut self, pictures: u64, fraction: impl FnOnce() -> f64) {
        if self.reported.elapsed() < MIN_INTERVAL {
            return;
        }
        self.reported = Instant::now();
        let fps = pictures as f64 / self.started.elapsed().as_secs_f64();
        (self.report)(Progress {
            progress: fraction().clamp(0.0, 1.0) as f32,
            fps: (pictures > 0).then_some(fps as f32),
            stage: self.stage.clone(),
        });
    }

    /// Reports the last stage, whose progress cannot be measured.
    pub(super) fn finishing(&mut self) {
        (self.report)(Progress { progress: 0.99, fps: None, stage: "finish".into() });
    }
}
