//! Agents in network namespaces: two lighthouses, a relay and three devices; one lighthouse and one device
//! run nebula 1.6.1.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nebula_tests::binary::{self, Nebula, run};
use nebula_tests::cluster::Database;
use nebula_tests::device::{ControlLink, Device};
use nebula_tests::eventually;
use nebula_tests::netns::Network;
use nebula_tests::stack::Stack;

mod adopt;
mod faults;
mod install;
mod ipv6;
mod kill;
mod lan;
mod lifecycle;
mod machine_faults;
pub(crate) mod node;
mod ping_loss;
mod reach;
mod renewal;
mod rotation;
mod share;
mod systemd_unit;
mod traffic;
mod trust_domain;
mod tuning;
mod wireguard;

/// Limit for a new configuration to arrive, and for a revoked device to be cut off.
const MINUTE: Duration = Duration::from_secs(60);

/// A small network with all its agents.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) devices: Vec<Device>,
    link: ControlLink,
    pub(crate) network: Network,
    releases: [Nebula; 2],
}

impl World {
    /// Joins devices by name, role and release (0 is 1.6.1), on hosts counted from 1; no agent runs yet.
    async fn joined(plan: &[(&str, &str, usize)]) -> Result<Self> {
        Self::on(Stack::start().await?, plan).await
    }

    /// The same on a given stack.
    async fn on(stack: Stack, plan: &[(&str, &str, usize)]) -> Result<Self> {
        Self::beside(stack, plan, 1).await
    }

    /// The same with hosts that are no devices, behind those of the devices.
    pub(crate) async fn joined_beside(plan: &[(&str, &str, usize)], others: usize) -> Result<Self> {
        Self::beside(Stack::start().await?, plan, others).await
    }

    async fn beside(stack: Stack, plan: &[(&str, &str, usize)], others: usize) -> Result<Self> {
        let releases = binary::nebula()?;
        let network = Network::new(plan.len() + others)?;
        let link = ControlLink::new(&stack)?;
        let mut world = Self { stack, devices: Vec::new(), link, network, releases };
        for (name, role, release) in plan {
            world.join(name, role, *release).await?;
        }
        Ok(world)
    }

    /// The same, with every agent running.
    async fn start(plan: &[(&str, &str, usize)]) -> Result<Self> {
        let mut world = Self::joined(plan).await?;
        for device in &mut world.devices {
            device.start()?;
        }
        Ok(world)
    }

    async fn join(&mut self, name: &str, role: &str, release: usize) -> Result<()> {
        let host = self.devices.len() + 1;
        let device =
            Device::join(&self.stack, &self.network, &self.link, host, &self.releases[release], (name, role));
        self.devices.push(device.await?);
        Ok(())
    }

    pub(crate) fn device(&mut self, name: &str) -> &mut Device {
        self.devices.iter_mut().find(|device| device.name == name).expect("planned")
    }

    pub(crate) fn look(&self, name: &str) -> &Device {
        self.devices.iter().find(|device| device.name == name).expect("planned")
    }

    async fn reaches(&self, from: &str, to: &str) -> Result<()> {
        self.look(from).reaches(self.look(to)).await
    }

    /// Waits until every one of these devices has acknowledged its newest configuration.
    async fn current(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let device = self.look(name);
            let what = format!("{name} to run the newest configuration");
            let seen =
                eventually(&what, || async { acknowledged(&self.stack.database, &device.id).await }).await;
            seen.with_context(|| device.logs())?;
        }
        Ok(())
    }
}

/// Whether a device has acknowledged the project's configuration.
async fn acknowledged(database: &Database, device: &str) -> Result<Option<()>> {
    let client = database.connect().await?;
    let row = client
        .query_one(
            "SELECT config_version <= acknowledged_version FROM nebula.agent
              JOIN nebula.project USING (project_id)
              WHERE device_id = $1::text::uuid",
            &[&device],
        )
        .await?;
    Ok(row.get::<_, bool>(0).then_some(()))
}

const PLAN: [(&str, &str, usize); 6] = [
    ("lighthouse-a", "lighthouse", 1),
    ("lighthouse-b", "lighthouse", 0),
    ("relay", "relay", 1),
    ("laptop", "host", 1),
    ("phone", "host", 0),
    ("desktop", "host", 1),
];
