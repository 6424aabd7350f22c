//! Signing certificates: compared with a bare signature over as many bytes, and with nebula-cert as a
//! subprocess.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use nebula_certificate::{CertificateAuthority, Curve, IssueRequest, KeyPair, NewAuthority, Version};
use nebula_tests::binary::{self, run};
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::settings::Settings;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Length of the signed part of a version 1 certificate with a name, an address and a group.
const SIGNED_BYTES: usize = 120;

/// Prints the table.
pub(crate) fn run_table(settings: &Settings) -> Result<()> {
    let time = Duration::from_secs(settings.seconds.into());
    println!("\n## Signing certificates, one core: ratio to the bare signature\n");
    println!("| | a second | ratio |\n|---|---|---|");
    let key = PKey::generate_ed25519()?;
    let message = [7; SIGNED_BYTES];
    let bare = rate(time, || Ok(Signer::new_without_digest(&key)?.sign_oneshot_to_vec(&message)?))?;
    line("bare Ed25519 signature (OpenSSL)", bare, bare);
    for (curve, versions, name) in [
        (Curve::Curve25519, &[Version::V1][..], "version 1, Curve25519"),
        (Curve::Curve25519, &[Version::V2], "version 2, Curve25519"),
        (Curve::Curve25519, &[Version::V1, Version::V2], "both in one node.crt, Curve25519"),
        (Curve::P256, &[Version::V1], "version 1, P256"),
    ] {
        let new = NewAuthority { curve, ..NewAuthority::new("bench", DAY) };
        let authority = CertificateAuthority::create(&new, SystemTime::now())?;
        let device = KeyPair::generate(curve)?;
        let groups = ["laptops".to_owned()];
        let network = ["10.42.0.7/16".parse()?];
        let request = IssueRequest {
            name: "laptop-17",
            networks: &network,
            unsafe_networks: &[],
            groups: &groups,
            public_key: device.public_key(),
            lifetime: DAY / 2,
            versions,
        };
        let signed = rate(time, || Ok(authority.issue(&request, SystemTime::now())?))?;
        line(&format!("checked, encoded, signed, read back: {name}"), signed, bare);
    }
    line("nebula-cert sign as a subprocess, version 1", forked(time)?, bare);
    Ok(())
}

/// Signs by calling nebula-cert for each device.
fn forked(time: Duration) -> Result<f64> {
    let [_, tool] = binary::nebula()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let mut make = Command::new(&tool.cert);
    run(make.current_dir(path).args(["ca", "-name", "bench", "-version", "1"]))?;
    run(Command::new(&tool.cert)
        .current_dir(path)
        .args(["keygen", "-out-key", "node.key", "-out-pub", "node.pub"]))?;
    rate(time, || {
        let mut sign = Command::new(&tool.cert);
        sign.current_dir(path).args([
            "sign",
            "-name",
            "laptop-17",
            "-networks",
            "10.42.0.7/16",
            "-groups",
            "laptops",
        ]);
        run(sign.args(["-in-pub", "node.pub", "-out-crt", "node.crt"]))?;
        Ok(fs::remove_file(path.join("node.crt"))?)
    })
}

/// Calls per second.
fn rate<T>(time: Duration, mut work: impl FnMut() -> Result<T>) -> Result<f64> {
    work()?;
    let (begin, mut calls) = (Instant::now(), 0_u32);
    while begin.elapsed() < time {
        work()?;
        calls += 1;
    }
    Ok(f64::from(calls) / begin.elapsed().as_secs_f64())
}

fn line(name: &str, rate: f64, floor: f64) {
    println!("| {name} | {rate:.0} | {:.3} |", rate / floor);
}
