//! nebula's log, the only source of tunnels in both 1.6 and 1.11: a file, or the journal of a unit. nebula's
//! statistics count the whole daemon, not each peer, and its SSH shell needs extra keys; bytes per peer come from
//! `traffic`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write, stderr};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::failure::is_about_traffic;
use fields::fields_of;

mod fields;

/// Size at which the log is truncated after reading.
const MAX_LOG_BYTES: u64 = 8 << 20;

/// A log message that the agent acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The interface is active.
    Up,
    /// A reload begins; the one before has ended.
    Reloading,
    /// Certificates were reloaded.
    Reloaded,
    /// An error message about the configuration or the machine.
    Error(String),
}

/// A tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tunnel {
    /// Name in the certificate.
    pub(crate) name: String,
    /// All overlay addresses in the certificate; releases before 1.10 log the first alone.
    pub(crate) addresses: Vec<String>,
    /// Address on the underlay, or the relay.
    pub(crate) remote: Option<String>,
    /// When the tunnel was made, by this machine's clock.
    pub(crate) handshake_at: DateTime<Utc>,
}

/// The log file and the tunnels read from it.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    offset: u64,
    rest: Vec<u8>,
    peers: BTreeMap<String, Tunnel>,
}

impl Log {
    /// Starts at the beginning of the file: an adopted nebula has logged its tunnels before.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, rest: Vec::new(), peers: BTreeMap::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Tunnels by overlay address.
    pub(crate) fn peers(&self) -> &BTreeMap<String, Tunnel> {
        &self.peers
    }

    /// Forgets all tunnels, before a new nebula process starts.
    pub(crate) fn reset(&mut self) {
        self.read();
        self.rest.clear();
        self.peers.clear();
    }

    /// Reads the lines since the last call. A file that cannot be read yields none.
    pub(crate) fn read(&mut self) -> Vec<Event> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut bytes)
        });
        let Ok(count) = read else { return Vec::new() };
        self.offset += count as u64;
        // Lines written between the two calls are lost. nebula opened the file for appending, so it continues
        // at the start.
        if self.offset > MAX_LOG_BYTES
            && OpenOptions::new().write(true).open(&self.path).is_ok_and(|file| file.set_len(0).is_ok())
        {
            self.offset = 0;
        }
        self.rest.extend_from_slice(&bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let lines: Vec<u8> = self.rest.drain(..=end).collect();
        let text = String::from_utf8_lossy(&lines);
        for error in text.lines().filter_map(last_error) {
            // Also for the service manager's journal. If standard error is closed, the line is lost.
            let _ = writeln!(stderr(), "nebula: {error}");
        }
        self.read_lines(&text)
    }

    /// Reads whole lines, also of a log that is kept elsewhere.
    pub(crate) fn read_lines(&mut self, text: &str) -> Vec<Event> {
        text.lines().filter_map(|line| self.read_line(line)).collect()
    }

    fn read_line(&mut self, line: &str) -> Option<Event> {
        let Some(fields) = fields_of(line) else {
            return last_error(line).map(Event::Error);
        };
        let message = fields["msg"].as_str().unwrap_or_default();
        // Each process says this once, before its first tunnel.
        if message == "Main HostMap created" {
            self.peers.clear();
        }
        self.update_peers(message, &fields);
        match message {
            "Nebula interface is active" => Some(Event::Up),
            "Caught HUP, reloading config" => Some(Event::Reloading),
            _ if message.starts_with("Client cert") && message.ends_with("refreshed from disk") => {
                Some(Event::Reloaded)
            }
            _ => {
                let text = last_error(line)?;
                (!is_about_traffic(&text)).then_some(Event::Error(text))
            }
        }
    }

    fn update_peers(&mut self, message: &str, fields: &Value) {
        let address = fields["vpnIp"].as_str().or_else(|| fields["vpnAddrs"][0].as_str());
        let Some(address) = address else { return };
        let gone = message.contains("tearing down") || message.starts_with("Dropping tunnel");
        if gone || fields["tunnelCheck"]["state"] == "dead" {
            self.peers.remove(address);
        } else if message == "Handshake message received" {
            let time = fields["time"].as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
            let peer = Tunnel {
                name: fields["certName"].as_str().unwrap_or_default().to_owned(),
                addresses: match fields["vpnAddrs"].as_array() {
                    Some(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                    None => vec![address.to_owned()],
                },
                remote: remote(fields),
                handshake_at: time.map_or_else(Utc::now, |time| time.to_utc()),
            };
            self.peers.insert(address.to_owned(), peer);
        } else if message == "Handshake message sent"
            && let Some(peer) = self.peers.get_mut(address)
        {
            // When a tunnel comes through a relay, release 1.6 logs the relay only with the reply.
            peer.remote = peer.remote.take().or_else(|| relay(fields));
        } else if message.starts_with("Host roamed")
            && let Some(peer) = self.peers.get_mut(address)
        {
            peer.remote = endpoint(&fields["newAddr"]).or(peer.remote.take());
        }
    }
}

