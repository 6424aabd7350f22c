//! Processor time, duration and peak memory of programs that run to their end.

use std::fs;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cpu;

/// Interval of the looks at the memory of a program. The kernel keeps its peak, so only a peak of its last moments
/// can be missed.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Resources of a program; of several, the sums and the highest peak.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Seconds of processor time.
    pub(crate) cpu: f64,
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Bytes of memory at the peak.
    pub(crate) peak: u64,
}

impl Usage {
    /// The sum of two that ran one after the other.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, wall: self.wall + other.wall, peak: self.peak.max(other.peak) }
    }

    /// The median of each number.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let of = |number: fn(&Self) -> f64| median(rounds.iter().map(number).collect());
        Self {
            cpu: of(|usage| usage.cpu),
            wall: of(|usage| usage.wall),
            peak: of(|usage| usage.peak as f64) as u64,
        }
    }
}

/// The middle one; of an even number, the upper one of both.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs a program to its end; answers what it used and printed. No other child may end meanwhile.
pub(crate) fn measure(command: &mut Command) -> Result<(Usage, String)> {
    let (mut output, errors) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(errors.try_clone()?);
    let spent = || cpu::of_ended_children();
    let (before, begun) = (spent()?, Instant::now());
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // At its end a process has no memory.
        peak = peak_memory(child.id()).unwrap_or(0).max(peak);
        sleep(LOOK_INTERVAL);
    };
    let usage = Usage { wall: begun.elapsed().as_secs_f64(), cpu: spent()? - before, peak };
    let text = |file: &mut fs::File| {
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        anyhow::Ok(text)
    };
    let printed = text(&mut output)?;
    if !status.success() {
        bail!("{command:?} failed:\n{printed}{}", text(&mut { errors })?);
    }
    Ok((usage, printed))
}

fn peak_memory(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}
