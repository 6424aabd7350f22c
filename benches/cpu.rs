//! Processor time of gateway, server and load: the cost of an operation independent of other load on the
//! machine.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use nebula_tests::cluster::Cluster;
use nebula_tests::stack::Stack;

/// Seconds of processor time since the start of each process.
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
        let server = server(cluster)?;
        let load = spent(i32::try_from(std::process::id())?)?;
        Ok(Self { gateway: spent(stack.gateway_id()?)?.own, server, load: load.own + load.children })
    }

    /// The time spent since `since`, for each of `operations`.
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

/// Seconds of processor time of all processes of the server, ended ones included.
pub(crate) fn server(cluster: &Cluster) -> Result<f64> {
    family(cluster.server_id()?)
}

/// Seconds of processor time of this process's children that have ended.
pub(crate) fn of_ended_children() -> Result<f64> {
    Ok(spent(i32::try_from(std::process::id())?)?.children)
}

/// Seconds of processor time of a process and its children, ended ones included.
pub(crate) fn family(parent: i32) -> Result<f64> {
    let Spent { own, children, .. } = spent(parent)?;
    let others = children_of(parent)?;
    Ok(own + children + others.iter().map(|(_, child)| child.own + child.children).sum::<f64>())
}

/// Bytes of resident memory of a process and its children.
pub(crate) fn family_memory(parent: i32) -> Result<u64> {
    let mut memory = 0;
    for id in children_of(parent)?.into_iter().map(|(id, _)| id).chain([parent]) {
        let text = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        memory += line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
    }
    Ok(memory)
}

/// The children that run. A process that ends at this moment is left out.
fn children_of(parent: i32) -> Result<Vec<(i32, Spent)>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Ok(process) = spent(id)
            && process.parent == parent
        {
            children.push((id, process));
        }
    }
    Ok(children)
}

/// Seconds of processor time of a process and of its children that have ended.
pub(crate) fn process(id: i32) -> Result<f64> {
    let Spent { own, children, .. } = spent(id)?;
    Ok(own + children)
}

struct Spent {
    parent: i32,
    own: f64,
    children: f64,
}

/// Processor time of one process; that of its children is counted when they end.
fn spent(id: i32) -> Result<Spent> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name in brackets may contain any character, so the fields are counted from its end.
    let rest = text.rsplit_once(") ").context("no name in /proc/PID/stat")?.1;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| -> Result<f64> { Ok(fields.get(at).context("a short line")?.parse()?) };
    // USER_HZ, which is 100 on every Linux machine.
    let ticks = 100.0;
    Ok(Spent {
        parent: fields.get(1).context("a short line")?.parse()?,
        own: (number(11)? + number(12)?) / ticks,
        children: (number(13)? + number(14)?) / ticks,
    })
}
