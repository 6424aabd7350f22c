use pgrx::prelude::*;

/// The store of the queue.
#[pg_schema]
mod tests {
    use crate::direct::write_count;
    use crate::tests::{device, run, text};
    use pgrx::prelude::*;

    const TABLES: [&str; 5] = ["job_waiting", "job_running", "job_finished", "job_key", "job_dependency"];

    /// Replaces times by their distance from now() in whole minutes; now() itself is the same in both runs
    /// and stays distinguishable from a later clock_timestamp().
    const NORMAL: &str = r#"
        CREATE OR REPLACE FUNCTION pg_temp.normal(value jsonb) RETURNS jsonb LANGUAGE plpgsql AS $f$
        DECLARE
          word text := value #>> '{}';
        BEGIN
          CASE jsonb_typeof(value)
            WHEN 'object' THEN
              RETURN (SELECT jsonb_object_agg(e.key, pg_temp.normal(e.value)) FROM jsonb_each(value) e);
            WHEN 'array' THEN
              RETURN (SELECT coalesce(jsonb_agg(pg_temp.normal(e.value) ORDER BY e.n), '[]')
                        FROM jsonb_array_elements(value) WITH ORDINALITY AS e(value, n));
            WHEN 'string' THEN
              IF word !~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d' THEN
                RETURN value;
              ELSIF word::timestamptz = now() THEN
                RETURN '"now"';
              END IF;
              RETURN to_jsonb(format('now + %s min',
                                     round(extract(epoch FROM word::timestamptz - now()) / 60)));
            ELSE
              RETURN value;
          END CASE;
        END $f$"#;

    /// Runs the statements in SQL and below, after `setup`; compares their results or errors, and after each
    /// of them all rows. New jobs are numbered from 1001.
    #[track_caller]
    fn assert_same(setup: &[&str], statements: &[&str], expected_writes: u64) {
        run(NORMAL);
        let mut steps = vec!["SELECT setval('nebula.job_id_seq', 1000)".to_owned()];
        steps.extend(setup.iter().map(|statement| (*statement).to_owned()));
        let rows = |of: &str, order: &str| {
            format!("SELECT (SELECT jsonb_agg(pg_temp.normal(to_jsonb(r)){order}) FROM ({of}) r)")
        };
        for statement in statements {
            steps.push(rows(statement, ""));
            let of_table = |table| rows(&format!("SELECT * FROM nebula.{table}"), " ORDER BY r.*::text");
            steps.extend(TABLES.map(of_table));
        }
        super::super::assert_same(&steps, &[], expected_writes);
    }

