//! Which nodes can take a new peer, and how one of them is chosen.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;

/// How to choose among eligible nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The lowest score, among the nodes that the filter lets through.
    Auto(Filter),
    /// Any eligible one.
    Random,
    /// None: this server itself.
    Local,
    /// The one with this name, or none.
    Named(String),
    /// The one with this name or identifier, or none.
    Node(String),
}

/// Capability and label that a node has to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// This capability.
    pub capability: Option<String>,
    /// A label with this key.
    pub label: Option<String>,
    /// This value of that label.
    pub value: Option<String>,
}

impl FromStr for Strategy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words = text.split_once(':').map_or((text, None), |(word, rest)| (word, Some(rest)));
        match words {
            (_, Some("")) | ("", _) => Err(()),
            ("auto", None) => Ok(Self::Auto(Filter::default())),
            ("random", None) => Ok(Self::Random),
            ("local", None) => Ok(Self::Local),
            ("name", Some(name)) => Ok(Self::Named(name.to_owned())),
            ("node", Some(node)) => Ok(Self::Node(node.to_owned())),
            ("capability", Some(word)) => {
                Ok(Self::Auto(Filter { capability: Some(word.to_owned()), ..Filter::default() }))
            }
            ("label", Some(label)) => {
                let (key, value) = label.split_once('=').map_or((label, None), |(key, v)| (key, Some(v)));
                let (label, value) = (Some(key.to_owned()), value.map(str::to_owned));
                if key.is_empty() {
                    Err(())
                } else {
                    Ok(Self::Auto(Filter { label, value, ..Filter::default() }))
                }
            }
            // No node has a name with other characters.
            (node, None) if node.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)) => {
                Ok(Self::Node(node.to_owned()))
            }
            _ => Err(()),
        }
    }
}

/// A node as far as it matters for placement.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// An administrator lets it take new peers.
    pub enabled: bool,
    /// Its peers are being moved away.
    pub draining: bool,
    /// Peers on it.
    pub active_peers: i32,
    /// Most peers it may have.
    pub max_peers: i32,
    /// Seconds since its last report. `None`: it never reported, and counts as running since it was
    /// registered.
    pub seconds_since_report: Option<f64>,
    /// Seconds after its last report for which a node counts as running.
    pub late_after: f64,
    /// It has the capability and the label that the peer needs, if any.
    pub capable: bool,
    /// The device that represented it is gone.
    pub device_gone: Option<DeviceGone>,
}

/// How a node lost its device, without which no agent applies anything there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceGone {
    /// It was revoked.
    Revoked,
    /// It was deleted.
    Removed,
}

/// Why a node cannot take a peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ineligibility {
    /// Switched off by an administrator.
    Disabled,
    /// Its peers are being moved away.
    Draining,
    /// Its device was revoked or removed.
    NoDevice(DeviceGone),
    /// It has as many peers as it may.
    Full,
    /// It has not reported for this many seconds.
    NotReporting(f64),
    /// It lacks the capability or the label that the peer needs.
    Incapable,
}

impl fmt::Display for Ineligibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => write!(f, "disabled"),
            Self::Draining => write!(f, "draining"),
            Self::NoDevice(DeviceGone::Revoked) => write!(f, "its device was revoked"),
            Self::NoDevice(DeviceGone::Removed) => write!(f, "its device was removed"),
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
            Self::Draining => "draining",
            Self::NoDevice(_) => "without their device",
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
        _ if node.draining => Some(Ineligibility::Draining),
        _ if !node.enabled => Some(Ineligibility::Disabled),
        _ if node.device_gone.is_some() => node.device_gone.map(Ineligibility::NoDevice),
        _ if !node.capable => Some(Ineligibility::Incapable),
        Some(seconds) if seconds > node.late_after => Some(Ineligibility::NotReporting(seconds)),
        _ if node.active_peers >= node.max_peers => Some(Ineligibility::Full),
        _ => None,
    }
}

/// Distributes seats as if they were taken one after the other, each on the node with the lowest score, and
/// of several with the same score on the first. The answer has the order of the nodes; its sum is lower than
/// `seats` when the nodes have not that much room.
pub fn distribute(nodes: &[Room], seats: i32) -> Vec<i32> {
    let mut given = vec![0; nodes.len()];
    let entry = |index: usize, given: i32| {
        let node = &nodes[index];
        (node.active_peers + given < node.max_peers).then(|| Reverse((Rank(node.rank(given)), index)))
    };
    let mut heap: BinaryHeap<_> = (0..nodes.len()).filter_map(|index| entry(index, 0)).collect();
    for _ in 0..seats {
        let Some(Reverse((_, index))) = heap.pop() else { break };
        given[index] += 1;
        heap.extend(entry(index, given[index]));
    }
    given
}

/// A node that takes peers, for [`distribute`].
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Peers on it.
    pub active_peers: i32,
    /// Most peers it may have.
    pub max_peers: i32,
    /// Peers from which on others are preferred; `None`: no such limit.
    pub soft_max_peers: Option<i32>,
    /// Relative strength.
    pub weight: i32,
}

/// A rank, which is no NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rank(f64);

impl Room {
    /// `nebula.node.score` with so many peers more.
    pub fn score(&self, more: i32) -> f64 {
        f64::from(self.active_peers + more) / f64::from(self.max_peers) / f64::from(self.weight)
    }

