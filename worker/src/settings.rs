//! Command-line flags; every flag has an environment variable of the same name.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nebula_connect::{Server, ServerError};
use nebula_machine::Sensors;
use nebula_storage::Reserve;
use uuid::Uuid;

use crate::child::Tuning;
pub use crate::pause::Hours;
use crate::pause::Limits;

/// Flags and variables of the worker. Without `Debug`, because the database URL may hold a password.
#[derive(Args)]
pub struct Settings {
    /// Where PostgreSQL is: postgresql://user:password@host/database
    #[arg(long, env = "NEBULA_DATABASE_URL", hide_env_values = true, default_value = "")]
    pub database_url: String,
    /// The same database for LISTEN, past a pooler in transaction mode [default: the database URL]; without it such a
    /// worker finds jobs by looking every NEBULA_POLL seconds
    #[arg(long, env = "NEBULA_DATABASE_LISTEN_URL", hide_env_values = true, default_value = "")]
    pub database_listen_url: String,
    /// Where files are: file:///folder or s3://bucket?endpoint=…
    #[arg(long, env = "NEBULA_STORAGE_URL", hide_env_values = true, default_value = "")]
    pub storage_url: String,
    /// Jobs done at the same time; one encoder already uses every processor
    #[arg(long, env = "NEBULA_SLOTS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub slots: u16,
    /// Seconds after which the jobs of a silent worker go to another one
    #[arg(long, env = "NEBULA_LEASE", default_value_t = 30, value_parser = clap::value_parser!(u32).range(3..=3600))]
    pub lease: u32,
    /// Seconds between queries for jobs when no notification arrives
    #[arg(long, env = "NEBULA_POLL", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub poll: u32,
    /// Seconds that running jobs get to finish when the worker stops; the others go to another worker at once
    #[arg(long, env = "NEBULA_GRACE", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub grace: u32,
    /// Name of this worker in the job table [default: host:pid]
    #[arg(long, env = "NEBULA_WORKER_NAME")]
    pub name: Option<String>,
    /// Node this worker runs on: it also takes jobs that are only for that node
    #[arg(long, env = "NEBULA_NODE_ID")]
    pub node_id: Option<Uuid>,
    /// Capabilities of this worker, separated by commas: it also takes jobs that need them
    #[arg(long, env = "NEBULA_CAPABILITIES", value_delimiter = ',')]
    pub capability: Vec<String>,
    /// Folder for half-made files [default: beside the stored ones]
    #[arg(long, env = "NEBULA_SCRATCH")]
    pub scratch: Option<PathBuf>,
    /// Room that is left free on a disk: bytes, 2GiB, 5% [default: 2 %, between 1 and 10 GiB]
    #[arg(long, env = "NEBULA_DISK_RESERVE", value_name = "SIZE|PERCENT")]
    pub disk_reserve: Option<Reserve>,
    /// Percent of the battery below which no jobs are done without a charger; 0: always
    #[arg(long, env = "NEBULA_BATTERY_MIN", value_name = "PERCENT", default_value_t = 25)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    pub battery_min: u8,
    /// Degrees Celsius of the processor at which jobs stop until it is 10 degrees cooler
    #[arg(long, env = "NEBULA_TEMPERATURE_MAX", value_name = "DEGREES", default_value_t = 97)]
    #[arg(value_parser = clap::value_parser!(u16).range(40..=200))]
    pub temperature_max: u16,
    /// Time of the day at which jobs are done, such as 22:00-06:00, on the clock of the machine [default: always]
    #[arg(long, env = "NEBULA_WORK_HOURS", value_name = "FROM-TO")]
    pub work_hours: Option<Hours>,
    /// Folder in which Linux shows batteries and chargers [default: /sys/class/power_supply]
    #[arg(long, env = "NEBULA_POWER_SUPPLY_DIR", value_name = "FOLDER")]
    pub power_supply_dir: Option<PathBuf>,
    /// Folder in which Linux shows temperatures [default: /sys/class/thermal]
    #[arg(long, env = "NEBULA_THERMAL_DIR", value_name = "FOLDER")]
    pub thermal_dir: Option<PathBuf>,
    /// Niceness of media processes: 0 as other programs, 19 behind all others
    #[arg(long, env = "NEBULA_NICE", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=19))]
    pub nice: u8,
    /// Threads of each encoder and decoder; 0: as many as there are processors, at most 16
    #[arg(long, env = "NEBULA_MEDIA_THREADS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=256))]
    pub media_threads: u16,
    /// Device that encodes and decodes pictures where it can, by VAAPI or QSV; empty: none
    #[arg(long, env = "NEBULA_RENDER_DEVICE", value_name = "PATH", default_value = "/dev/dri/renderD128")]
    pub render_device: PathBuf,
    /// Mebibytes a second that a scrub reads, to compare stored bytes with their digests
    #[arg(long, env = "NEBULA_SCRUB_RATE", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub scrub_rate: u32,
    /// Days after which a scrub reads the same bytes again
    #[arg(long, env = "NEBULA_SCRUB_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub scrub_days: u32,
    /// File that is touched whenever the database has answered, for health checks
    #[arg(long, env = "NEBULA_HEALTH_FILE")]
    pub health_file: Option<PathBuf>,
}

