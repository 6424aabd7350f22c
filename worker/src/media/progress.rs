//! How far the work is, told seldom enough not to cost anything.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Four a second are plenty for a person and nothing for a pipe.
const INTERVAL: Duration = Duration::from_millis(250);

/// A line of progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// From 0 to 1.
    pub progress: f32,
    /// Pictures per second, when there are pictures.
    pub fps: Option<f32>,
    /// What is being done: `probe`, the decision, or `finish`.
    pub stage: String,
}

/// Turns the muxer's clock into progress lines.
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

    /// Reports when it is time to; `fraction` is only worked out then.
    pub(super) fn tick(&mut self, pictures: u64, fraction: impl FnOnce() -> f64) {
        if self.reported.elapsed() < INTERVAL {
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

    /// The last stage, during which nothing can be measured.
    pub(super) fn finishing(&mut self) {
        (self.report)(Progress { progress: 0.99, fps: None, stage: "finish".into() });
    }
}