/// 1.6 logs `udpAddr` or `relay`; 1.11 logs `from` with `direct` or `relay`.
fn remote(fields: &Value) -> Option<String> {
    relay(fields).or_else(|| endpoint(&fields["udpAddr"])).or_else(|| endpoint(&fields["from"]["direct"]))
}

fn relay(fields: &Value) -> Option<String> {
    let relay = fields["relay"].as_str().or_else(|| fields["from"]["relay"].as_str())?;
    Some(format!("relay {relay}"))
}

/// `"192.0.2.1:4242"`, or `{"ip": …, "port": …}`.
fn endpoint(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let (ip, port) = (value["ip"].as_str()?, value["port"].as_u64()?);
    Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
}

/// The last error message in a text. Other lines are never returned, because `nebula -test` prints the whole
/// configuration with its keys.
pub(crate) fn last_error(text: &str) -> Option<String> {
    text.lines().filter_map(error_of_line).next_back().map(|message| message.chars().take(1000).collect())
}

fn error_of_line(line: &str) -> Option<String> {
    if let Some(fields) = fields_of(line) {
        let level = fields["level"].as_str()?.to_ascii_lowercase();
        let message = fields["msg"].as_str().unwrap_or_default();
        let wrong = matches!(level.as_str(), "error" | "fatal" | "panic");
        return wrong.then(|| match fields["error"].as_str() {
            Some(error) => format!("{message}: {error}"),
            None => message.to_owned(),
        });
    }
    // The last ones are of Go's runtime.
    let bare = ["failed to ", "panic: ", "fatal error: ", "runtime: ", "runtime/"]
        .iter()
        .any(|start| line.starts_with(start));
    bare.then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"build":"1.6.1","interface":"nebula1","level":"info","msg":"Nebula interface is active","network":"10.77.0.1/24","time":"2026-11-21T09:07:58Z","udpAddr":{"ip":"0.0.0.0","port":4242}}
{"certName":"h2","fingerprint":"09","handshake":{"stage":1,"style":"ix_psk0"},"level":"info","msg":"Handshake message received","time":"2026-11-21T09:07:58Z","udpAddr":{"ip":"192.0.2.2","port":4242},"vpnIp":"10.77.0.2"}
{"cert":{},"level":"info","msg":"Client cert refreshed from disk","time":"2026-11-21T09:08:01Z"}
"#;
    const NEW: &str = r#"{"time":"2026-11-21T09:07:58.736202091Z","level":"INFO","msg":"Nebula interface is active","networks":["10.77.0.2/24"],"build":"1.11.0"}
{"time":"2026-11-21T09:07:58.73862249Z","level":"INFO","msg":"Handshake message received","vpnAddrs":["10.77.0.1"],"from":{"direct":"192.0.2.1:4242"},"certName":"h1","handshake":{"stage":2,"style":"ix_psk0"}}
{"time":"2026-11-21T09:08:01.740316593Z","level":"INFO","msg":"Client certificate(s) refreshed from disk","cert":[]}
"#;

    fn log(text: &str) -> (tempfile::TempDir, Log) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nebula.log");
        std::fs::write(&path, text).unwrap();
        (folder, Log::new(path))
    }

    #[test]
    fn the_logs_of_1_6_and_1_11_are_parsed() {
        for (text, address, name, remote) in
            [(OLD, "10.77.0.2", "h2", "192.0.2.2:4242"), (NEW, "10.77.0.1", "h1", "192.0.2.1:4242")]
        {
            let (_folder, mut log) = log(text);
            assert_eq!(log.read(), [Event::Up, Event::Reloaded]);
            let peer = &log.peers()[address];
            assert_eq!((peer.name.as_str(), peer.remote.as_deref()), (name, Some(remote)));
        }
    }

    #[test]
    fn errors_about_packets_say_nothing_about_the_configuration() {
        let line = |text: &str| format!("{{\"level\":\"error\",\"msg\":\"{text}\"}}\n");
        let text =
            ["Failed to write outgoing packet", "Error while creating firewall during reload"].map(line);
        let (_folder, mut log) = log(&text.concat());
        assert_eq!(log.read(), [Event::Error("Error while creating firewall during reload".into())]);
    }

    #[test]
    fn the_relay_of_a_tunnel_is_reported() {
        let new = r#"{"msg":"Handshake message received","vpnAddrs":["10.99.0.5"],"from":{"relay":"192.0.2.3:4242"}}"#;
        let old = r#"{"msg":"Handshake message received","vpnIp":"10.99.0.5","udpAddr":null}
{"msg":"Handshake message sent","vpnIp":"10.99.0.5","relay":"10.99.0.3"}"#;
        for (lines, remote) in [(new, "relay 192.0.2.3:4242"), (old, "relay 10.99.0.3")] {
            let (_folder, mut log) = log(&format!("{lines}\n"));
            log.read();
            assert_eq!(log.peers()["10.99.0.5"].remote.as_deref(), Some(remote));
        }
    }

    #[test]
    fn closed_tunnels_are_removed_and_incomplete_lines_wait() {
        let (_folder, mut log) = log(NEW);
        log.read();
        let line = r#"{"time":"2026-11-21T09:08:03Z","level":"INFO","msg":"Close tunnel received, tearing down.","vpnAddrs":["10.77.0.1"]}"#;
        let append = |text: &str| {
            let mut file = OpenOptions::new().append(true).open(log.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append(&line[..40]);
        let path = log.path().to_owned();
        let mut again = Log::new(path);
        again.read();
        assert_eq!(again.peers().len(), 1);
        append(&format!("{}\n", &line[40..]));
        again.read();
        assert_eq!(again.peers().len(), 0);
    }

    #[test]
    fn a_large_log_is_truncated_and_read_on() {
        let line = "{\"msg\":\"nothing of interest to anybody\"}\n";
        let (_folder, mut log) = log(&line.repeat(MAX_LOG_BYTES as usize / line.len() + 1));
        assert_eq!(log.read(), []);
        assert_eq!(log.path().metadata().unwrap().len(), 0);
        let mut file = OpenOptions::new().append(true).open(log.path()).unwrap();
        file.write_all(OLD.as_bytes()).unwrap();
        assert_eq!(log.read(), [Event::Up, Event::Reloaded]);
    }

    #[test]
    fn text_says_the_same_as_json() {
        let text = concat!(
            "time=\"2026-11-21T09:07:58Z\" level=info msg=\"Nebula interface is active\" build=1.6.1\n",
            "time=2026-11-21T09:08:01Z level=INFO msg=\"Client certificate(s) refreshed from disk\" cert=[]\n",
            "level=error msg=\"Failed to write outgoing packet\" error=\"no buffer\"\n",
            "time=\"x\" level=error msg=\"Error while creating firewall during reload\" error=\"rule #0; `x` \\\"y\\\"\"\n",
        );
        let (_folder, mut log) = log(text);
        let error = "Error while creating firewall during reload: rule #0; `x` \"y\"".to_owned();
        assert_eq!(log.read(), [Event::Up, Event::Reloaded, Event::Error(error)]);
    }

    #[test]
    fn a_unit_that_logs_text_tells_its_tunnels_too() {
        let old = r#"time="2026-11-30T15:11:38Z" level=info msg="Main HostMap created" network=10.99.0.1/24 preferredRanges="[]"
time="2026-11-30T15:11:38Z" level=info msg="Handshake message received" certName=h2 fingerprint=93 handshake="map[stage:1 style:ix_psk0]" initiatorIndex=3 udpAddr="192.0.2.2:37978" vpnIp=10.99.0.2
"#;
        let new = r#"time=2026-11-30T15:11:38.146Z level=INFO msg="Main HostMap created" preferredRanges=[]
time=2026-11-30T15:11:38.171Z level=INFO msg="Handshake message received" vpnAddrs="[10.99.0.2 fd99::2]" from=192.0.2.2:37978 certName=h2 certVersion=1 handshake="map[stage:2 style:ix_psk0]" durationNs=4260316
"#;
        let closed = [
            r#"time="2026-11-30T15:11:43Z" level=info msg="Close tunnel received, tearing down." certName=h2 udpAddr="192.0.2.2:37978" vpnIp=10.99.0.2"#,
            r#"time=2026-11-30T15:11:43.1Z level=INFO msg="Tunnel status" tunnelCheck="map[method:active state:dead]" vpnAddrs="[10.99.0.2 fd99::2]" certName=h2"#,
        ];
        for ((lines, closed), addresses) in
            [old, new].into_iter().zip(closed).zip([&["10.99.0.2"][..], &["10.99.0.2", "fd99::2"]])
        {
            let mut log = Log::new(PathBuf::from("/nowhere"));
            log.read_lines(lines);
            let peer = log.peers()["10.99.0.2"].clone();
            assert_eq!((peer.name.as_str(), peer.remote.as_deref()), ("h2", Some("192.0.2.2:37978")));
            assert_eq!(peer.addresses, addresses);
            assert_eq!(peer.handshake_at.timestamp(), 1_796_051_498, "{lines}");
            // Another process has none of these tunnels.
            log.read_lines(lines.lines().next().unwrap());
            assert!(log.peers().is_empty());
            log.read_lines(lines);
            log.read_lines(closed);
            assert!(log.peers().is_empty(), "{closed}");
        }
    }

    #[test]
    fn error_messages_contain_no_configuration() {
        let text = concat!(
            r#"time="2026-11-21T09:08:05Z" level=info msg="pki:\n  key: SECRET\n""#,
            "\n",
            r#"{"error":"private key is not a pair","level":"error","msg":"Failed to load certificate from config"}"#,
            "\n",
        );
        assert_eq!(
            last_error(text).unwrap(),
            "Failed to load certificate from config: private key is not a pair"
        );
        assert_eq!(last_error("failed to load config: yaml").unwrap(), "failed to load config: yaml");
        assert_eq!(last_error(r#"time="x" level=error msg="no""#).unwrap(), "no");
        assert_eq!(last_error("{\"level\":\"INFO\",\"msg\":\"SECRET\"}\nSECRET"), None);
    }
}
