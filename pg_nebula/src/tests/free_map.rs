use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use std::net::IpAddr;

    use super::super::{allocate, assert_invariants, device, one, project, run, text};
    use crate::free_map::verify::corrupt;
    use crate::pools::cache::pools_of;
    use pgrx::prelude::*;

    /// Without preload there is no shared map, and nothing to test.
    fn is_shared() -> bool {
        one("SELECT EXISTS (SELECT FROM nebula.map_status())")
    }

    /// Counters of the one pool: in flight, hits, conflicts, rebuilds; then its pages.
    fn status() -> String {
        text(
            "SELECT concat_ws(' ', in_flight, hits, conflicts, rebuilds) || ', ' || pages
               FROM nebula.map_status()
              WHERE pool_id = (SELECT max(pool_id) FROM nebula.pool)",
        )
    }

    #[pg_test]
    fn a_rolled_back_exclusion_hides_no_address() {
        let project = project("10.0.0.0/24");
        run(&format!(
            "DO $$ BEGIN
               PERFORM nebula.exclude_addresses('{project}', 'printers', '10.0.0.1', '10.0.0.9');
               PERFORM nebula.allocate_ip('{project}', '{}');
               RAISE 'no';
             EXCEPTION WHEN raise_exception THEN END $$",
            device(1)
        ));
        assert_eq!(allocate(&project, 2), "10.0.0.1/32");
        assert_invariants();
    }

    #[pg_test]
    fn map_status_counts_hits_conflicts_and_rebuilds() {
        if !is_shared() {
            return;
        }
        let project = project("10.0.0.0/24");
        assert_eq!(
            text(
                "SELECT count(*) FROM nebula.map_status()
                   WHERE pool_id = (SELECT max(pool_id) FROM nebula.pool)"
            ),
            "0",
            "not used yet"
        );
        for number in 1..=3 {
            allocate(&project, number);
        }
        assert_eq!(status(), "3 3 0 1, 1", "one page read, then found in memory");
        allocate(&project, 3);
        assert_eq!(status(), "3 3 0 1, 1", "no search for a device that holds an address");
        // A block with an exception clause is a subtransaction.
        run(&format!(
            "DO $$ BEGIN PERFORM nebula.allocate_ip('{project}', '{}'); RAISE 'no';
             EXCEPTION WHEN raise_exception THEN END $$",
            device(4)
        ));
        assert_eq!(status(), "3 4 0 1, 1", "rolled back: no longer in flight");
        // The map does not know of a row inserted by hand, until an insert conflicts with it.
        run(&format!(
            "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id)
             SELECT project_id, pool_id, '10.0.0.4', '{}' FROM nebula.pool",
            device(9)
        ));
        assert_eq!(allocate(&project, 4), "10.0.0.5/32");
        assert_eq!(status().split_once(' ').map(|(in_flight, _)| in_flight.to_owned()), Some("4".to_owned()));
        assert_eq!(allocate(&project, 5), "10.0.0.6/32");
        run("UPDATE nebula.pool SET gateway = '10.0.0.7'");
        assert_eq!(allocate(&project, 6), "10.0.0.8/32");
        let rebuilds: i64 = one("SELECT max(rebuilds) FROM nebula.map_status()
               WHERE pool_id = (SELECT max(pool_id) FROM nebula.pool)");
        assert_eq!(rebuilds, 2, "read again when the pool changed");
        assert_invariants();
    }

    /// Creates pools p1, p2 and so on, each of which needs a page of its own.
    fn pools(project: &str, count: i64) {
        run(&format!(
            "SELECT nebula.populate_pool('{project}', ('10.' || n / 256 || '.' || n % 256 || '.0/24')::inet,
                                         'p' || n)
               FROM generate_series(1, {count}) n"
        ));
    }

    #[pg_test]
    fn pages_are_evicted_when_memory_is_full() {
        if !is_shared() {
            return;
        }
        let server = |column: &str| -> i64 {
            one(&format!("SELECT {column} FROM nebula.map_status() WHERE pool_id IS NULL"))
        };
        let capacity = server("capacity");
        let before = server("evictions");
        let project = text("SELECT nebula.create_project('small')");
        pools(&project, 2 * capacity);
        // Each claim is rolled back, because a page with a claim is not evicted.
        run(&format!(
            "DO $$ BEGIN
               FOR n IN 1..{} LOOP
                 BEGIN
                   PERFORM nebula.allocate_ip('{project}', gen_random_uuid(), pool => 'p' || n);
                   RAISE 'no';
                 EXCEPTION WHEN raise_exception THEN
                 END;
               END LOOP;
             END $$",
            2 * capacity
        ));
        assert!(server("evictions") - before >= capacity, "{} evicted", server("evictions") - before);
        assert_eq!(server("pages"), capacity, "memory is bounded, and used");
        assert_eq!(server("in_flight"), 0);
        // With a claim on every page none can be evicted; then addresses are found in the table.
        run(&format!(
            "SELECT nebula.allocate_ip('{project}', md5(n::text)::uuid, pool => 'p' || n)
               FROM generate_series(1, {}) n",
            2 * capacity
        ));
        assert_eq!(
            text(
                "SELECT count(*) FROM nebula.allocation WHERE host(ip) NOT LIKE '%.0.1'
                   AND host(ip) NOT LIKE '10.%.%.1'"
            ),
            "0"
        );
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), (2 * capacity).to_string());
        assert!(server("pages") <= capacity);
        assert_invariants();
    }

    fn found(repair: bool) -> String {
        text(&format!(
            "SELECT string_agg(concat_ws(' ', problem, host(ip), repaired), ', ' ORDER BY problem, ip)
               FROM nebula.check_pool(repair => {repair})"
        ))
    }

    fn break_map(project: &str, address: &str, problem: &str) {
        let project: pgrx::Uuid = one(&format!("SELECT '{project}'::uuid"));
        let pools = pools_of(project, None).expect("the project has a pool");
        let address: IpAddr = address.parse().expect("an address");
        corrupt(&pools[0], address, problem);
    }

    #[pg_test]
    fn a_bit_that_hides_an_address_is_found_and_repaired() {
        if !is_shared() {
            return;
        }
        let project = project("10.0.0.0/24");
        run(&format!("SELECT nebula.exclude_addresses('{project}', 'x', '10.0.0.9')"));
        allocate(&project, 1);
        assert_eq!(found(false), "null");
        for (address, problem) in
            [("10.0.0.2", "map-hides"), ("10.0.0.200", "map-hides"), ("10.0.0.3", "map-claims")]
        {
            break_map(&project, address, problem);
        }
        assert_eq!(allocate(&project, 2), "10.0.0.4/32", "two addresses are lost");
        assert_eq!(found(false), "map-claims 10.0.0.3 f, map-hides 10.0.0.2 f, map-hides 10.0.0.200 f");
        assert_eq!(found(true), "map-claims 10.0.0.3 t, map-hides 10.0.0.2 t, map-hides 10.0.0.200 t");
        assert_eq!(found(false), "null");
        assert_eq!(allocate(&project, 3), "10.0.0.2/32");
        assert_eq!(allocate(&project, 4), "10.0.0.3/32");
        run(&format!(
            "SELECT nebula.allocate_ip('{project}', md5(n::text)::uuid) FROM generate_series(1, 249) n"
        ));
        assert_eq!(text("SELECT free FROM nebula.pool_usage()"), "0");
        assert_eq!(found(false), "null");
        assert_invariants();
    }

    #[pg_test]
    fn a_row_that_the_map_misses_is_found_and_repaired() {
        if !is_shared() {
            return;
        }
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        run(&format!(
            "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id)
             SELECT project_id, pool_id, '10.0.0.2', '{}' FROM nebula.pool",
            device(9)
        ));
        assert_eq!(found(false), "map-misses 10.0.0.2 f");
        assert_eq!(found(true), "map-misses 10.0.0.2 t");
        assert_eq!(found(false), "null");
        assert_eq!(allocate(&project, 2), "10.0.0.3/32");
        assert_eq!(found(false), "null", "changes of this transaction are not reported");
        run(&format!("SELECT nebula.release_ip('{}')", device(2)));
        assert_eq!(found(false), "null", "nor what it released");
        assert_invariants();
    }
}
