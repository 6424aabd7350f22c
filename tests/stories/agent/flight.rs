//! Packets on their way while something is changed under them.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nebula_tests::binary::run;
use nebula_tests::device::Device;

/// Five packets a second until it lands.
pub(super) fn begin(from: &Device, to: &Device) -> Result<Child> {
    let mut command = from.inside("ping");
    Ok(command.args(["-i", "0.2", "-W", "5", &to.address]).stdout(Stdio::piped()).spawn()?)
}

/// What ping says of it; SIGINT makes it count.
pub(super) fn land(mut flight: Child) -> Result<String> {
    run(Command::new("kill").args(["-INT", &flight.id().to_string()]))?;
    let mut text = String::new();
    flight.stdout.take().context("no output")?.read_to_string(&mut text)?;
    flight.wait()?;
    Ok(text)
}
