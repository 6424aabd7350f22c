//! Counts lost pings while something is changed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use nebula_tests::device::Device;
use nebula_tests::eventually;

/// Pings from one device to another, five a second, until it is dropped.
pub(super) struct Pings {
    ping: Child,
    /// Sequence numbers of the answers.
    back: Arc<Mutex<BTreeSet<u64>>>,
}

impl Pings {
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

    /// Sequence numbers without an answer, after five more answers have arrived. The newest pings are not
    /// counted as lost, because on a busy machine their answers are often still on the way.
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

impl Drop for Pings {
    fn drop(&mut self) {
        drop(self.ping.kill().and_then(|()| self.ping.wait()));
    }
}
