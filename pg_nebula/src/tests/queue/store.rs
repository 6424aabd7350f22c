//! Rows that move between tables: triggers, constraints and indexes that an administrator has added count,
//! also for direct writes.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::queue::{claim, enqueue, state};
    use crate::tests::{assert_error, error_of, run, text};
    use pgrx::prelude::*;

    /// SQLSTATE and message of a call.
    fn error_of_call(call: &str) -> String {
        error_of(&format!("SELECT {call}"))
    }

    #[pg_test]
    fn claims_of_any_size_keep_the_order() {
        run("SELECT nebula.enqueue_job('t', to_jsonb(g), -(g / 90),
                                   now() - interval '1 h' + (g / 7 % 40) * interval '1 s')
               FROM (SELECT g FROM generate_series(1, 400) g ORDER BY md5(g::text)) s");
        let expected = text(
            "SELECT string_agg(payload::text, ' ' ORDER BY -priority, run_at, job_id)
               FROM nebula.job_waiting",
        );
        run("CREATE TEMP TABLE got (n serial, payload jsonb)");
        run("INSERT INTO got (payload)
             SELECT c.payload
               FROM generate_series(1, 200) g, LATERAL nebula.claim_jobs('w' || g, '{t}', 1 + g % 3) c");
        assert_eq!(text("SELECT string_agg(payload::text, ' ' ORDER BY n) FROM got"), expected);
        assert_eq!(claim("'{t}'"), "null");
    }

    #[pg_test]
    fn one_statement_can_claim_and_complete_a_job() {
        let job = enqueue("'t', '{}'");
        run("SELECT nebula.complete_job(job_id, attempt, '[1]') FROM nebula.claim_jobs('w', '{t}')");
        assert_eq!(state(&job), "succeeded");
        assert_eq!(text("SELECT string_agg(result::text, '') FROM nebula.job_finished"), "[1]");
    }

    #[pg_test]
    fn payloads_that_are_toasted_are_copied_unchanged() {
        run("CREATE TEMP TABLE big AS
             SELECT to_jsonb(string_agg(md5(g::text), '')) AS payload FROM generate_series(1, 2000) g");
        let job = text("SELECT nebula.enqueue_job('t', payload) FROM big");
        assert_eq!(text("SELECT c.payload = b.payload FROM nebula.claim_jobs('w', '{t}') c, big b"), "true");
        run(&format!("SELECT nebula.complete_job({job}, 1, (SELECT payload FROM big))"));
        assert_eq!(
            text("SELECT f.payload = b.payload AND f.result = b.payload FROM nebula.job_finished f, big b"),
            "true"
        );
    }

    #[pg_test]
    fn complete_jobs_stores_a_result_for_each_job() {
        let (a, b) = (enqueue("'t', '{}'"), enqueue("'t', '{}'"));
        claim("'{t}', 2");
        let complete =
            |results: &str| format!("SELECT nebula.complete_jobs('{{{b},{a}}}', '{{1,1}}', {results})");
        assert_error(&complete("'{1}'"), "22023", &["2 job_ids", "1 results"]);
        run(&complete("'{NULL,7}'"));
        assert_eq!(
            text(
                "SELECT string_agg(coalesce(result::text, '-'), ' ' ORDER BY job_id) FROM nebula.job_finished"
            ),
            "7 -"
        );
    }

    #[pg_test]
    fn calls_in_one_statement_see_what_earlier_calls_wrote() {
        let job = enqueue("'t', '{}'");
        claim("'{t}'");
        let beats = format!("nebula.heartbeat_job({job}, 1, 0.1), nebula.heartbeat_job({job}, 1, 0.2)");
        let message =
            error_of_call(&format!("{beats}, nebula.complete_job({job}, 1), nebula.complete_job({job}, 1)"));
        assert!(message.starts_with("55000 "), "{message}");
        let message =
            error_of_call(&format!("nebula.complete_job({job}, 1), nebula.fail_job({job}, 1, 'no')"));
        assert!(message.starts_with("55000 "), "{message}");
        let twice =
            format!("SELECT count(*) FROM nebula.complete_jobs('{{{job},{job},{job}}}', '{{2,1,1}}')");
        run(&format!("SELECT {beats}, ({twice})"));
        assert_eq!(
            text("SELECT string_agg(state || ' ' || progress, ', ') FROM nebula.job_finished"),
            "succeeded 0.2"
        );
    }

    #[pg_test]
    fn triggers_fire_for_claims_and_completions() {
        run("CREATE TABLE public.seen (what text);
             CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO public.seen VALUES (TG_ARGV[0]); RETURN coalesce(NEW, OLD); END $$");
        let seen = |trigger: &str| {
            run(&format!("CREATE TRIGGER see {trigger}"));
            enqueue("'t', '{}'");
            claim("'{t}'");
            run("SELECT nebula.complete_job(job_id, attempt) FROM nebula.job_running");
            let seen = text("SELECT string_agg(what, ' ' ORDER BY what) FROM public.seen");
            let table = trigger.split(' ').find(|word| word.starts_with("nebula.")).unwrap_or_default();
            run(&format!("TRUNCATE public.seen; DROP TRIGGER see ON {table}"));
            seen
        };
        let each = "FOR EACH ROW EXECUTE FUNCTION public.see('it')";
        assert_eq!(seen(&format!("BEFORE DELETE ON nebula.job_waiting {each}")), "it");
        assert_eq!(seen(&format!("AFTER INSERT ON nebula.job_running {each}")), "it");
        assert_eq!(seen(&format!("AFTER DELETE ON nebula.job_running {each}")), "it");
        assert_eq!(seen(&format!("AFTER INSERT ON nebula.job_finished {each}")), "it");
        assert_eq!(seen("AFTER INSERT ON nebula.job_finished EXECUTE FUNCTION public.see('all')"), "all");
        assert_eq!(text("SELECT count(*) FROM nebula.job_finished"), "5");
    }

    #[pg_test]
    fn check_constraints_hold_for_claims_and_completions() {
        let job = enqueue("'t', '{}'");
        run("ALTER TABLE nebula.job_running ADD CONSTRAINT odd CHECK (worker <> 'nobody')");
        let message = error_of_call("nebula.claim_jobs('nobody', '{t}')");
        assert!(message.starts_with("23514 ") && message.contains("odd"), "{message}");
        assert_eq!(state(&job), "available");
        assert_eq!(claim("'{t}'"), job);
        run("ALTER TABLE nebula.job_finished ADD CONSTRAINT odd CHECK (result IS NOT NULL)");
        let message = error_of_call(&format!("nebula.complete_job({job}, 1)"));
        assert!(message.starts_with("23514 ") && message.contains("odd"), "{message}");
        assert_eq!(state(&job), "running");
        run(&format!("SELECT nebula.complete_job({job}, 1, '1')"));
        assert_eq!(state(&job), "succeeded");
    }

    #[pg_test]
    fn every_index_has_an_entry_for_every_job() {
        run("CREATE INDEX by_worker ON nebula.job_running (upper(worker));
             CREATE INDEX by_state ON nebula.job_finished (upper(state)) WHERE result IS NOT NULL");
        enqueue("'t', '{}'");
        claim("'{t}'");
        run("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off");
        assert_eq!(text("SELECT count(*) FROM nebula.job_running WHERE upper(worker) = 'W'"), "1");
        run("SELECT nebula.complete_job(job_id, attempt, '1') FROM nebula.job_running");
        let found = "SELECT count(*) FROM nebula.job_finished
                      WHERE upper(state) = 'SUCCEEDED' AND result IS NOT NULL";
        assert_eq!(text(found), "1");
    }

    #[pg_test]
    fn a_detached_segment_is_not_written_to() {
        run("SELECT nebula.switch_segment(0)");
        let job = enqueue("'t', '{}'");
        claim("'{t}'");
        run("ALTER TABLE nebula.job_finished DETACH PARTITION nebula.job_finished_0");
        let message = error_of_call(&format!("nebula.complete_job({job}, 1)"));
        assert!(message.starts_with("23514 ") && message.contains("job_finished"), "{message}");
        run("ALTER TABLE nebula.job_finished ATTACH PARTITION nebula.job_finished_0 FOR VALUES IN (0)");
        run(&format!("SELECT nebula.complete_job({job}, 1)"));
        assert_eq!(text("SELECT count(*) FROM ONLY nebula.job_finished_0"), "1");
        run("SELECT nebula.switch_segment(3)");
        enqueue("'t', '{}'");
        run("SELECT nebula.complete_job(job_id, attempt) FROM nebula.claim_jobs('w', '{t}')");
        assert_eq!(text("SELECT count(*) FROM ONLY nebula.job_finished_3"), "1");
    }

    #[pg_test]
    fn read_only_transactions_move_no_jobs() {
        let (first, second) = (enqueue("'t', '{}'"), enqueue("'t', '{}'"));
        claim("'{t}'");
        for call in ["nebula.claim_jobs('w', '{t}')".to_owned(), format!("nebula.complete_job({first}, 1)")] {
            let message = error_of_call(&format!("set_config('transaction_read_only', 'on', true), {call}"));
            assert!(message.starts_with("25006 "), "{call}: {message}");
        }
        assert_eq!((state(&first).as_str(), state(&second).as_str()), ("running", "available"));
    }
}
