//! `nebula-gateway check`: whether the gateway could start with these settings, so that nobody stops one that runs for
//! another that cannot.

use std::net::ToSocketAddrs;

use anyhow::{Context, Result, bail};
use nebula_api::endpoint::{HINT, fault};

use crate::infra::bind::listen_addresses;
use crate::settings::{Flags, Settings};

/// Reads the settings as the server does, but contacts and opens nothing.
///
/// # Errors
/// One sentence: the setting, the problem, the remedy.
pub fn check(flags: Flags, endpoint: Option<&str>) -> Result<()> {
    let settings = Settings::from_flags(flags)?;
    let (first, _) = listen_addresses(&settings.listen)?;
    first
        .to_socket_addrs()
        .with_context(|| format!("NEBULA_LISTEN: {first:?} is not host:port of this machine"))?;
    match endpoint.and_then(fault) {
        Some(fault) => {
            bail!("no device finds a lighthouse at {:?}: it {fault}. {HINT}", endpoint.unwrap_or_default())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        flags: Flags,
    }

    fn checked(setting: &str, endpoint: Option<&str>) -> Result<()> {
        let required = [
            "--database-url=postgresql://localhost",
            "--storage-url=file:///store",
            "--ca-cert=ca.crt",
            "--ca-key=ca.key",
            "--token-key=hex:0000000000000000000000000000000000000000000000000000000000000000",
        ];
        let arguments = Arguments::parse_from(["check"].into_iter().chain(required).chain([setting]));
        check(arguments.flags, endpoint)
    }

    #[test]
    fn settings_that_the_server_could_not_start_with_are_refused() {
        for good in ["--listen=127.0.0.1:8080,10.42.0.1:8080", "--listen=localhost:8080"] {
            checked(good, Some("192.0.2.10:4242")).unwrap();
        }
        for (wrong, words) in [
            ("--listen=*:8080", "NEBULA_LISTEN"),
            ("--listen=127.0.0.1:99999", "NEBULA_LISTEN"),
            ("--listen=127.0.0.1:80,localhost:81", "NEBULA_LISTEN"),
            ("--public-url=http://0.0.0.0", "NEBULA_PUBLIC_URL"),
            ("--trusted-proxies=proxy", "NEBULA_TRUSTED_PROXIES"),
        ] {
            assert!(format!("{:#}", checked(wrong, None).unwrap_err()).contains(words), "{wrong}");
        }
        let refused = checked("--listen=127.0.0.1:80", Some("1.2.3:4242")).unwrap_err().to_string();
        assert!(refused.contains("has a number as host"), "{refused}");
    }
}
