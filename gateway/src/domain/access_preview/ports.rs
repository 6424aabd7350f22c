//! Sets of connections: ports of TCP and of UDP, and ICMP.

use nebula_api::firewall::Rule;

/// A bit for each port.
const WORDS: usize = (u16::MAX as usize + 1) / 64;

#[derive(Debug, Clone)]
pub(super) struct Allowed {
    tcp: Vec<u64>,
    udp: Vec<u64>,
    icmp: bool,
}

impl Allowed {
    pub(super) fn nothing() -> Self {
        Self { tcp: vec![0; WORDS], udp: vec![0; WORDS], icmp: false }
    }

    pub(super) fn everything() -> Self {
        Self { tcp: vec![u64::MAX; WORDS], udp: vec![u64::MAX; WORDS], icmp: true }
    }

    /// Every device takes it.
    pub(super) fn ping() -> Self {
        Self { icmp: true, ..Self::nothing() }
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.icmp && self.tcp.iter().chain(&self.udp).all(|word| *word == 0)
    }

    /// Adds what a rule allows, whoever it is for.
    pub(super) fn add(&mut self, rule: &Rule) {
        let is_of = |protocol: &str| rule.protocol == "any" || rule.protocol == protocol;
        let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
        let (first, last) = match (port(rule.port_first), port(rule.port_last)) {
            (None, _) => (0, u16::MAX),
            (Some(first), last) => (first, last.unwrap_or(first)),
        };
        for (is_of, ports) in [(is_of("tcp"), &mut self.tcp), (is_of("udp"), &mut self.udp)] {
            if is_of {
                (first..=last).for_each(|port| ports[usize::from(port / 64)] |= 1 << (port % 64));
            }
        }
        self.icmp |= is_of("icmp") && rule.port_first.is_none();
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        self.with(other, |one, other| one & other)
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        self.with(other, |one, other| one & !other)
    }

    fn with(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let words = |one: &[u64], other: &[u64]| {
            one.iter().zip(other).map(|(one, other)| join(*one, *other)).collect()
        };
        let icmp = join(u64::from(self.icmp), u64::from(other.icmp)) & 1 == 1;
        Self { tcp: words(&self.tcp, &other.tcp), udp: words(&self.udp, &other.udp), icmp }
    }

    /// Ports of TCP and of UDP as people write them, and whether ICMP is among it.
    pub(super) fn shown(&self) -> (Vec<String>, Vec<String>, bool) {
        (ranges(&self.tcp), ranges(&self.udp), self.icmp)
    }
}

/// `22`, `8000-8010`, or `any`. Port 0 is no port.
fn ranges(ports: &[u64]) -> Vec<String> {
    let is_in = |port: u16| ports[usize::from(port / 64)] >> (port % 64) & 1 == 1;
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in (1..=u16::MAX).filter(|port| is_in(*port)) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == port => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    let text = |(first, last)| match (first, last) {
        (1, u16::MAX) => "any".to_owned(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    ranges.into_iter().map(text).collect()
}