    /// `nebula.node.rank` with so many peers more: nodes below their soft limit first, then by score.
    pub fn rank(&self, more: i32) -> f64 {
        let is_crowded = self.soft_max_peers.is_some_and(|limit| self.active_peers + more >= limit);
        self.score(more) + if is_crowded { 1000.0 } else { 0.0 }
    }

    /// `nebula.node.rank_bound` with so many peers more.
    pub fn rank_bound(&self, more: i32, step: i32) -> f64 {
        let active_peers = self.active_peers + more;
        if active_peers >= self.max_peers {
            return f64::INFINITY;
        }
        Self { active_peers: active_peers - active_peers % step.max(1), ..*self }.rank(0)
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
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
        draining: false,
        active_peers: 1,
        max_peers: 2,
        seconds_since_report: Some(1.0),
        late_after: 90.0,
        capable: true,
        device_gone: None,
    };

    #[test]
    fn a_node_with_room_is_eligible() {
        assert_eq!(ineligibility(&GOOD), None);
        assert_eq!(ineligibility(&Candidate { seconds_since_report: None, ..GOOD }), None);
        assert_eq!(ineligibility(&Candidate { seconds_since_report: Some(90.0), ..GOOD }), None);
    }

    #[test]
    fn each_reason_is_named() {
        assert_eq!(ineligibility(&Candidate { enabled: false, ..GOOD }), Some(Ineligibility::Disabled));
        assert_eq!(ineligibility(&Candidate { draining: true, ..GOOD }), Some(Ineligibility::Draining));
        assert_eq!(ineligibility(&Candidate { capable: false, ..GOOD }), Some(Ineligibility::Incapable));
        assert_eq!(ineligibility(&Candidate { active_peers: 2, ..GOOD }), Some(Ineligibility::Full));
        let revoked = Candidate { device_gone: Some(DeviceGone::Revoked), ..GOOD };
        assert_eq!(ineligibility(&revoked).unwrap().to_string(), "its device was revoked");
        let not_reporting = ineligibility(&Candidate { seconds_since_report: Some(600.0), ..GOOD }).unwrap();
        assert_eq!(not_reporting.to_string(), "no report for 10 min");
    }

    #[test]
    fn strategies_are_parsed_exactly() {
        let auto = |capability: Option<&str>, label: Option<&str>, value: Option<&str>| {
            let [capability, label, value] = [capability, label, value].map(|text| text.map(str::to_owned));
            Ok(Strategy::Auto(Filter { capability, label, value }))
        };
        assert_eq!("auto".parse(), auto(None, None, None));
        assert_eq!("random".parse(), Ok(Strategy::Random));
        assert_eq!("local".parse(), Ok(Strategy::Local));
        assert_eq!("name:berlin".parse(), Ok(Strategy::Named("berlin".into())));
        assert_eq!("name:auto".parse(), Ok(Strategy::Named("auto".into())));
        assert_eq!("node:berlin".parse(), Ok(Strategy::Node("berlin".into())));
        assert_eq!("berlin-2".parse(), Ok(Strategy::Node("berlin-2".into())));
        assert_eq!("capability:gpu".parse(), auto(Some("gpu"), None, None));
        assert_eq!("label:region".parse(), auto(None, Some("region"), None));
        assert_eq!("label:region=eu".parse(), auto(None, Some("region"), Some("eu")));
        for bad in ["", "name:", "auto:x", "best:x", "label:=eu", "capability:", "a b", "a;b"] {
            assert_eq!(bad.parse::<Strategy>(), Err(()), "{bad}");
        }
    }

    const fn room(active_peers: i32, weight: i32) -> Room {
        Room { active_peers, max_peers: 100, soft_max_peers: None, weight }
    }

    #[test]
    fn seats_go_to_the_lowest_score_one_by_one() {
        assert_eq!(distribute(&[room(30, 100), room(60, 100)], 1), [1, 0]);
        assert_eq!(distribute(&[room(30, 100), room(50, 200)], 1), [0, 1]);
        assert_eq!(distribute(&[room(100, 100), room(99, 1)], 2), [0, 1], "full nodes take none");
        assert_eq!(distribute(&[room(0, 100), room(0, 100), room(0, 200)], 8), [2, 2, 4]);
        assert_eq!(distribute(&[room(30, 100), room(60, 100)], 1_000), [70, 40]);
        assert_eq!(distribute(&[], 3), [0; 0]);
    }

    #[test]
    fn a_bound_is_never_above_the_rank_and_stays_for_a_step() {
        let soft = Room { soft_max_peers: Some(50), ..room(0, 7) };
        for more in 0..100 {
            assert_eq!(soft.rank_bound(more, 1).total_cmp(&soft.rank(more)), Ordering::Equal, "{more}");
            assert!(soft.rank_bound(more, 16) <= soft.rank(more), "{more}");
            assert_eq!(
                soft.rank_bound(more, 16).total_cmp(&soft.rank(more / 16 * 16)),
                Ordering::Equal,
                "{more}"
            );
        }
        assert!(soft.rank_bound(100, 16).is_infinite(), "a full node");
    }

    #[test]
    fn nodes_below_their_soft_limit_come_first() {
        let soft = Room { soft_max_peers: Some(32), ..room(30, 100) };
        assert_eq!(distribute(&[soft, room(60, 100)], 4), [2, 2]);
    }

    #[test]
    fn durations_have_at_least_two_digits() {
        assert_eq!(duration(95.0), "95 s");
        assert_eq!(duration(3_600.0), "60 min");
        assert_eq!(duration(10_800.0), "3 h");
        assert_eq!(duration(864_000.0), "10 days");
    }
}
