use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, device, project, run, text};
    use pgrx::prelude::*;

    /// Allocations count at once, unless transactions can be prepared, because one that notifies cannot be
    /// prepared.
    fn count_pools() {
        if text("SELECT current_setting('max_prepared_transactions')") != "0" {
            run("SELECT nebula.maintain_pools()");
        }
    }

    #[pg_test]
    fn each_threshold_is_notified_once() {
        let project = project("10.0.0.0/27"); // 30 to give out: 80 % are 24, 90 % are 27, 95 % are 29
        let notified = || text("SELECT alarmed FROM nebula.pool");
        for (number, level) in
            [(23, "0"), (24, "80"), (26, "80"), (27, "90"), (28, "90"), (29, "95"), (30, "95")]
        {
            run(&format!(
                "SELECT nebula.allocate_ip('{project}', md5(n::text)::uuid)
                   FROM generate_series(1, {number}) n"
            ));
            count_pools();
            assert_eq!(notified(), level, "{number} held");
            let pool = text("SELECT pool_id FROM nebula.pool");
            assert_eq!(
                text(&format!("SELECT nebula.notify_usage({pool})")),
                "false",
                "{number} held: already notified"
            );
        }
        run("SELECT nebula.release_ip(md5(n::text)::uuid)
               FROM generate_series(20, 30) n; SELECT nebula.maintain_pools()");
        assert_eq!(notified(), "0");
        run(&format!(
            "SELECT nebula.allocate_ips('{project}', ARRAY(SELECT md5(n::text)::uuid
               FROM generate_series(1, 28) n))"
        ));
        count_pools();
        assert_eq!(notified(), "90");
        assert_invariants();
    }

    #[pg_test]
    fn addresses_of_groups_and_requested_addresses_count_as_usage() {
        let project = project("10.0.0.0/28"); // 14 to give out: 80 % are 12
        run(&format!("SELECT nebula.reserve_range('{project}', 'cameras', 4)"));
        for number in 1..=7 {
            allocate(&project, number);
        }
        let ask = |number: u32, rest: &str| {
            run(&format!("SELECT nebula.allocate_ip('{project}', '{}', {rest})", device(number)));
        };
        for number in 11..=14 {
            ask(number, "label => 'cameras'");
        }
        count_pools();
        assert_eq!(text("SELECT alarmed FROM nebula.pool"), "0");
        ask(20, "address => '10.0.0.14'");
        count_pools();
        assert_eq!(text("SELECT alarmed FROM nebula.pool"), "80");
        assert_invariants();
    }

    #[pg_test]
    fn thresholds_can_be_chosen() {
        let project = project("10.0.0.0/28");
        let set = |what: &str| format!("SELECT nebula.set_thresholds('{project}', 'default', '{what}')");
        run(&set("{50}"));
        for number in 1..=7 {
            allocate(&project, number);
        }
        count_pools();
        assert_eq!(text("SELECT alarmed FROM nebula.pool"), "50");
        run(&set("{}"));
        allocate(&project, 8);
        count_pools();
        assert_eq!(text("SELECT alarmed FROM nebula.pool"), "0");
        assert_error(&set("{0}"), "22023", &["0"]);
        assert_error(&set("{101}"), "22023", &["101"]);
        assert_invariants();
    }

    #[pg_test]
    fn the_forecast_knows_the_high_water_mark() {
        let project = project("10.0.0.0/24");
        for number in 1..=4 {
            allocate(&project, number);
        }
        run("UPDATE nebula.allocation SET allocated_at = now() - interval '3 hours'");
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        run(&format!("SELECT nebula.release_ip('{}')", device(2)));
        run("UPDATE nebula.allocation_log SET released_at = now() - interval '2 hours'");
        allocate(&project, 5);
        let forecast = |columns: &str| {
            text(&format!("SELECT concat_ws(' ', {columns}) FROM nebula.pool_forecast('{project}')"))
        };
        assert_eq!(forecast("used, usable, percent_used"), "3 254 1.2");
        assert_eq!(forecast("high_water, now() - high_water_at"), "4 03:00:00");
        assert_eq!(forecast("per_hour, per_day, per_week"), "1 3 3");
        assert_eq!(forecast("round(extract(epoch FROM exhausted_at - now()) / 86400, 1)"), "83.7");
        assert_invariants();
    }
}
