use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::super::{device, refused, run, text};
    use pgrx::prelude::*;

    fn enqueue(args: &str) -> String {
        text(&format!("SELECT nebula.enqueue_job({args})"))
    }

    /// Identifiers of the claimed jobs, in order.
    fn claim(args: &str) -> String {
        text(&format!("SELECT string_agg(job_id::text, ' ') FROM nebula.claim_jobs('w', {args})"))
    }

    fn state(job: &str) -> String {
        text(&format!("SELECT state FROM nebula.job_status WHERE job_id = {job}"))
    }

    #[pg_test]
    fn a_job_runs_from_end_to_end() {
        let job = enqueue(r#"'t', '{"n": 12345678901234567890.5}'"#);
        assert_eq!(state(&job), "available");
        assert_eq!(
            text("SELECT c::text FROM (SELECT kind, payload, attempt FROM nebula.claim_jobs('w', '{t}')) c"),
            r#"(t,"{""n"": 12345678901234567890.5}",1)"#
        );
        assert_eq!(state(&job), "running");
        assert_eq!(claim("'{t}'"), "null");
        assert_eq!(
            text(&format!("SELECT nebula.heartbeat_job({job}, 1, 0.25, '{{\"at\": 1}}')")),
            "continue"
        );
        assert_eq!(text(&format!("SELECT nebula.heartbeat_job({job}, 1)")), "continue");
        assert_eq!(
            text("SELECT j::text FROM (SELECT progress, detail, worker FROM nebula.job_status) j"),
            r#"(0.25,"{""at"": 1}",w)"#
        );
        run(&format!("SELECT nebula.complete_job({job}, 1, '[1.10]')"));
        assert_eq!(state(&job), "succeeded");
        assert_eq!(text("SELECT result FROM nebula.job_status"), "[1.10]");
    }

    #[pg_test]
    fn enqueue_refuses_nonsense() {
        refused("SELECT nebula.enqueue_job('No Kind', '{}')", "22023", &["No Kind"]);
        refused("SELECT nebula.enqueue_job(repeat('a', 64), '{}')", "22023", &["aaa"]);
        refused("SELECT nebula.enqueue_job('t', null)", "22023", &["payload"]);
        refused(
            "SELECT nebula.enqueue_job('t', to_jsonb(repeat('a', 1100000)))",
            "22023",
            &["payload", "bytes"],
        );
        refused("SELECT nebula.enqueue_job('t', '{}', max_attempts => 0)", "22023", &["max_attempts"]);
        refused("SELECT nebula.enqueue_job('t', '{}', unique_key => '')", "22023", &["unique_key"]);
        refused("SELECT nebula.enqueue_job('t', '{}', depends_on => '{999}')", "P0002", &["999"]);
        refused(
            "SELECT nebula.enqueue_job('t', '{}', depends_on => ARRAY[(SELECT last_value + 1 FROM nebula.job_id_seq)])",
            "22023",
            &["itself"],
        );
        assert_eq!(text("SELECT count(*) FROM nebula.job_status"), "0");
    }

    #[pg_test]
    fn claims_by_priority_then_age_and_only_what_is_due() {
        let low = enqueue("'t', '{}'");
        let high = enqueue("'t', '{}', 5");
        let older = enqueue("'t', '{}', 5, now() - interval '1 h'");
        enqueue("'t', '{}', 9, now() + interval '1 h'");
        enqueue("'other', '{}', 9");
        assert_eq!(claim("'{t}', 2"), format!("{older} {high}"));
        assert_eq!(claim("'{t,unknown}', 10"), low);
    }

    #[pg_test]
    fn claim_refuses_nonsense() {
        refused("SELECT nebula.claim_jobs('', '{t}')", "22023", &["worker"]);
        refused("SELECT nebula.claim_jobs('w', '{}')", "22023", &["kinds"]);
        refused("SELECT nebula.claim_jobs('w', '{t}', 0)", "22023", &["max"]);
        refused("SELECT nebula.claim_jobs('w', '{t}', lease => '0 s')", "22023", &["lease"]);
        refused("SELECT nebula.claim_jobs(null, '{t}')", "22023", &["worker"]);
    }

    #[pg_test]
    fn pinned_jobs_go_to_their_node() {
        let (here, there) = (device(1), device(2));
        let pinned = enqueue(&format!("'t', '{{}}', node_id => '{here}'"));
        assert_eq!(claim("'{t}'"), "null");
        assert_eq!(claim(&format!("'{{t}}', node_id => '{there}'")), "null");
        assert_eq!(claim(&format!("'{{t}}', node_id => '{here}'")), pinned);
    }

    #[pg_test]
    fn a_key_is_taken_while_its_job_lives() {
        let job = enqueue("'t', '{}', unique_key => 'k'");
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), job);
        claim("'{t}'");
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), job);
        run(&format!("SELECT nebula.fail_job({job}, 1, 'x')"));
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), job);
        run(&format!("SELECT nebula.cancel_job({job})"));
        let next = enqueue("'t', '{}', unique_key => 'k'");
        assert_ne!(next, job);
        claim("'{t}'");
        run(&format!("SELECT nebula.complete_job({next}, 1)"));
        assert_eq!(text("SELECT count(*) FROM nebula.job_key"), "0");
    }

    #[pg_test]
    fn children_wait_for_all_parents() {
        let (a, b) = (enqueue("'t', '{}'"), enqueue("'t', '{}'"));
        let child = enqueue(&format!("'c', '{{}}', depends_on => '{{{b},{a},{a}}}'"));
        assert_eq!(state(&child), "blocked");
        assert_eq!(claim("'{t}', 2"), format!("{a} {b}"));
        run(&format!("SELECT nebula.complete_job({a}, 1)"));
        assert_eq!(claim("'{c}'"), "null");
        run(&format!("SELECT nebula.complete_job({b}, 1)"));
        assert_eq!(state(&child), "available");
        assert_eq!(claim("'{c}'"), child);
        assert_eq!(text("SELECT count(*) FROM nebula.job_dependency"), "0");
        // All parents have succeeded: due at once.
        assert_eq!(state(&enqueue(&format!("'c', '{{}}', depends_on => '{{{a},{b}}}'"))), "available");
    }

    #[pg_test]
    fn the_dead_take_their_descendants_with_them() {
        let parent = enqueue("'t', '{}'");
        let child = enqueue(&format!("'c', '{{}}', depends_on => '{{{parent}}}', unique_key => 'k'"));
        let other = enqueue("'o', '{}'");
        let grandchild = enqueue(&format!("'c', '{{}}', depends_on => '{{{child},{other}}}'"));
        claim("'{t}'");
        assert_eq!(text(&format!("SELECT nebula.fail_job({parent}, 1, 'broken', false)")), "dead");
        assert_eq!((state(&child).as_str(), state(&grandchild).as_str()), ("cancelled", "cancelled"));
        assert_eq!(state(&other), "available");
        let why =
            text(&format!("SELECT errors -> 0 ->> 'error' FROM nebula.job_status WHERE job_id = {child}"));
        assert!(why.contains(&parent) && why.contains("dead"), "{why}");
        assert_eq!(
            text(
                "SELECT (SELECT count(*) FROM nebula.job_dependency) + (SELECT count(*) FROM nebula.job_key)"
            ),
            "0"
        );
        refused(
            &format!("SELECT nebula.enqueue_job('c', '{{}}', depends_on => '{{{parent}}}')"),
            "55000",
            &["dead"],
        );
    }

    #[pg_test]
    fn failures_are_retried_until_attempts_are_used_up() {
        let job = enqueue("'t', '{}', max_attempts => 2");
        claim("'{t}'");
        assert_eq!(text(&format!("SELECT nebula.fail_job({job}, 1, 'first')")), "available");
        assert_eq!(
            text(
                "SELECT run_at > enqueued_at AND run_at < clock_timestamp() + interval '2 s' FROM nebula.job_waiting"
            ),
            "true"
        );
        run("UPDATE nebula.job_waiting SET run_at = now()");
        claim("'{t}'");
        refused(&format!("SELECT nebula.fail_job({job}, 1, 'late')"), "55000", &["attempt 1", "lost"]);
        assert_eq!(text(&format!("SELECT nebula.fail_job({job}, 2, 'second')")), "dead");
        assert_eq!(
            text(
                "SELECT string_agg(format('%s %s %s', e ->> 'attempt', e ->> 'worker', e ->> 'error'), ', ')
                    FROM nebula.job_status, jsonb_array_elements(errors) e WHERE e ? 'at'"
            ),
            "1 w first, 2 w second"
        );
    }

    #[pg_test]
    fn a_lost_lease_fences_the_old_attempt_off() {
        let job = enqueue("'t', '{}', max_attempts => 2");
        claim("'{t}'");
        let expire = "UPDATE nebula.job_running SET lease_until = clock_timestamp() - interval '1 s'";
        run(expire);
        assert_eq!(text("SELECT nebula.rescue_jobs()"), "1");
        assert_eq!(state(&job), "available");
        assert_eq!(text("SELECT errors -> 0 ->> 'error' FROM nebula.job_waiting"), "lease expired, worker w");
        run("UPDATE nebula.job_waiting SET run_at = now()");
        assert_eq!(claim("'{t}'"), job);
        for call in ["heartbeat_job({job}, 1)", "complete_job({job}, 1)", "fail_job({job}, 1, 'x')"] {
            refused(
                &format!("SELECT nebula.{}", call.replace("{job}", &job)),
                "55000",
                &[&job, "lost its lease"],
            );
        }
        // The last attempt is not repeated; a claim of anything rescues on the way.
        run(expire);
        assert_eq!(claim("'{other}'"), "null");
        assert_eq!(state(&job), "dead");
    }

    #[pg_test]
    fn a_heartbeat_extends_the_lease_by_its_length() {
        let job = enqueue("'t', '{}'");
        claim("'{t}', lease => '10 min'");
        run("UPDATE nebula.job_running SET lease_until = clock_timestamp() + interval '1 s'");
        run(&format!("SELECT nebula.heartbeat_job({job}, 1)"));
        assert_eq!(
            text("SELECT lease_until > clock_timestamp() + interval '9 min' FROM nebula.job_running"),
            "true"
        );
        refused(&format!("SELECT nebula.heartbeat_job({job}, 1, 1.5)"), "22023", &["1.5"]);
        refused(&format!("SELECT nebula.heartbeat_job({job}, 1, 'NaN')"), "22023", &["NaN"]);
    }

    #[pg_test]
    fn cancelling() {
        let waiting = enqueue("'w', '{}'");
        let child = enqueue(&format!("'c', '{{}}', depends_on => '{{{waiting}}}'"));
        assert_eq!(text(&format!("SELECT nebula.cancel_job({waiting})")), "cancelled");
        assert_eq!(state(&child), "cancelled");
        refused(&format!("SELECT nebula.cancel_job({waiting})"), "55000", &["cancelled already"]);
        refused("SELECT nebula.cancel_job(999)", "P0002", &["999"]);

        let running = enqueue("'r', '{}'");
        claim("'{r}'");
        assert_eq!(text(&format!("SELECT nebula.cancel_job({running})")), "cancelling");
        assert_eq!(text(&format!("SELECT nebula.heartbeat_job({running}, 1)")), "cancel");
        assert_eq!(text(&format!("SELECT nebula.fail_job({running}, 1, 'stopped')")), "cancelled");

        // Done before it heard of it: then it is done.
        let quick = enqueue("'q', '{}'");
        claim("'{q}'");
        run(&format!("SELECT nebula.cancel_job({quick})"));
        run(&format!("SELECT nebula.complete_job({quick}, 1)"));
        assert_eq!(state(&quick), "succeeded");
    }
}
