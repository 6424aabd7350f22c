//! Routes that wait for a restart of nebula. Before 1.9 nebula reads its routes only when it starts, and a peer that
//! moves to another node changes a route of every device. Each restart interrupts all tunnels of a device, which for a
//! lighthouse or relay are those of the whole network. Changes that add and remove no network therefore wait: nebula
//! goes on with the routes that it has and takes over the rest by a reload, and one restart serves all that came
//! meanwhile. Until then packets for a moved peer go to the node that it has left.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnetwork::IpNetwork;
use tokio::time::Instant;

use super::Agent;
use super::change::{Change, Release, required_change};
use super::config::Config;
use super::journal::log;
use crate::error::Result;

/// First release that reloads routes.
const RELOADS_ROUTES: Release = Release(1, 9);
/// The peers of a node that fails move one after the other.
const SETTLE_TIME: Duration = Duration::from_secs(5);
/// Least time between two restarts for routes; a restart interrupts tunnels for one or two seconds.
const MIN_INTERVAL: Duration = Duration::from_secs(120);

/// When nebula is restarted for routes.
#[derive(Debug, Default)]
pub(super) struct HeldRoutes {
    /// Unless no routes wait.
    restart_at: Option<Instant>,
    restarted_at: Option<Instant>,
}

impl HeldRoutes {
    pub(super) fn restart_at(&self) -> Option<Instant> {
        self.restart_at
    }

    /// Schedules a restart; further routes that come before it do not postpone it.
    pub(super) fn hold(&mut self, now: Instant) {
        let earliest = self.restarted_at.map_or(now, |at| at + MIN_INTERVAL);
        self.restart_at.get_or_insert_with(|| earliest.max(now + SETTLE_TIME));
    }

    /// A nebula that starts has all routes.
    pub(super) fn clear(&mut self) {
        self.restart_at = None;
    }
}

/// Whether nebula of this release can go on with the routes of `old` for a while and reload everything else of `new`.
pub(super) fn can_wait(old: &Config, new: &Config, release: Release) -> bool {
    if release >= RELOADS_ROUTES || old.routes() == new.routes() || outermost(old) != outermost(new) {
        return false;
    }
    let mut kept = new.clone();
    kept.take_routes(old);
    required_change(old, &kept, release) < Change::Restart
}

/// The networks of routes that lie in no network of another route: a peer that has moved has a route of its own
/// inside that of its pool.
fn outermost(config: &Config) -> BTreeSet<IpNetwork> {
    let all: Vec<_> = config.routes().into_iter().map(|(network, _)| network).collect();
    let is_inside = |network: &IpNetwork| {
        all.iter().any(|other| other.prefix() < network.prefix() && other.contains(network.network()))
    };
    all.iter().filter(|network| !is_inside(network)).copied().collect()
}

impl Agent {
    /// Restarts nebula with the routes that have waited.
    pub(super) async fn release_routes(&mut self) -> Result<()> {
        self.held_routes.clear();
        let Some(current) = self.folder.current()? else { return Ok(()) };
        // Nothing changes when they went back meanwhile.
        if !self.fit(&current)? {
            return Ok(());
        }
        log("nebula is restarted, because this release reads changed routes only when it starts");
        self.held_routes.restarted_at = Some(Instant::now());
        self.restart_nebula().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::tests::with_sections;

    const OLD: Release = Release(1, 6);
    const POOL: &str = "{route: 10.77.0.0/24, via: 10.42.0.3}";
    const MOVED: &str = "{route: 10.77.0.9/32, via: 10.42.0.4}";
    const MOVED_ON: &str = "{route: 10.77.0.9/32, via: 10.42.0.5}";
    const POOL_MOVED: &str = "{route: 10.77.0.0/24, via: 10.42.0.4}";
    const LAN: &str = "{route: 192.168.7.0/24, via: 10.42.0.3}";

    fn waits(old: &[&str], new: &[&str], rest: [&str; 2], release: Release) -> bool {
        let text =
            |routes: &[&str], rest: &str| format!("tun: {{unsafe_routes: [{}]}}\n{rest}", routes.join(", "));
        let [old, new] = [text(old, rest[0]), text(new, rest[1])];
        let [old, new] = with_sections([&old, &new]);
        can_wait(&old, &new, release)
    }

    #[test]
    fn routes_of_peers_that_move_wait_and_networks_that_come_or_go_do_not() {
        for (old, new) in [
            (&[POOL][..], &[POOL, MOVED][..]),
            (&[POOL, MOVED], &[POOL, MOVED_ON]),
            (&[POOL, MOVED], &[POOL]),
            (&[POOL, LAN], &[POOL_MOVED, LAN]),
        ] {
            assert!(waits(old, new, ["", ""], OLD), "{old:?} {new:?}");
            assert!(!waits(old, new, ["", ""], RELOADS_ROUTES), "it can reload them");
            let rule = ["firewall: {inbound: []}", "firewall: {inbound: [{port: any}]}"];
            assert!(waits(old, new, rule, OLD), "the rest is reloaded");
            assert!(!waits(old, new, ["cipher: aes", "cipher: chachapoly"], OLD), "a restart anyhow");
        }
        for (old, new) in
            [(&[POOL][..], &[POOL, LAN][..]), (&[POOL, LAN], &[POOL]), (&[], &[MOVED]), (&[POOL], &[POOL])]
        {
            assert!(!waits(old, new, ["", ""], OLD), "{old:?} {new:?}");
        }
    }

    #[test]
    fn many_moves_cause_one_restart_at_the_end_of_a_bounded_time() {
        let (mut held, begun) = (HeldRoutes::default(), Instant::now());
        for second in 0..60 {
            held.hold(begun + Duration::from_secs(second));
        }
        assert_eq!(held.restart_at(), Some(begun + SETTLE_TIME));
        held.clear();
        held.restarted_at = Some(begun + SETTLE_TIME);
        held.hold(begun + SETTLE_TIME);
        assert_eq!(held.restart_at(), Some(begun + SETTLE_TIME + MIN_INTERVAL));
        held.clear();
        let later = begun + 2 * MIN_INTERVAL;
        held.hold(later);
        assert_eq!(held.restart_at(), Some(later + SETTLE_TIME));
    }
}
