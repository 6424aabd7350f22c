//! Processor time of those who share the machine: what an operation costs, whatever else runs beside it.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use nebula_tests::cluster::Cluster;
use nebula_tests::stack::Stack;

/// Seconds, since each began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    gateway: f64,
    server: f64,
    load: f64,
}

/// Milliseconds of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Each(Cpu);

impl Cpu {
    /// As of now.
    pub(crate) fn now(cluster: &Cluster, stack: &Stack) -> Result<Self> {
        let postmaster = cluster.server_id()?;
        let Spent { own, children, .. } = spent(postmaster)?;
        let mut server = own + children;
        for entry in fs::read_dir("/proc")? {
            let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that ends at this moment has spent next to nothing since.
            if let Ok(process) = spent(id)
                && process.parent == postmaster
            {
                server += process.own;
            }
        }
        let load = spent(i32::try_from(std::process::id())?)?;
        Ok(Self { gateway: spent(stack.gateway_id()?)?.own, server, load: load.own + load.children })
    }

    /// What was spent since then on each of so many operations.
    pub(crate) fn each(self, since: Self, operations: usize) -> Each {
        let of = |now: f64, then: f64| (now - then) * 1000.0 / operations.max(1) as f64;
        Each(Self {
            gateway: of(self.gateway, since.gateway),
            server: of(self.server, since.server),
            load: of(self.load, since.load),
        })
    }
}

impl fmt::Display for Each {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cpu { gateway, server, load } = self.0;
        write!(f, "{gateway:.2} + {server:.2} + {load:.2} ms")
    }
}

struct Spent {
    parent: i32,
    own: f64,
    children: f64,
}

/// Of one process; that of its children counts once they have ended.
fn spent(id: i32) -> Result<Spent> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name before it may hold anything.
    let rest = text.rsplit_once(") ").context("no name in /proc/PID/stat")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a short line")?.parse()?) };
    // What Linux counts in for programs, on every machine.
    let ticks = 100.0;
    Ok(Spent {
        parent: fields.get(1).context("a short line")?.parse()?,
        own: (number(11)? + number(12)?) / ticks,
        children: (number(13)? + number(14)?) / ticks,
    })
}