/// A setting that is missing or malformed. The messages never repeat a URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No database URL.
    #[error("--database-url or NEBULA_DATABASE_URL is missing: postgresql://user:password@host/database")]
    DatabaseUrlMissing,
    /// Not a connection string.
    #[error("{0} cannot be used ({1}): write postgresql://user:password@host/database")]
    DatabaseUrl(&'static str, ServerError),
    /// No storage URL.
    #[error("--storage-url or NEBULA_STORAGE_URL is missing: file:///folder or s3://bucket?endpoint=…")]
    StorageUrlMissing,
}

impl Settings {
    /// The database.
    pub(crate) fn database(&self) -> Result<Server, SettingsError> {
        if self.database_url.is_empty() {
            return Err(SettingsError::DatabaseUrlMissing);
        }
        server("NEBULA_DATABASE_URL", &self.database_url)
    }

    /// The database for LISTEN.
    pub(crate) fn listener(&self) -> Result<Server, SettingsError> {
        match self.database_listen_url.as_str() {
            "" => self.database(),
            url => server("NEBULA_DATABASE_LISTEN_URL", url),
        }
    }

    /// URL of the file store.
    pub(crate) fn storage(&self) -> Result<&str, SettingsError> {
        if self.storage_url.is_empty() {
            return Err(SettingsError::StorageUrlMissing);
        }
        Ok(&self.storage_url)
    }

    /// Name of this worker in the job table.
    pub(crate) fn worker_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("{}:{}", host.trim(), std::process::id())
        })
    }

    /// Share of the machine that media processes take.
    pub(crate) fn tuning(&self) -> Tuning {
        let device = Some(self.render_device.clone()).filter(|device| !device.as_os_str().is_empty());
        Tuning { nice: self.nice, threads: self.media_threads, device }
    }

    /// When no jobs are done.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            least_percent: self.battery_min,
            most_celsius: f32::from(self.temperature_max),
            hours: self.work_hours,
        }
    }

    pub(crate) fn sensors(&self) -> Sensors {
        Sensors::new(self.power_supply_dir.clone(), self.thermal_dir.clone())
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(u64::from(self.lease))
    }

    pub(crate) fn poll(&self) -> Duration {
        Duration::from_secs(u64::from(self.poll))
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(u64::from(self.grace))
    }
}

fn server(setting: &'static str, url: &str) -> Result<Server, SettingsError> {
    let mut server = Server::parse(url).map_err(|error| SettingsError::DatabaseUrl(setting, error))?;
    let config = server.config_mut();
    if config.get_application_name().is_none() {
        config.application_name("nebula-worker");
    }
    // A server that vanishes without closing the connection must be noticed well within a lease.
    config
        .connect_timeout(Duration::from_secs(5))
        .keepalives_idle(Duration::from_secs(10))
        .tcp_user_timeout(Duration::from_secs(15));
    Ok(server)
}
