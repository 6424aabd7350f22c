//! nebula-cert accepts our certificates and we accept those of nebula-cert: every combination of version,
//! curve, networks, groups, unsafe networks and encryption of the authority's key.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use ipnetwork::IpNetwork;
use nebula_certificate::{
    Certificate, CertificateAuthority, Cost, Curve, IssueRequest, KeyPair, NewAuthority, Version, verify,
};
use nebula_tests::binary::{self, Nebula, run};
use nebula_tests::stack::secret;

const DAY: Duration = Duration::from_secs(24 * 3600);
const PASSPHRASE: &str = "correct horse";
/// The lowest cost that nebula-cert accepts, because the test is about the format.
const CHEAP: Cost = Cost { memory: 1024, iterations: 1, parallelism: 2 };

/// The contents of a requested certificate.
struct Case {
    networks: &'static [&'static str],
    unsafe_networks: &'static [&'static str],
    groups: &'static [&'static str],
}

const CASES: [Case; 5] = [
    Case { networks: &["10.42.0.7/16"], unsafe_networks: &[], groups: &[] },
    Case { networks: &["10.42.1.7/16"], unsafe_networks: &["192.168.9.0/24"], groups: &["web", "admin"] },
    // The following need version 2.
    Case { networks: &["fd00:42::7/64"], unsafe_networks: &["2001:db8::/48"], groups: &["web"] },
    Case { networks: &["10.42.0.7/16", "fd00:42::7/64"], unsafe_networks: &[], groups: &["a b", "ü"] },
    Case {
        networks: &["10.42.0.9/16", "10.43.0.1/24", "fd00:42::9/64"],
        unsafe_networks: &["10.0.0.0/8", "2001:db8::/48"],
        groups: &[],
    },
];

impl Case {
    fn fits(&self, version: Version) -> bool {
        version == Version::V2 || (self.networks.len() == 1 && !self.networks[0].contains(':'))
    }
}

fn networks(texts: &[&str]) -> Vec<IpNetwork> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// An authority in files, made by nebula-cert or by us.
fn authority(
    tool: &Nebula,
    folder: &Path,
    ours: bool,
    version: Version,
    curve: Curve,
    sealed: bool,
) -> Result<()> {
    let (cert, key) = (folder.join("ca.crt"), folder.join("ca.key"));
    if ours {
        let new = NewAuthority { version, curve, ..NewAuthority::new("exchange", DAY) };
        let made = CertificateAuthority::create(&new, SystemTime::now())?;
        let text =
            if sealed { made.encrypted_key_pem(PASSPHRASE, CHEAP)? } else { made.key_pem()?.to_string() };
        secret(&key, &text)?;
        fs::write(&cert, made.pem())?;
        return Ok(());
    }
    let mut command = Command::new(&tool.cert);
    command.args(["ca", "-name", "exchange", "-duration", "24h", "-curve"]);
    command.arg(if curve == Curve::P256 { "P256" } else { "25519" });
    command
        .args(["-version", &version.number().to_string()])
        .arg("-out-crt")
        .arg(cert)
        .arg("-out-key")
        .arg(key);
    if sealed {
        command.args([
            "-encrypt",
            "-argon-memory",
            "1024",
            "-argon-iterations",
            "1",
            "-argon-parallelism",
            "2",
        ]);
        command.env("NEBULA_CA_PASSPHRASE", PASSPHRASE);
    }
    run(&mut command).map(drop)
}

/// Issues certificates and verifies them with nebula-cert.
fn ours_to_theirs(
    tools: &[Nebula; 2],
    folder: &Path,
    authority: &CertificateAuthority,
    case: &Case,
) -> Result<usize> {
    let device = KeyPair::generate(authority.curve())?;
    let groups: Vec<String> = case.groups.iter().map(|group| (*group).to_owned()).collect();
    let (mut judged, mut versions) = (0, vec![Version::V2]);
    if case.fits(Version::V1) {
        versions.push(Version::V1);
    }
    let request = IssueRequest {
        name: "laptop",
        networks: &networks(case.networks),
        unsafe_networks: &networks(case.unsafe_networks),
        groups: &groups,
        public_key: device.public_key(),
        lifetime: DAY / 2,
        versions: &versions,
    };
    for issued in authority.issue(&request, SystemTime::now())? {
        let path = folder.join("one.crt");
        fs::write(&path, &issued.pem)?;
        for tool in tools {
            // 1.6.1 supports only version 1 on Curve25519.
            let details = authority.certificate().details();
            let plain =
                [issued.version, details.version] == [Version::V1; 2] && details.curve == Curve::Curve25519;
            if tool.version == "1.6.1" && !plain {
                continue;
            }
            run(Command::new(&tool.cert)
                .arg("verify")
                .arg("-ca")
                .arg(folder.join("ca.crt"))
                .arg("-crt")
                .arg(&path))
            .with_context(|| format!("nebula-cert {} on {:?}", tool.version, case.networks))?;
            let shown = run(Command::new(&tool.cert).args(["print", "-json", "-path"]).arg(&path))?;
            let fingerprint = hex::encode(issued.fingerprint);
            ensure!(shown.contains(&fingerprint), "{fingerprint} is not the fingerprint in {shown}");
            judged += 1;
        }
    }
    Ok(judged)
}

