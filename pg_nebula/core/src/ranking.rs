//! The first nodes in the order of their ranks, as an index gives them that knows only lower bounds.
//!
//! A row whose rank is above its bound waits until the index has come to that rank. So few rows are read where the
//! bounds are exact, and all those of one step where they are not.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// A node that takes peers.
#[derive(Clone, Debug)]
pub struct Ranked<N> {
    /// Lowest first.
    pub rank: f64,
    /// Breaks ties.
    pub name: String,
    /// The node.
    pub node: N,
    /// The rank that it will have with one more peer.
    pub next_rank: f64,
    /// Another session is about to change it.
    pub is_locked: bool,
}

impl<N> Ranked<N> {
    fn compare(&self, rank: f64, name: &str) -> Ordering {
        self.rank.total_cmp(&rank).then_with(|| self.name.as_str().cmp(name))
    }
}

impl<N> Ord for Ranked<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other.rank, &other.name)
    }
}

impl<N> PartialOrd for Ranked<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<N> PartialEq for Ranked<N> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<N> Eq for Ranked<N> {}

/// Collects nodes from one scan or several.
#[derive(Debug)]
pub struct Ranking<N> {
    max: usize,
    /// Of the scans that have ended.
    all: Vec<Ranked<N>>,
    /// Of the scan that runs, in order.
    sorted: Vec<Ranked<N>>,
    /// Rows of it whose rank is above what the index has come to.
    deferred: BinaryHeap<Reverse<Ranked<N>>>,
    is_cut: bool,
}

impl<N> Ranking<N> {
    /// For so many nodes of each scan that are not locked.
    pub fn new(max: usize) -> Self {
        Self { max, all: Vec::new(), sorted: Vec::new(), deferred: BinaryHeap::new(), is_cut: false }
    }

    /// Takes the next row of a scan in the order of bound and name. `read` answers `None` for a node that takes no peer.
    /// `false`: no further row is needed.
    pub fn visit(
        &mut self,
        bound: f64,
        name: String,
        read: impl FnOnce(String) -> Option<Ranked<N>>,
    ) -> bool {
        while let Some(Reverse(first)) = self.deferred.peek()
            && first.compare(bound, &name) == Ordering::Less
        {
            self.settle_first();
        }
        if self.has_enough() || self.sorted.first().is_some_and(|lowest| bound > lowest.next_rank) {
            return false;
        }
        match read(name) {
            Some(node) if node.rank > bound => self.deferred.push(Reverse(node)),
            Some(node) => self.sorted.push(node),
            None => {}
        }
        true
    }

    /// The scan has ended, at its end or because `visit` answered `false`.
    pub fn end_scan(&mut self) {
        while !self.deferred.is_empty() && !self.has_enough() {
            self.settle_first();
        }
        self.deferred.clear();
        self.all.append(&mut self.sorted);
        self.all.sort();
    }

    fn settle_first(&mut self) {
        self.sorted.extend(self.deferred.pop().map(|Reverse(first)| first));
    }

    fn has_enough(&mut self) -> bool {
        let is_full = self.sorted.iter().filter(|node| !node.is_locked).count() >= self.max;
        self.is_cut |= is_full;
        is_full
    }

    /// The node with the lowest rank, locked or not.
    pub fn lowest(&self) -> Option<&Ranked<N>> {
        self.all.first()
    }

    /// The nodes that may have the next peer: not locked, and not above the rank that the lowest one will have with one
    /// more peer.
    pub fn unlocked(&self) -> impl Iterator<Item = &Ranked<N>> {
        let limit = self.lowest().map_or(f64::NEG_INFINITY, |lowest| lowest.next_rank);
        self.all.iter().filter(move |node| !node.is_locked && node.rank <= limit)
    }

    /// Whether there may be more of them.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Room;
    use crate::test_rng::TestRng;

    /// The nodes of a ranking, and how many rows it read.
    fn ranked(nodes: &[(Room, i32, bool)], max: usize) -> (Vec<usize>, usize) {
        let name = |node: usize| format!("{node:05}");
        let mut index: Vec<(f64, usize)> =
            nodes.iter().map(|(room, step, _)| room.rank_bound(0, *step)).zip(0..).collect();
        index.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut ranking, mut rows) = (Ranking::new(max), 0);
        for (bound, node) in index.into_iter().filter(|(bound, _)| bound.is_finite()) {
            rows += 1;
            let (room, _, is_locked) = nodes[node];
            let read =
                |name| Some(Ranked { rank: room.rank(0), name, node, next_rank: room.rank(1), is_locked });
            if !ranking.visit(bound, name(node), read) {
                break;
            }
        }
        ranking.end_scan();
        (ranking.unlocked().map(|one| one.node).collect(), rows)
    }

    const fn room(active_peers: i32) -> Room {
        Room { active_peers, max_peers: 100, soft_max_peers: None, weight: 100 }
    }

    #[test]
    fn the_first_nodes_are_those_of_a_sort_by_rank_whatever_the_bounds() {
        let mut random = TestRng(7);
        for _ in 0..2000 {
            let nodes: Vec<(Room, i32, bool)> = (0..random.below(40))
                .map(|_| {
                    let max_peers = 1 + random.below(60) as i32;
                    let room = Room {
                        active_peers: random.below(max_peers as usize + 1) as i32,
                        max_peers,
                        soft_max_peers: (random.below(3) == 0).then(|| 1 + random.below(60) as i32),
                        weight: 1 + random.below(3) as i32,
                    };
                    (room, 1 + random.below(20) as i32, random.below(3) == 0)
                })
                .collect();
            let room = |node: &usize| nodes[*node].0;
            let has_room = |node: &usize| room(node).active_peers < room(node).max_peers;
            let mut all: Vec<usize> = (0..nodes.len()).filter(has_room).collect();
            all.sort_by(|a, b| room(a).rank(0).total_cmp(&room(b).rank(0)).then(a.cmp(b)));
            let limit = all.first().map_or(0.0, |first| room(first).rank(1));
            all.retain(|node| !nodes[*node].2 && room(node).rank(0) <= limit);
            assert_eq!(ranked(&nodes, usize::MAX).0, all, "{nodes:?}");
            all.truncate(3);
            assert_eq!(ranked(&nodes, 3).0[..all.len()], all, "{nodes:?}");
        }
    }

    #[test]
    fn of_many_nodes_with_exact_bounds_few_are_read() {
        let nodes = vec![(room(5), 1, false); 10_000];
        assert_eq!(ranked(&nodes, 8), ((0..8).collect(), 9));
        let mut one_lower = nodes;
        one_lower[9_000].0.active_peers = 4;
        let (first, rows) = ranked(&one_lower, 8);
        assert_eq!((first[0], rows), (9_000, 9));
    }
}
