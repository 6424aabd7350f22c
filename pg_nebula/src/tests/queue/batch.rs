//! Many jobs at once, and where claims start to scan.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::queue::{claim, enqueue};
    use crate::tests::{assert_error, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn jobs_of_a_batch_are_claimed_in_the_order_of_the_payloads() {
        assert_eq!(text("SELECT count(*) FROM nebula.enqueue_jobs('t', '{}')"), "0");
        assert_eq!(
            text(
                "SELECT bool_and(ordered) FROM (SELECT j > lag(j, 1, 0::bigint) OVER () AS ordered
                    FROM nebula.enqueue_jobs(
                           't', ARRAY(SELECT to_jsonb(g) FROM generate_series(1, 3000) g), 3) j) o"
            ),
            "true"
        );
        assert_eq!(
            text(
                "SELECT string_agg(payload::text, ' ') || ' ' || min(priority) FROM (
                    SELECT * FROM nebula.job_waiting ORDER BY job_id LIMIT 3) j"
            ),
            "1 2 3 3"
        );
        assert_eq!(
            text("SELECT string_agg(payload::text, ' ') FROM nebula.claim_jobs('w', '{t}', 3)"),
            "1 2 3"
        );
        run("SELECT nebula.enqueue_jobs('later', '{1}', run_at => now() + interval '1 h')");
        assert_eq!(claim("'{later}'"), "null");
        crate::tests::queue::due_now();
        assert_ne!(claim("'{later}'"), "null");
    }

    #[pg_test]
    fn complete_jobs_leaves_out_jobs_of_another_attempt() {
        let (a, b, c) = (enqueue("'t', '{}', unique_key => 'k'"), enqueue("'t', '{}'"), enqueue("'t', '{}'"));
        let child = enqueue(&format!("'c', '{{}}', depends_on => '{{{a},{b}}}'"));
        claim("'{t}', 3");
        let complete = |jobs: &str, attempts: &str| {
            text(&format!(
                "SELECT string_agg(j::text, ' ' ORDER BY j)
                   FROM nebula.complete_jobs('{{{jobs}}}', '{{{attempts}}}') j"
            ))
        };
        assert_eq!(complete(&format!("{a},{b},{c},999"), "1,1,2,1"), format!("{a} {b}"));
        assert_eq!(text("SELECT string_agg(job_id::text, ' ') FROM nebula.job_running"), c);
        assert_eq!(claim("'{c}'"), child);
        assert_eq!(text("SELECT count(*) FROM nebula.job_key"), "0");
        assert_eq!(complete(&a, "1"), "null");
        assert_error("SELECT nebula.complete_jobs('{1,2}', '{1}')", "22023", &["2 job_ids", "1 attempts"]);
        assert_error("SELECT nebula.complete_jobs('{1,NULL}', '{1,1}')", "22023", &["job_ids"]);
    }

    /// Claims start to scan where the last one ended.
    #[pg_test]
    fn jobs_that_appear_before_the_start_of_the_scan_are_claimed() {
        run("SELECT nebula.enqueue_jobs('t', ARRAY(SELECT to_jsonb(g) FROM generate_series(1, 50) g))");
        claim("'{t}', 10");
        // The start advances only past jobs that appeared some time ago.
        run("SELECT pg_sleep(0.25)");
        claim("'{t}', 10");
        let (older, higher) = (enqueue("'t', '{}', 0, now() - interval '1 h'"), enqueue("'t', '{}', 3"));
        assert_eq!(claim("'{t}', 2"), format!("{higher} {older}"));
        // A rollback to a savepoint puts claimed jobs back.
        run("SELECT pg_sleep(0.25)");
        run("DO $$ BEGIN
               PERFORM nebula.claim_jobs('w', '{t}', 5);
               RAISE EXCEPTION 'never mind';
             EXCEPTION WHEN raise_exception THEN NULL;
             END $$");
        assert_eq!(
            text("SELECT string_agg(payload::text, ' ') FROM nebula.claim_jobs('w', '{t}', 3)"),
            "21 22 23"
        );
        assert_eq!(text("SELECT count(*) FROM nebula.claim_jobs('w', '{t}', 100)"), "27");
        assert_eq!(claim("'{t}'"), "null");
        let next = enqueue("'t', '{}'");
        assert_eq!(claim("'{t,u}'"), next);
    }

    /// A row that was inserted by hand moves no scan hint; a full scan finds it.
    #[pg_test]
    fn a_row_inserted_by_hand_is_claimed_after_a_while() {
        enqueue("'t', '{}'");
        claim("'{t}', 9");
        claim("'{t}', 9");
        run("INSERT INTO nebula.job_waiting (kind, payload, run_at)
             VALUES ('t', '{}', now() - interval '1 day')");
        run("DO $$ BEGIN
               FOR step IN 1..200 LOOP
                 EXIT WHEN EXISTS (SELECT FROM nebula.claim_jobs('w', '{t}'));
                 PERFORM pg_sleep(0.05);
               END LOOP;
             END $$");
        assert_eq!(text("SELECT count(*) FROM nebula.job_waiting"), "0");
    }
}