/// Verifies a certificate that nebula-cert signed.
fn theirs_to_ours(tool: &Nebula, folder: &Path, sealed: bool, version: Version, case: &Case) -> Result<()> {
    let path = folder.join("two.crt");
    for leftover in [&path, &folder.join("two.key")] {
        drop(fs::remove_file(leftover));
    }
    let mut command = Command::new(&tool.cert);
    command.args(["sign", "-name", "phone", "-duration", "12h", "-version", &version.number().to_string()]);
    command.args(["-networks", &case.networks.join(","), "-groups", &case.groups.join(",")]);
    command.args(["-unsafe-networks", &case.unsafe_networks.join(",")]).current_dir(folder);
    command.arg("-out-crt").arg(&path).arg("-out-key").arg(folder.join("two.key"));
    if sealed {
        command.env("NEBULA_CA_PASSPHRASE", PASSPHRASE);
    }
    run(&mut command)?;
    let authorities = Certificate::parse(&fs::read_to_string(folder.join("ca.crt"))?)?;
    let signed = Certificate::parse(&fs::read_to_string(&path)?)?;
    verify(&signed[0], &authorities, SystemTime::now())?;
    let details = signed[0].details();
    let mut wanted = networks(case.networks);
    wanted.sort_unstable();
    assert_eq!((details.version, &details.networks), (version, &wanted));
    assert_eq!(details.groups, case.groups);
    let shown = run(Command::new(&tool.cert).args(["print", "-json", "-path"]).arg(&path))?;
    ensure!(shown.contains(&hex::encode(signed[0].fingerprint())), "another fingerprint than in {shown}");
    Ok(())
}

#[test]
fn certificates_are_exchanged_with_nebula_cert() -> Result<()> {
    let tools = binary::nebula()?;
    let mut judged = 0;
    for (ours, version, curve, sealed) in [true, false].into_iter().flat_map(|ours| {
        [Version::V1, Version::V2].into_iter().flat_map(move |version| {
            [Curve::Curve25519, Curve::P256]
                .into_iter()
                .flat_map(move |curve| [false, true].map(|sealed| (ours, version, curve, sealed)))
        })
    }) {
        let folder = tempfile::tempdir()?;
        let folder = folder.path();
        let what = format!("authority ours: {ours}, {version:?}, {curve}, encrypted: {sealed}");
        authority(&tools[1], folder, ours, version, curve, sealed).with_context(|| what.clone())?;
        let [cert, key] = ["ca.crt", "ca.key"].map(|name| fs::read_to_string(folder.join(name)));
        let (cert, key) = (cert?, key?);
        let loaded = CertificateAuthority::load(&cert, &key, sealed.then_some(PASSPHRASE));
        let loaded = loaded.with_context(|| what.clone())?;
        for case in &CASES {
            judged += ours_to_theirs(&tools, folder, &loaded, case).with_context(|| what.clone())?;
            for version in [Version::V1, Version::V2].into_iter().filter(|version| case.fits(*version)) {
                theirs_to_ours(&tools[1], folder, sealed, version, case).with_context(|| what.clone())?;
            }
        }
        if sealed {
            assert!(CertificateAuthority::load(&cert, &key, Some("wrong")).is_err());
        }
    }
    // 16 authorities with 7 certificates each, verified by 1.11; by 1.6.1 the two of version 1 where it
    // supports the curve.
    assert_eq!(judged, 16 * 7 + 4 * 2);
    Ok(())
}