    #[pg_test]
    fn jobs_are_enqueued_the_same() {
        let (node, project) = (device(1), device(2));
        let all = format!(
            "SELECT nebula.enqueue_job('t', '[1]', 5, now() + interval '1 h', 7, 'key', '{{1001}}', '{node}',
                                       '{project}', 'gpu', '2 h', 'block')"
        );
        assert_same(
            &[],
            &[
                "SELECT nebula.enqueue_job('t', '{\"n\": 12345678901234567890.5}')",
                &all,
                &all,
                "SELECT nebula.enqueue_job('t', '{}', -3, now() - interval '1 h')",
                "SELECT nebula.enqueue_job('t', '{}', run_at => 'infinity')",
                "SELECT nebula.enqueue_job('t', to_jsonb(repeat('long ', 2000)))",
                "SELECT nebula.enqueue_job('t', '{}', depends_on => '{999}')",
                "SELECT nebula.enqueue_job('T', '{}')",
            ],
            5,
        );
        assert_same(
            &["ALTER TABLE nebula.job_waiting ADD CONSTRAINT odd CHECK (priority < 5)"],
            &["SELECT nebula.enqueue_job('t', '{}', 5)", "SELECT nebula.enqueue_job('t', '{}', 4)"],
            1,
        );
    }

    #[pg_test]
    fn many_jobs_are_enqueued_the_same() {
        assert_same(
            &[],
            &[
                "SELECT nebula.enqueue_jobs('t', '{1,2,3}')",
                "SELECT nebula.enqueue_jobs('t', ARRAY(SELECT to_jsonb(g) FROM generate_series(1, 200) g), 3,
                                            now() + interval '1 h', 9)",
                "SELECT nebula.enqueue_jobs('t', '{}')",
                "SELECT nebula.enqueue_jobs('t', '{1,NULL}')",
            ],
            2,
        );
    }

    #[pg_test]
    fn jobs_are_claimed_the_same() {
        assert_same(
            &[
                "SELECT count(nebula.enqueue_job('t', to_jsonb(g), g % 3, now() - g % 7 * interval '1 min'))
                   FROM generate_series(1, 60) g",
                "SELECT nebula.enqueue_job('t', '0', capability => 'gpu')",
                "SELECT nebula.enqueue_job('u', '0', 1)",
            ],
            &[
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 1, '10 min')",
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 3, '10 min')",
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 20, '1 month')",
                "SELECT * FROM nebula.claim_jobs('w', '{t,u}', 9, '10 min')",
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 2, '10 min', capabilities => '{gpu}')",
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 100)",
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 100)",
            ],
            67,
        );
        assert_same(
            &[
                "SELECT count(nebula.enqueue_job('t', to_jsonb(g))) FROM generate_series(1, 5) g",
                "ALTER TABLE nebula.job_running ADD CONSTRAINT odd CHECK (payload <> '3')",
            ],
            &[
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 5)",
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 2)",
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 1)",
            ],
            8,
        );
    }

    #[pg_test]
    fn limits_hold_the_same() {
        run("SELECT nebula.limit_jobs('t', 3, 2)");
        let project = text("SELECT nebula.create_project('limited')");
        run(&format!("SELECT nebula.limit_project_jobs('{project}', 1)"));
        let jobs = format!(
            "SELECT count(nebula.enqueue_job(k, to_jsonb(g), project_id => p))
               FROM generate_series(1, 3) g, unnest('{{t,u}}'::text[]) k,
                    unnest('{{{project},{}}}'::uuid[]) p",
            device(3)
        );
        assert_same(
            &[&jobs],
            &[
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 2)",
                "SELECT * FROM nebula.claim_jobs('w', '{t,u}', 9)",
                "SELECT nebula.complete_job(min(job_id), 1) FROM nebula.job_running WHERE kind = 't'",
                "SELECT nebula.fail_job(min(job_id), 1, 'x', false) FROM nebula.job_running WHERE kind = 'u'",
                "SELECT * FROM nebula.claim_jobs('w', '{t,u}', 9)",
            ],
            14,
        );
        run(&format!("SELECT nebula.limit_project_jobs('{project}'); SELECT nebula.limit_jobs('t', 2)"));
        assert_same(
            &["SELECT count(nebula.enqueue_job('t', to_jsonb(g))) FROM generate_series(1, 3) g"],
            &[
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 9)",
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 9)",
                "SELECT nebula.hand_back_job(1001, 1)",
                "SELECT * FROM nebula.claim_jobs('w', '{t}', 9)",
            ],
            6,
        );
    }

    /// Six running jobs of the kind t; 1001 has a unique key, and 1007 waits for it.
    const RUNNING: [&str; 5] = [
        "SELECT nebula.enqueue_job('t', '1', unique_key => 'key')",
        "SELECT count(nebula.enqueue_job('t', to_jsonb(g), max_attempts => g)) FROM generate_series(1, 5) g",
        "SELECT nebula.enqueue_job('child', '2', depends_on => '{1001}', unique_key => 'child')",
        "SELECT count(*) FROM nebula.claim_jobs('w', '{t}', 9, '10 min')",
        "SELECT nebula.heartbeat_job(1001, 1, 0.5, '{\"step\": 1}')",
    ];
    /// How many direct writes those are.
    const RUNNING_WRITES: u64 = 9;

    fn running_and(more: &'static str) -> [&'static str; 6] {
        let [a, b, c, d, e] = RUNNING;
        [a, b, c, d, e, more]
    }

    #[pg_test]
    fn jobs_are_completed_the_same() {
        assert_same(
            &RUNNING,
            &[
                "SELECT nebula.complete_job(1001, 1, '{\"done\": true}')",
                "SELECT nebula.complete_job(1001, 1)",
                "SELECT nebula.complete_job(1002, 2)",
                "SELECT j FROM nebula.complete_jobs('{1006,1003,1002,1003,999}', '{1,1,2,1,1}',
                                                    '{6,3,2,3,9}') j",
                "SELECT * FROM nebula.finish_and_claim(1004, 1, NULL, 'w', '{child}', lease => '10 min')",
                "SELECT * FROM nebula.finish_and_claim(1004, 1, NULL, 'w', '{child}')",
            ],
            RUNNING_WRITES + 4,
        );
        assert_same(
            &running_and("ALTER TABLE nebula.job_finished ADD CONSTRAINT odd CHECK (result IS NOT NULL)"),
            &[
                "SELECT nebula.complete_job(1001, 1)",
                "SELECT j FROM nebula.complete_jobs('{1001,1002}', '{1,1}', '{1,NULL}') j",
                "SELECT nebula.complete_job(1001, 1, '1')",
            ],
            RUNNING_WRITES + 3,
        );
    }

    #[pg_test]
    fn attempts_fail_and_are_handed_back_the_same() {
        run("SET LOCAL timezone = 'Asia/Kolkata'");
        assert_same(
            &RUNNING,
            &[
                "SELECT nebula.fail_job(1003, 1, 'no \"way\"')",
                "SELECT nebula.fail_job(1003, 1, 'again')",
                "SELECT nebula.fail_job(1002, 1, 'last attempt')",
                "SELECT nebula.fail_job(1001, 1, 'has children', false)",
                "SELECT nebula.cancel_job(1004), nebula.cancel_job(1005)",
                "SELECT nebula.fail_job(1004, 1, 'to be cancelled')",
                "SELECT nebula.hand_back_job(1005, 1)",
                "SELECT nebula.hand_back_job(1006, 1, 'going home')",
                "SELECT nebula.hand_back_job(1006, 1)",
                "SELECT nebula.fail_job(999, 1, 'unknown')",
            ],
            RUNNING_WRITES + 6,
        );
    }

    #[pg_test]
    fn leases_are_extended_the_same() {
        assert_same(
            &running_and("UPDATE nebula.job_running SET lease_until = now()"),
            &[
                "SELECT nebula.heartbeat_job(1001, 1)",
                "SELECT nebula.heartbeat_job(1002, 1, 0.25)",
                "SELECT nebula.heartbeat_job(1002, 1, detail => '[1.10]')",
                "SELECT nebula.heartbeat_job(1003, 2)",
                "SELECT nebula.heartbeat_job(1003, 1, 1.5)",
                "SELECT nebula.cancel_job(1004)",
                "SELECT nebula.heartbeat_job(1004, 1, 1, '{}')",
                "SELECT nebula.heartbeat_job(999, 1)",
            ],
            RUNNING_WRITES + 4,
        );
        assert_same(
            &running_and("ALTER TABLE nebula.job_running ADD CONSTRAINT odd CHECK (progress < 0.7)"),
            &["SELECT nebula.heartbeat_job(1001, 1, 0.7)", "SELECT nebula.heartbeat_job(1001, 1, 0.6)"],
            RUNNING_WRITES + 2,
        );
    }

    #[pg_test]
    fn jobs_are_rescued_the_same() {
        assert_same(
            &running_and(
                "UPDATE nebula.job_running SET lease_until = now() - interval '1 h' WHERE job_id < 1004",
            ),
            &["SELECT nebula.rescue_jobs()", "SELECT nebula.heartbeat_job(1003, 1)"],
            RUNNING_WRITES,
        );
    }

    #[pg_test]
    fn read_only_transactions_are_refused_the_same() {
        run("CREATE FUNCTION pg_temp.in_read_only(call text) RETURNS text LANGUAGE plpgsql AS $f$
             BEGIN
               SET LOCAL transaction_read_only = on;
               EXECUTE 'SELECT nebula.' || call;
               RETURN 'done';
             EXCEPTION WHEN OTHERS THEN
               RETURN SQLSTATE;
             END $f$");
        assert_same(
            &RUNNING,
            &[
                "SELECT pg_temp.in_read_only('complete_job(1001, 1)')",
                "SELECT pg_temp.in_read_only('claim_jobs(''w'', ''{child}'')')",
            ],
            RUNNING_WRITES,
        );
    }

    #[pg_test]
    fn each_operation_is_direct_only_while_the_setting_is_on() {
        run("SELECT setval('nebula.job_id_seq', 1000)");
        RUNNING.into_iter().for_each(run);
        let calls = [
            "enqueue_job('t', '{}')",
            "enqueue_jobs('t', '{1,2}')",
            "claim_jobs('w', '{t}', 1)",
            "complete_job(1001, 1)",
            "heartbeat_job(1003, 1, 0.5)",
            "hand_back_job(1003, 1)",
            "fail_job(1004, 1, 'x', false)",
        ];
        for call in calls {
            let writes = |setting: &str| {
                run(&format!("SET LOCAL nebula.direct_writes = {setting}"));
                let before = write_count::get();
                run(&format!(
                    "DO $$ BEGIN
                       PERFORM nebula.{call};
                       RAISE division_by_zero;
                     EXCEPTION WHEN division_by_zero THEN NULL;
                     END $$"
                ));
                write_count::get() - before
            };
            assert_eq!(writes("off"), 0, "{call}");
            assert_ne!(writes("on"), 0, "{call}");
        }
    }
}
