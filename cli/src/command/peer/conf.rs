//! The `.conf` of a peer: the gateway's text, with the private key that was made here.

use std::path::{Path, PathBuf};

use nebula_api::peer::{PRIVATE_KEY_PLACEHOLDER, PeerConfig};
use zeroize::Zeroizing;

use super::key::KeyPair;
use crate::atomic_file::{self, PRIVATE};
use crate::command::line::is_unsafe;
use crate::error::{Code, Doing, Error, Result};

/// Keys that every WireGuard program takes. `wg-quick` would run the value of others, such as `PostUp`, as
/// root.
const KEYS: [&str; 10] = [
    "PrivateKey",
    "Address",
    "DNS",
    "MTU",
    "ListenPort",
    "PublicKey",
    "PresharedKey",
    "AllowedIPs",
    "Endpoint",
    "PersistentKeepalive",
];

/// Longest name of an interface, and of a tunnel in the WireGuard app for Android.
const NAME_LENGTH: usize = 15;

/// Puts the private key into the text, after a check that each line is one that a `.conf` may have.
pub(super) fn fill(conf: &str, private_key: &str) -> Result<Zeroizing<String>> {
    let mut filled = Zeroizing::new(String::with_capacity(conf.len() + private_key.len()));
    let mut places = 0;
    for line in conf.lines() {
        let line = line.trim();
        let (key, value) = line.split_once('=').map_or((line, ""), |(key, value)| (key.trim(), value.trim()));
        if line.chars().any(is_unsafe) {
            return Err(wrong("a line has control characters"));
        }
        let known = line.is_empty() || line.starts_with('#') || matches!(line, "[Interface]" | "[Peer]");
        if !known && !KEYS.iter().any(|known| known.eq_ignore_ascii_case(key)) {
            return Err(wrong(&format!("it has the line \"{line}\"")));
        }
        if key.eq_ignore_ascii_case("PrivateKey") {
            if value != PRIVATE_KEY_PLACEHOLDER {
                return Err(wrong("it has a private key already"));
            }
            places += 1;
            filled.push_str("PrivateKey = ");
            filled.push_str(private_key);
        } else {
            filled.push_str(line);
        }
        filled.push('\n');
    }
    if places == 1 { Ok(filled) } else { Err(wrong("it has no single place for the private key")) }
}

/// The private key of an existing `.conf`.
pub(crate) fn key_in(text: &str) -> Option<KeyPair> {
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split('#').next().unwrap_or_default().split_once('=')?;
        key.trim().eq_ignore_ascii_case("PrivateKey").then_some(value.trim())
    });
    // The base64 of a key ends with `=`, so only the first one separates.
    values.into_iter().find_map(KeyPair::from_private)
}

/// Name of the file, after a check that it is one in the current folder that every program takes.
pub(super) fn file_name(config: &PeerConfig) -> Result<&str> {
    let stem = config.file_name.strip_suffix(".conf").unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = (1..=NAME_LENGTH).contains(&stem.len()) && !stem.starts_with('-') && stem.chars().all(plain);
    if good { Ok(stem) } else { Err(wrong("its name is not that of a .conf")) }
}

/// Writes the file for its owner alone. Without a target it is NAME.conf here, or another name beside an
/// existing file of this name: the key would otherwise be lost.
pub(super) fn write(target: Option<&Path>, config: &PeerConfig, text: &str) -> Result<PathBuf> {
    if let Some(target) = target {
        atomic_file::create_new(target, text.as_bytes(), PRIVATE)?;
        return Ok(target.to_owned());
    }
    let stem = file_name(config)?;
    for number in 1..100 {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let kept = &stem[..stem.len().min(NAME_LENGTH - suffix.len())];
        let path = PathBuf::from(format!("{kept}{suffix}.conf"));
        if !path.exists() {
            atomic_file::create_new(&path, text.as_bytes(), PRIVATE)?;
            return Ok(path);
        }
    }
    Err(Error::new(Code::AlreadyExists, format!("{stem}.conf exists already, a hundred times"))
        .hint("Remove those that are not needed, or name a file with --out."))
}

/// An existing target is an error before anything is created or changed at the gateway.
pub(super) fn require_free(target: Option<&Path>) -> Result<()> {
    match target.filter(|target| target.exists()) {
        Some(target) => Err(Error::new(Code::AlreadyExists, format!("{} exists already", target.display()))
            .hint("It was left as it is; move it away or name another file.")),
        None => Ok(()),
    }
}

/// Reads a `.conf`; one is short, and longer input is an error.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>> {
    let text = Zeroizing::new(std::fs::read(path).doing(|| format!("read {}", path.display()))?);
    let text = std::str::from_utf8(&text).map_err(|_| {
        Error::new(Code::InvalidArgument, format!("{} is not text", path.display()))
            .hint("A .conf of WireGuard is plain ASCII.")
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The error of a `.conf` that could harm this machine.
fn wrong(problem: &str) -> Error {
    Error::new(Code::Protocol, format!("the .conf from the gateway was not taken over: {problem}"))
        .hint("Compare the versions: nebulactl --version, nebulactl ping")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = "[Interface]\n# Name = phone\nPrivateKey = <private key>\nAddress = 10.77.0.2/32\n\
                        DNS = 10.42.0.1\nMTU = 1280\n\n[Peer]\nPublicKey = AAAA\nPresharedKey = BBBB\n\
                        AllowedIPs = 10.42.0.0/16\nEndpoint = [2001:db8::1]:51820\nPersistentKeepalive = 25\n";

    fn config(file_name: &str) -> PeerConfig {
        PeerConfig { file_name: file_name.to_owned(), conf: CONF.to_owned() }
    }

    #[test]
    fn the_private_key_takes_its_place_and_nothing_else_changes() {
        let filled = fill(CONF, "SECRET=").unwrap();
        assert_eq!(*filled, CONF.replace("<private key>", "SECRET="));
    }

    #[test]
    fn a_conf_that_runs_commands_or_has_no_single_place_for_the_key_is_refused() {
        for wrong in [
            CONF.replace("MTU = 1280", "PostUp = reboot"),
            CONF.replace("MTU = 1280", "postdown=reboot"),
            CONF.replace("MTU = 1280", "Table = off"),
            CONF.replace("MTU = 1280", "[Other]"),
            CONF.replace("MTU = 1280", "MTU = 12\u{0}80"),
            CONF.replace("<private key>", "QUJD"),
            CONF.replace("PrivateKey = <private key>\n", ""),
            CONF.replace("MTU = 1280", "PrivateKey = <private key>"),
        ] {
            assert!(fill(&wrong, "SECRET=").is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_key_of_a_filled_file_is_found_again() {
        let pair = KeyPair::generate().unwrap();
        let filled = fill(CONF, pair.private()).unwrap();
        assert_eq!(key_in(&filled).unwrap().public, pair.public);
        assert!(key_in(CONF).is_none());
    }

    #[test]
    fn a_file_name_stays_in_the_folder_and_fits_every_program() {
        assert_eq!(file_name(&config("living-room-tv1.conf")).unwrap(), "living-room-tv1");
        for wrong in [
            "",
            ".conf",
            "../a.conf",
            "/a.conf",
            "a",
            "-a.conf",
            "a b.conf",
            "a.conf.conf",
            "abcdefghijklmnop.conf",
        ] {
            assert!(file_name(&config(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_existing_target_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("phone.conf");
        assert!(require_free(Some(&path)).is_ok());
        write(Some(&path), &config("phone.conf"), "first").unwrap();
        assert!(require_free(Some(&path)).is_err());
        assert!(write(Some(&path), &config("phone.conf"), "second").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
