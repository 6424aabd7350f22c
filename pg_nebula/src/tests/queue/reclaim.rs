use pgrx::prelude::*;

/// Leases that ran out while nobody could renew them.
#[pg_schema]
mod tests {
    use super::super::{claim, due_now, enqueue, expire, state};
    use crate::tests::{assert_error, run, text};
    use pgrx::prelude::*;

    fn reclaim(job: &str, attempt: u32, worker: &str) -> String {
        text(&format!("SELECT nebula.reclaim_job({job}, {attempt}, '{worker}')"))
    }

    #[pg_test]
    fn a_worker_takes_its_job_back_as_long_as_nobody_else_has_begun() {
        let job = enqueue("'t', '{\"n\": 1}', priority => 3, max_attempts => 2");
        claim("'{t}', lease => '1 h'");
        let row = "SELECT (to_jsonb(r) - '{run_at,started_at,lease,lease_until}'::text[])::text FROM nebula.job_running r";
        let before = text(row);
        expire();
        assert_eq!(state(&job), "available");
        assert_eq!(reclaim(&job, 1, "w"), "true");
        assert_eq!(text(row), before, "neither attempt nor errors tell of it");
        assert_eq!(reclaim(&job, 1, "w"), "true", "a repeated call finds it done");
        let lease =
            "SELECT lease_until - clock_timestamp() BETWEEN '20 s' AND '30 s' FROM nebula.job_running";
        assert_eq!(text(lease), "true");
        run(&format!("SELECT nebula.complete_job({job}, 1)"));
        assert_eq!(state(&job), "succeeded");
        assert_eq!(reclaim(&job, 1, "w"), "false", "it is finished");
    }

    #[pg_test]
    fn a_job_that_another_attempt_has_is_not_taken_back() {
        let job = enqueue("'t', '{}'");
        claim("'{t}'");
        expire();
        assert_eq!(reclaim(&job, 1, "other"), "false", "another worker");
        assert_eq!(reclaim(&job, 2, "w"), "false", "another attempt");
        due_now();
        assert_eq!(claim("'{t}'"), job);
        assert_eq!(reclaim(&job, 1, "w"), "false", "the second attempt runs");
        assert_error(&format!("SELECT nebula.complete_job({job}, 1)"), "55000", &["lost"]);
        // Failed by its worker, not by the end of a lease.
        run(&format!("SELECT nebula.fail_job({job}, 2, 'broken')"));
        assert_eq!(reclaim(&job, 2, "w"), "false");
        assert_eq!(reclaim("999", 1, "w"), "false");
        assert_error(&format!("SELECT nebula.reclaim_job({job}, 2, 'w', '0 s')"), "22023", &["lease"]);
    }

    #[pg_test]
    fn a_job_that_is_taken_back_counts_towards_its_limit() {
        run("SELECT nebula.limit_jobs('t', 1)");
        let job = enqueue("'t', '{}'");
        enqueue("'t', '{}'");
        assert_eq!(claim("'{t}'"), job);
        expire();
        assert_eq!(reclaim(&job, 1, "w"), "true");
        due_now();
        assert_eq!(claim("'{t}'"), "null");
    }

    /// As if the server had been down: the job was claimed before the server began to take writes.
    #[pg_test]
    fn a_lease_that_could_not_be_renewed_lasts_once_more() {
        let job = enqueue("'t', '{}'");
        claim("'{t}'");
        let since = "(SELECT backend_start FROM pg_stat_get_activity(NULL) WHERE backend_type = 'walwriter')";
        let claimed = |before: &str, lease: &str| {
            run(&format!(
                "UPDATE nebula.job_running
                    SET started_at = {since} - interval '{before}', lease = '{lease}',
                        lease_until = least({since}, clock_timestamp()) - interval '1 ms'"
            ));
            run("SELECT nebula.rescue_jobs()");
            state(&job)
        };
        let up = text(&format!("SELECT extract(epoch FROM clock_timestamp() - {since})::int"));
        let up: i64 = up.parse().expect("seconds");
        // At most a minute, however long the lease is.
        if up < 50 {
            assert_eq!(claimed("1 h", "1 h"), "running", "after {up} s");
        }
        assert_eq!(claimed("1 h", "1 ms"), "available", "its worker had its time");
        due_now();
        claim("'{t}'");
        assert_eq!(claimed("-1 ms", "1 h"), "available", "claimed since the server is up");
    }
}
