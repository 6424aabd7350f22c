//! Compared with vectors made by slackhq/nebula's own code, and with requests that nebula would refuse.

mod issue;
mod keys;
mod vectors;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::{Certificate, CertificateAuthority, NewAuthority};

/// 2026-06-01, within the validity of every vector.
const NOW: i64 = 1_780_272_000;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs())
}

fn networks(list: &[&str]) -> Vec<IpNetwork> {
    list.iter().map(|network| network.parse().unwrap()).collect()
}

fn groups(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn authority() -> CertificateAuthority {
    CertificateAuthority::create(&NewAuthority::new("home", DAY * 365), now()).unwrap()
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/nebula-certificates.json")).unwrap()
}

fn vector(name: &str) -> Value {
    let all = vectors();
    all["certificates"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap()
}

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    hex::decode(text(vector, field)).unwrap()
}

fn parsed(name: &str) -> Certificate {
    Certificate::parse(text(&vector(name), "pem")).unwrap().remove(0)
}
