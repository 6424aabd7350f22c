//! Which nodes can take a new peer, and how one of them is chosen.

use std::fmt;
use std::str::FromStr;

/// Seconds after its last report for which a node counts as running.
pub const REPORT_TIMEOUT_SECONDS: f64 = 90.0;

/// How to choose among eligible nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The lowest score.
    Auto,
    /// Any eligible one.
    Random,
    /// The one of this name, or none.
    Named(String),
}

impl FromStr for Strategy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "random" => Ok(Self::Random),
            Some(("name", name)) if !name.is_empty() => Ok(Self::Named(name.to_owned())),
            _ => Err(()),
        }
    }
}

/// A node as far as it matters for placement.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// An administrator lets it take new peers.
    pub enabled: bool,
    /// Peers on it.
    pub active_peers: i32,
    /// Most peers it may have.
    pub max_peers: i32,
    /// Seconds since its last report. `None`: it never reported, and counts as running since it was
    /// registered.
    pub seconds_since_report: Option<f64>,
    /// It has the capability that the peer needs, if any.
    pub capable: bool,
}

/// Why a node cannot take a peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ineligibility {
    /// Switched off by an administrator.
    Disabled,
    /// It has as many peers as it may.
    Full,
    /// It has not reported for this many seconds.
    NotReporting(f64),
    /// It lacks the capability that the peer needs.
    Incapable,
}

impl fmt::Display for Ineligibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => write!(f, "disabled"),
            Self::Full => write!(f, "full"),
            Self::NotReporting(seconds) => write!(f, "no report for {}", duration(*seconds)),
            Self::Incapable => write!(f, "lacks the capability"),
        }
    }
}

impl Ineligibility {
    /// The reason without details, for counting nodes by reason.
    pub fn category(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Full => "full",
            Self::NotReporting(_) => "not reporting",
            Self::Incapable => "without the capability",
        }
    }
}

/// Why a node cannot take a peer; `None` if it can. Of several reasons the one that is likely to last
/// longest.
pub fn ineligibility(node: &Candidate) -> Option<Ineligibility> {
    match node.seconds_since_report {
        _ if !node.enabled => Some(Ineligibility::Disabled),
        _ if !node.capable => Some(Ineligibility::Incapable),
        Some(seconds) if seconds > REPORT_TIMEOUT_SECONDS => Some(Ineligibility::NotReporting(seconds)),
        _ if node.active_peers >= node.max_peers => Some(Ineligibility::Full),
        _ => None,
    }
}

/// Seconds in the largest unit that keeps two digits.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Candidate = Candidate {
        enabled: true,
        active_peers: 1,
        max_peers: 2,
        seconds_since_report: Some(1.0),
        capable: true,
    };

    #[test]
    fn a_node_with_room_is_eligible() {
        assert_eq!(ineligibility(&GOOD), None);
        assert_eq!(ineligibility(&Candidate { seconds_since_report: None, ..GOOD }), None);
        assert_eq!(
            ineligibility(&Candidate { seconds_since_report: Some(REPORT_TIMEOUT_SECONDS), ..GOOD }),
            None
        );
    }

    #[test]
    fn each_reason_is_named() {
        assert_eq!(ineligibility(&Candidate { enabled: false, ..GOOD }), Some(Ineligibility::Disabled));
        assert_eq!(ineligibility(&Candidate { capable: false, ..GOOD }), Some(Ineligibility::Incapable));
        assert_eq!(ineligibility(&Candidate { active_peers: 2, ..GOOD }), Some(Ineligibility::Full));
        let not_reporting = ineligibility(&Candidate { seconds_since_report: Some(600.0), ..GOOD }).unwrap();
        assert_eq!(not_reporting.to_string(), "no report for 10 min");
    }

    #[test]
    fn strategies_are_parsed_exactly() {
        assert_eq!("auto".parse(), Ok(Strategy::Auto));
        assert_eq!("random".parse(), Ok(Strategy::Random));
        assert_eq!("name:berlin".parse(), Ok(Strategy::Named("berlin".into())));
        for bad in ["", "name:", "Auto", "auto:x", "best"] {
            assert_eq!(bad.parse::<Strategy>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn durations_have_at_least_two_digits() {
        assert_eq!(duration(95.0), "95 s");
        assert_eq!(duration(3_600.0), "60 min");
        assert_eq!(duration(10_800.0), "3 h");
        assert_eq!(duration(864_000.0), "10 days");
    }
}
