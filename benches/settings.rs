//! Lengths and sizes of the measurements; the defaults give the figures of the README.

use std::env;

use anyhow::{Context, Result};

/// Settings from the environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// `NEBULA_BENCH_SECONDS`: length of each measurement.
    pub(crate) seconds: u32,
    /// `NEBULA_BENCH_CHURN_SECONDS`: length of the churn; half of it follows under an old snapshot.
    pub(crate) churn_seconds: u32,
    /// `NEBULA_BENCH_PREFIX`: prefix length of the pool; /12 is a million addresses.
    pub(crate) prefix: u32,
    /// `NEBULA_BENCH_HELD`: held addresses in the table of sizes.
    pub(crate) held: i32,
    /// `NEBULA_BENCH_SESSIONS`: sessions of the table `many_sessions`.
    pub(crate) sessions: usize,
    /// `NEBULA_BENCH_JOBS`: number of finished and of waiting jobs under the long transaction.
    pub(crate) jobs: u32,
    /// `NEBULA_BENCH_HOLD_SECONDS`: length of the long transaction.
    pub(crate) hold_seconds: u32,
    /// `NEBULA_BENCH_AGENTS`: agents in long polls at one gateway.
    pub(crate) agents: usize,
    /// `NEBULA_BENCH_FILM_SECONDS`: length of the films; the one that somebody waits for is always ten minutes.
    pub(crate) film_seconds: u32,
    /// `NEBULA_BENCH_FILE_MIB`: size of the file that is sent and fetched.
    pub(crate) file_mib: u32,
    /// `NEBULA_BENCH_READERS`: clients that take nothing of a file.
    pub(crate) readers: usize,
    /// `NEBULA_BENCH_ROUNDS`: alternations between both of a comparison in the tables of media.
    pub(crate) rounds: usize,
    /// `NEBULA_BENCH_PRELOAD`: 0 measures the extension without shared_preload_libraries.
    pub(crate) preload: bool,
}

impl Settings {
    /// Reads the settings; an error names the variable that is not a number.
    pub(crate) fn read() -> Result<Self> {
        Ok(Self {
            seconds: number("NEBULA_BENCH_SECONDS", 5)?.max(1),
            churn_seconds: number("NEBULA_BENCH_CHURN_SECONDS", 600)?.max(4),
            prefix: number("NEBULA_BENCH_PREFIX", 12)?.clamp(8, 20),
            held: i32::try_from(number("NEBULA_BENCH_HELD", 1_000_000)?)?,
            sessions: usize::try_from(number("NEBULA_BENCH_SESSIONS", 1000)?)?,
            jobs: number("NEBULA_BENCH_JOBS", 1_000_000)?,
            hold_seconds: number("NEBULA_BENCH_HOLD_SECONDS", 300)?.max(1),
            agents: usize::try_from(number("NEBULA_BENCH_AGENTS", 10_000)?)?,
            film_seconds: number("NEBULA_BENCH_FILM_SECONDS", 60)?.clamp(10, 600),
            file_mib: number("NEBULA_BENCH_FILE_MIB", 2048)?.max(2),
            readers: usize::try_from(number("NEBULA_BENCH_READERS", 1000)?)?.max(2),
            rounds: usize::try_from(number("NEBULA_BENCH_ROUNDS", 3)?)?.max(1),
            preload: number("NEBULA_BENCH_PRELOAD", 1)? != 0,
        })
    }
}

fn number(name: &str, default: u32) -> Result<u32> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is \"{text}\", not a number")),
        Err(_) => Ok(default),
    }
}
