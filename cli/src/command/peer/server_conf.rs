//! Reads the `wg0.conf` of a WireGuard server, with the names of its peers as panels and scripts write them
//! into comments.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;
use zeroize::Zeroizing;

mod comment;

use comment::Comment;

/// Marks each line of a peer that PiVPN has disabled.
const DISABLED: &str = "#[disabled]";

/// A `wg0.conf`.
#[derive(Debug, Default)]
pub(crate) struct ServerConf {
    pub(crate) listen_port: Option<u16>,
    pub(crate) peers: Vec<ServerPeer>,
    /// Lines that are left out, and why.
    pub(super) problems: Vec<Problem>,
}

/// A `[Peer]`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ServerPeer {
    /// Line of `[Peer]`, from 1.
    pub(crate) line: usize,
    pub(crate) name: Option<String>,
    pub(crate) public_key: Option<String>,
    pub(crate) preshared_key: Option<PresharedKey>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) disabled: bool,
}

/// A preshared key in base64, which does not show in a log.
#[derive(Clone, PartialEq)]
pub(crate) struct PresharedKey(Zeroizing<String>);

impl PresharedKey {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey")
    }
}

/// A line that is left out, and why.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Problem {
    /// From 1.
    pub(super) line: usize,
    pub(super) text: String,
}

/// A line without the mark of PiVPN.
struct Line<'a> {
    number: usize,
    text: &'a str,
    disabled: bool,
}

impl Line<'_> {
    fn is_comment(&self) -> bool {
        self.text.starts_with('#')
    }

    fn is_peer(&self) -> bool {
        self.text.split('#').next().is_some_and(|text| text.trim().eq_ignore_ascii_case("[peer]"))
    }
}

pub(crate) fn parse(text: &str) -> ServerConf {
    let lines: Vec<Line<'_>> = text.lines().enumerate().map(|(index, line)| mark(index + 1, line)).collect();
    let mut reader = Reader::default();
    for (index, line) in lines.iter().enumerate() {
        reader.read(line, place_of(&lines, index));
    }
    reader.finish()
}

fn mark(number: usize, line: &str) -> Line<'_> {
    let line = line.trim().trim_start_matches('\u{feff}');
    match line.strip_prefix(DISABLED) {
        Some(rest) => Line { number, text: rest.trim(), disabled: true },
        None => Line { number, text: line, disabled: false },
    }
}

/// Which `[Peer]` a comment is about.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// The one that it stands in.
    Within,
    /// The next one.
    Before,
    /// The next one, alone between a blank line and `[Peer]`.
    Heading,
}

fn place_of(lines: &[Line<'_>], index: usize) -> Place {
    let blank_above = index.checked_sub(1).is_none_or(|above| lines[above].text.is_empty());
    match lines.get(index + 1) {
        Some(below) if blank_above && below.is_peer() => Place::Heading,
        _ if belongs_to_next(lines, index) => Place::Before,
        _ => Place::Within,
    }
}

/// Whether a comment describes the next `[Peer]`: only comments and blank lines are between, and it does not
/// close the block of the peer before, with a blank line behind it.
fn belongs_to_next(lines: &[Line<'_>], index: usize) -> bool {
    let after = &lines[index + 1..];
    let next = after.iter().find(|line| !line.text.is_empty() && !line.is_comment());
    if !next.is_some_and(Line::is_peer) {
        return false;
    }
    let group_start = lines[..index].iter().rposition(|line| !line.is_comment());
    let touches_peer = group_start.is_some_and(|start| !lines[start].text.is_empty());
    let blank_behind = after.iter().find(|line| !line.is_comment()).is_some_and(|line| line.text.is_empty());
    !(touches_peer && blank_behind)
}

#[derive(Default)]
struct Reader {
    conf: ServerConf,
    /// Name of the next peer.
    pending: Option<String>,
    in_peer: bool,
    /// The line before was `[Peer]`.
    after_header: bool,
}

impl Reader {
    fn read(&mut self, line: &Line<'_>, place: Place) {
        let after_header = std::mem::take(&mut self.after_header);
        if line.is_comment() {
            return self.comment(line, place, after_header);
        }
        let text = line.text.split('#').next().unwrap_or_default().trim();
        if let Some(section) = text.strip_prefix('[') {
            self.in_peer = section.eq_ignore_ascii_case("peer]");
            self.after_header = self.in_peer;
            if self.in_peer {
                let name = self.pending.take();
                let (number, disabled) = (line.number, line.disabled);
                self.conf.peers.push(ServerPeer { line: number, name, disabled, ..ServerPeer::default() });
            }
            return;
        }
        if let Some((key, value)) = text.split_once('=') {
            self.setting(line.number, &key.trim().to_ascii_lowercase(), value.trim());
        }
    }

    fn comment(&mut self, line: &Line<'_>, place: Place, after_header: bool) {
        let (begins, name) = match comment::read(line.text) {
            Comment::PrivateKey => {
                return self
                    .problem(line.number, "holds a private key in a comment: not read, and better removed");
            }
            Comment::Begin(name) => (true, name),
            Comment::End => {
                self.in_peer = false;
                return;
            }
            Comment::Name(name) => (place != Place::Within, name),
            Comment::Text(name) if after_header => (false, name),
            // Written by hand. Several words may be a remark.
            Comment::Text(name) if place == Place::Heading && !name.contains(char::is_whitespace) => {
                (true, name)
            }
            Comment::Text(_) | Comment::Other => return,
        };
        if begins || !self.in_peer {
            self.pending = Some(name);
        } else if let Some(peer) = self.conf.peers.last_mut() {
            peer.name = Some(name);
        }
    }

    fn setting(&mut self, number: usize, key: &str, value: &str) {
        if key == "privatekey" {
            self.problem(
                number,
                "is the server's private key: not read; the node makes its own, or gets it by import-key",
            );
        }
        if !self.in_peer {
            if key == "listenport" {
                self.conf.listen_port = value.parse().ok();
            }
            return;
        }
        let Some(peer) = self.conf.peers.last_mut() else { return };
        match key {
            "publickey" => peer.public_key = Some(value.to_owned()),
            "presharedkey" if !value.is_empty() => {
                peer.preshared_key = Some(PresharedKey(Zeroizing::new(value.to_owned())));
            }
            "allowedips" => self.allowed(number, value),
            _ => {}
        }
    }

    /// Single addresses are the peer's; other networks would be routed to it.
    fn allowed(&mut self, number: usize, value: &str) {
        for text in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            match text.parse::<IpNetwork>() {
                Ok(network) if network.prefix() == if network.is_ipv4() { 32 } else { 128 } => {
                    if let Some(peer) = self.conf.peers.last_mut() {
                        peer.addresses.push(network.ip());
                    }
                }
                Ok(network) => {
                    self.problem(number, &format!("{network} is a network behind the peer: not taken over"))
                }
                Err(_) => self.problem(number, "has allowed IPs that are no addresses: left out"),
            }
        }
    }

    fn problem(&mut self, line: usize, text: &str) {
        self.conf.problems.push(Problem { line, text: text.to_owned() });
    }

    fn finish(self) -> ServerConf {
        self.conf
    }
}

#[cfg(test)]
mod tests;
