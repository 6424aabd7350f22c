//! Packets on their way while something is changed under them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use nebula_tests::device::Device;
use nebula_tests::eventually;

/// Five packets a second from one device to another, until it is dropped.
pub(super) struct Flight {
    ping: Child,
    /// Numbers of those that came back.
    back: Arc<Mutex<BTreeSet<u64>>>,
}

impl Flight {
    pub(super) fn begin(from: &Device, to: &Device) -> Result<Self> {
        let mut ping = from.inside("ping");
        let mut ping = ping.args(["-i", "0.2", &to.address]).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(ping.stdout.take().context("no output")?).lines();
        let back = Arc::new(Mutex::new(BTreeSet::new()));
        let noted = Arc::clone(&back);
        thread::spawn(move || {
            for line in lines.map_while(std::io::Result::ok) {
                let number = line.split_once("icmp_seq=").and_then(|(_, rest)| rest.split(' ').next());
                if let Some(number) = number.and_then(|number| number.parse().ok()) {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
                }
            }
        });
        Ok(Self { ping, back })
    }

    /// Numbers of those that were lost, once five more have come back. Those that are still on their way are not: on a
    /// busy machine one often is.
    pub(super) async fn lost(&self) -> Result<Vec<u64>> {
        let back = || self.back.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = back().last().copied().unwrap_or_default();
        eventually("packets to come back", || async {
            let back = back();
            let Some(last) = back.last().filter(|last| **last >= before + 5) else { return Ok(None) };
            Ok(Some((1..=*last).filter(|number| !back.contains(number)).collect()))
        })
        .await
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        drop(self.ping.kill().and_then(|()| self.ping.wait()));
    }
}
