//! What questions about pools cost: rows that are read, which unlike times are the same on every machine.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{one, project, run, text};
    use pgrx::prelude::*;

    /// Holds the first `count` addresses of each pool, as a large installation does.
    fn hold(count: i64) {
        run(&format!(
            "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id)
             SELECT p.project_id, p.pool_id, host(p.cidr)::inet + n, gen_random_uuid()
               FROM nebula.pool p, generate_series(1, {count}) n"
        ));
        run("ANALYZE nebula.allocation");
    }

    /// Rows of nebula.allocation that a statement reads.
    fn rows_read(statement: &str) -> i64 {
        let count = "SELECT pg_stat_get_xact_tuples_returned(c) + pg_stat_get_xact_tuples_fetched(c)
                          + (SELECT sum(pg_stat_get_xact_tuples_returned(i.indexrelid))::bigint
                               FROM pg_index i WHERE i.indrelid = c)
                       FROM CAST('nebula.allocation'::regclass AS oid) AS c";
        let before: i64 = one(count);
        run(statement);
        one::<i64>(count) - before
    }

    #[pg_test]
    fn a_few_free_addresses_of_a_large_pool_cost_little() {
        let project = project("10.0.0.0/8");
        hold(20_000);
        run(&format!("SELECT nebula.exclude_addresses('{project}', 'upper', '10.128.0.0/9')"));
        run(&format!("SELECT nebula.exclude_addresses('{project}', 'middle', '10.64.0.0/16')"));
        let free = format!(
            "SELECT ip_address FROM nebula.nebula_ip_pool
              WHERE project_id = '{project}' AND NOT is_allocated LIMIT 3"
        );
        let read = rows_read(&free);
        assert!(read < 100, "{read} rows");
        run("CREATE FUNCTION pg_temp.plan(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $f$
             BEGIN RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF) ' || statement; END $f$");
        let most: i64 = one(&format!(
            "SELECT max((m)[1]::bigint) FROM pg_temp.plan($q${free}$q$) AS line,
                    regexp_matches(line, 'actual rows=(\\d+)') AS m"
        ));
        assert!(most < 100, "{most} rows in a step of the plan");
    }

    #[pg_test]
    fn a_range_is_found_without_reading_later_pools() {
        let project = project("10.0.0.0/20");
        for number in 1..20 {
            run(&format!("SELECT nebula.populate_pool('{project}', '10.{number}.0.0/20', 'p{number}')"));
        }
        hold(1000);
        let read = rows_read(&format!("SELECT nebula.reserve_range('{project}', 'cameras', 8)"));
        assert!((1..5000).contains(&read), "{read} rows, {} in all pools", 20 * 1000);
        assert_eq!(text("SELECT host(first_ip) FROM nebula.reservation"), "10.0.3.233");
    }

    #[pg_test]
    fn listing_pools_counts_only_those_that_the_account_sees() {
        project("10.0.0.0/20");
        hold(1000);
        run("INSERT INTO nebula.account (username, password_hash) VALUES ('anna', '$argon2id$v=19$')");
        run("SELECT nebula.create_project('mine')");
        run("SELECT nebula.populate_pool(project_id, '10.0.0.0/24') FROM nebula.project WHERE name = 'mine'");
        run("SELECT nebula.add_member(project_id, 'anna') FROM nebula.project WHERE name = 'mine'");
        let list = "SELECT count(*) FROM nebula.list_pools((SELECT account_id FROM nebula.account))";
        assert_eq!(text(list), "1");
        let read = rows_read(list);
        assert!(read < 100, "{read} rows of a pool that anna does not see");
    }
}
