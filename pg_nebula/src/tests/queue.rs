//! The queue: each transition of the state machine.

mod attempt;
mod batch;
mod dependency;
mod history;
mod policy;
mod postpone;
mod reclaim;
mod schedule;
mod store;
mod unique_key;

use pgrx::prelude::*;

use super::{run, text};

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

/// Makes all scheduled jobs due.
fn due_now() {
    run("UPDATE nebula.job_waiting SET run_at = now()");
    run("SELECT nebula.release_due_jobs()");
}

/// Ends all leases and rescues their jobs.
fn expire() {
    run("UPDATE nebula.job_running SET lease_until = clock_timestamp() - interval '1 s'");
    run("SELECT nebula.rescue_jobs()");
}

#[pg_schema]
mod tests {
    use super::{claim, due_now, enqueue, expire, state};
    use crate::tests::{assert_error, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn a_job_is_enqueued_claimed_and_completed() {
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
    fn claim_jobs_works_in_a_select_list() {
        run("SELECT nebula.enqueue_job('t', to_jsonb(n)) FROM generate_series(1, 3) n");
        let claim = "SELECT nebula.claim_jobs('w', '{t}', 2) AS job";
        let numbers = format!("SELECT string_agg((c.job).payload::text, ' ') FROM ({claim}) c");
        assert_eq!(text(&numbers), "1 2");
        assert_eq!(text(&numbers), "3");
        assert_eq!(text(&format!("SELECT count(*) FROM ({claim}) c")), "0");
    }

    #[pg_test]
    fn results_and_details_are_limited_as_payloads_are() {
        let job = enqueue("'t', '{}'");
        claim("'{t}'");
        let large = "to_jsonb(repeat('x', 1 << 20))";
        for call in [
            format!("complete_job({job}, 1, {large})"),
            format!("complete_jobs('{{{job}}}', '{{1}}', ARRAY[{large}])"),
            format!("finish_and_claim({job}, 1, {large}, 'w', '{{t}}')"),
            format!("heartbeat_job({job}, 1, 0.5, {large})"),
        ] {
            assert_error(&format!("SELECT nebula.{call}"), "22023", &[&job, "bytes", "1048576"]);
        }
        run(&format!("SELECT nebula.complete_job({job}, 1, to_jsonb(repeat('x', 1000000)))"));
        assert_eq!(state(&job), "succeeded");
    }

    #[pg_test]
    fn enqueue_refuses_malformed_arguments() {
        assert_error("SELECT nebula.enqueue_job('No Kind', '{}')", "22023", &["No Kind"]);
        assert_error("SELECT nebula.enqueue_job(repeat('a', 64), '{}')", "22023", &["aaa"]);
        assert_error("SELECT nebula.enqueue_job('t', null)", "22023", &["payload"]);
        assert_error(
            "SELECT nebula.enqueue_job('t', to_jsonb(repeat('a', 1100000)))",
            "22023",
            &["payload", "bytes"],
        );
        assert_error("SELECT nebula.enqueue_job('t', '{}', max_attempts => 0)", "22023", &["max_attempts"]);
        assert_error("SELECT nebula.enqueue_job('t', '{}', unique_key => '')", "22023", &["unique_key"]);
        assert_error("SELECT nebula.enqueue_job('t', '{}', -2147483648)", "22023", &["priority"]);
        assert_error("SELECT nebula.enqueue_job('t', '{}', capability => '')", "22023", &["capability"]);
        assert_error("SELECT nebula.enqueue_job('t', '{}', on_dead => 'weep')", "22023", &["weep"]);
        assert_error(
            "SELECT nebula.enqueue_job('t', '{}', depends_on => '{NULL}')",
            "22023",
            &["depends_on"],
        );
        assert_error("SELECT nebula.enqueue_job('t', '{}', unique_for => '1 h')", "22023", &["unique_for"]);
        assert_error(
            "SELECT nebula.enqueue_job('t', '{}', unique_key => 'k', unique_for => '0')",
            "22023",
            &["unique_for"],
        );
        assert_error("SELECT nebula.enqueue_jobs('No', '{1}')", "22023", &["No"]);
        assert_error("SELECT nebula.enqueue_jobs('t', NULL)", "22023", &["payloads"]);
        assert_error("SELECT nebula.enqueue_jobs('t', '{1,NULL}')", "22023", &["payload 2 of 2"]);
        assert_error("SELECT nebula.enqueue_jobs('t', '{1}', max_attempts => 0)", "22023", &["max_attempts"]);
        assert_error(
            "SELECT nebula.enqueue_jobs('t', ARRAY[to_jsonb(1), to_jsonb(repeat('a', 1100000))])",
            "22023",
            &["payload 2 of 2", "bytes"],
        );
        assert_error("SELECT nebula.enqueue_job('t', '{}', depends_on => '{999}')", "P0002", &["999"]);
        assert_error(
            "SELECT nebula.enqueue_job(
               't', '{}', depends_on => ARRAY[(SELECT last_value + 1 FROM nebula.job_id_seq)])",
            "22023",
            &["itself"],
        );
        assert_eq!(text("SELECT count(*) FROM nebula.job_status"), "0");
    }

    #[pg_test]
    fn due_jobs_are_claimed_by_priority_then_age() {
        let low = enqueue("'t', '{}'");
        let high = enqueue("'t', '{}', 5");
        let older = enqueue("'t', '{}', 5, now() - interval '1 h'");
        enqueue("'t', '{}', 9, now() + interval '1 h'");
        enqueue("'other', '{}', 9");
        assert_eq!(claim("'{t}', 2"), format!("{older} {high}"));
        assert_eq!(claim("'{t,unknown}', 10"), low);
    }

    #[pg_test]
    fn claim_refuses_malformed_arguments() {
        assert_error("SELECT nebula.claim_jobs('', '{t}')", "22023", &["worker"]);
        assert_error("SELECT nebula.claim_jobs('w', '{}')", "22023", &["kinds"]);
        assert_error("SELECT nebula.claim_jobs('w', '{t}', 0)", "22023", &["max"]);
        assert_error("SELECT nebula.claim_jobs('w', '{t}', lease => '0 s')", "22023", &["lease"]);
        assert_error("SELECT nebula.claim_jobs('w', '{t}', lease => '-1 s')", "22023", &["lease"]);
        assert_error("SELECT nebula.claim_jobs('w', '{t, NULL}')", "22023", &["kinds"]);
        assert_error("SELECT nebula.claim_jobs(null, '{t}')", "22023", &["worker"]);
    }

    #[pg_test]
    fn a_failed_job_is_retried_until_its_last_attempt() {
        let job = enqueue("'t', '{}', max_attempts => 2");
        claim("'{t}'");
        assert_eq!(text(&format!("SELECT nebula.fail_job({job}, 1, 'first')")), "available");
        assert_eq!(
            text(
                "SELECT run_at > enqueued_at AND run_at < clock_timestamp() + interval '2 s'
                   FROM nebula.job_waiting"
            ),
            "true"
        );
        due_now();
        claim("'{t}'");
        assert_error(&format!("SELECT nebula.fail_job({job}, 1, 'late')"), "55000", &["attempt 1", "lost"]);
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
    fn calls_with_an_old_attempt_are_refused_and_change_nothing() {
        let job = enqueue("'t', '{}', max_attempts => 2");
        let assert_refused = |attempt: u32, now: &str| {
            let calls = [
                format!("heartbeat_job({job}, {attempt})"),
                format!("heartbeat_job({job}, {attempt}, 0.5, '{{}}')"),
                format!("complete_job({job}, {attempt})"),
                format!("fail_job({job}, {attempt}, 'x')"),
                format!("hand_back_job({job}, {attempt})"),
                format!("finish_and_claim({job}, {attempt}, NULL, 'w', '{{t}}')"),
            ];
            for call in calls {
                assert_error(&format!("SELECT nebula.{call}"), "55000", &[&job, "lost its lease"]);
            }
            assert_eq!(state(&job), now);
        };
        assert_refused(0, "available");
        assert_refused(1, "available");
        claim("'{t}'");
        assert_refused(2, "running");
        expire();
        assert_refused(1, "available");
        assert_eq!(text("SELECT errors -> 0 ->> 'error' FROM nebula.job_waiting"), "lease expired, worker w");
        due_now();
        assert_eq!(claim("'{t}'"), job);
        assert_refused(1, "running");
        // That was the last attempt.
        expire();
        assert_refused(2, "dead");
        run(&format!("SELECT nebula.retry_job({job})"));
        assert_refused(2, "available");
        assert_eq!(claim("'{t}'"), job);
        assert_refused(2, "running");
        run(&format!("SELECT nebula.hand_back_job({job}, 3)"));
        assert_refused(3, "available");
        claim("'{t}'");
        run(&format!("SELECT nebula.complete_job({job}, 4)"));
        assert_refused(4, "succeeded");
        assert_error("SELECT nebula.complete_job(999, 1)", "55000", &["999"]);
    }

    /// Works without background processes.
    #[pg_test]
    fn a_claim_rescues_jobs_of_any_kind_whose_lease_ran_out() {
        let job = enqueue("'t', '{}', max_attempts => 1");
        assert_eq!(claim("'{t}', lease => '1 ms'"), job);
        run("SELECT pg_sleep(0.01)");
        assert_eq!(claim("'{other}'"), "null");
        assert_eq!(state(&job), "dead");
    }

    #[pg_test]
    fn a_job_that_is_handed_back_keeps_its_position_and_its_attempts() {
        let job = enqueue("'t', '{}', max_attempts => 1");
        let behind = enqueue("'t', '{}'");
        assert_eq!(claim("'{t}'"), job);
        assert_eq!(text(&format!("SELECT nebula.hand_back_job({job}, 1, 'going home')")), "available");
        assert_eq!(
            text(&format!("SELECT errors -> 0 ->> 'error' FROM nebula.job_waiting WHERE job_id = {job}")),
            "going home"
        );
        assert_eq!(claim("'{t}'"), job);
        assert_eq!(
            text(&format!(
                "SELECT attempt || '/' || max_attempts FROM nebula.job_status WHERE job_id = {job}"
            )),
            "2/2"
        );
        run(&format!("SELECT nebula.cancel_job({job})"));
        assert_eq!(text(&format!("SELECT nebula.hand_back_job({job}, 2)")), "cancelled");
        assert_eq!(claim("'{t}'"), behind);
    }

    #[pg_test]
    fn finish_and_claim_does_both_or_neither() {
        let (first, second) = (enqueue("'t', '{}'"), enqueue("'t', '{}'"));
        assert_eq!(claim("'{t}'"), first);
        let call = |job: &str, attempt: u32| {
            text(&format!(
                "SELECT string_agg(job_id::text, ' ')
                   FROM nebula.finish_and_claim({job}, {attempt}, '[7]', 'w', '{{t}}')"
            ))
        };
        assert_eq!(call(&first, 1), second);
        assert_eq!((state(&first).as_str(), state(&second).as_str()), ("succeeded", "running"));
        assert_error(
            &format!("SELECT nebula.finish_and_claim({second}, 1, NULL, 'w', '{{}}')"),
            "22023",
            &["kinds"],
        );
        assert_eq!(state(&second), "running", "nothing was finished either");
        assert_eq!(call(&second, 1), "null");
    }

    #[pg_test]
    fn only_dead_cancelled_and_scheduled_jobs_can_be_retried() {
        let job = enqueue("'t', '{}', max_attempts => 1, unique_key => 'k'");
        assert_error("SELECT nebula.retry_job(999)", "P0002", &["999"]);
        assert_error(&format!("SELECT nebula.retry_job({job}, 0)"), "22023", &["attempts 0"]);
        claim("'{t}'");
        assert_error(&format!("SELECT nebula.retry_job({job})"), "55000", &["running"]);
        run(&format!("SELECT nebula.fail_job({job}, 1, 'x')"));
        run(&format!("SELECT nebula.retry_job({job})"));
        assert_eq!(enqueue("'t', '{}', unique_key => 'k'"), job, "its key is taken again");
        assert_eq!(text("SELECT attempt || '/' || max_attempts FROM nebula.job_status"), "1/6");
        assert_eq!(text("SELECT jsonb_array_length(errors) FROM nebula.job_status"), "1", "errors are kept");
        run(&format!("SELECT nebula.cancel_job({job})"));
        let next = enqueue("'t', '{}', unique_key => 'k'");
        assert_error(&format!("SELECT nebula.retry_job({job})"), "23505", &[&job, &next]);
        assert_eq!(state(&job), "cancelled");
        run(&format!("SELECT nebula.cancel_job({next})"));
        run(&format!("SELECT nebula.retry_job({job}, 2)"));
        assert_eq!(claim("'{t}'"), job);
        run(&format!("SELECT nebula.complete_job({job}, 2)"));
        assert_error(&format!("SELECT nebula.retry_job({job})"), "55000", &["succeeded"]);
        // A scheduled job runs now; a blocked one stays blocked.
        let later = enqueue("'t', '{}', run_at => now() + interval '1 h'");
        let child = enqueue(&format!("'t', '{{}}', depends_on => '{{{later}}}'"));
        assert_eq!(claim("'{t}'"), "null");
        assert_error(&format!("SELECT nebula.retry_job({child})"), "55000", &["blocked"]);
        run(&format!("SELECT nebula.retry_job({later})"));
        assert_eq!(claim("'{t}'"), later);
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
        assert_error(&format!("SELECT nebula.heartbeat_job({job}, 1, 1.5)"), "22023", &["1.5"]);
        assert_error(&format!("SELECT nebula.heartbeat_job({job}, 1, 'NaN')"), "22023", &["NaN"]);
    }

    #[pg_test]
    fn a_job_is_cancelled_at_once_or_when_its_attempt_ends() {
        let waiting = enqueue("'w', '{}'");
        let child = enqueue(&format!("'c', '{{}}', depends_on => '{{{waiting}}}'"));
        assert_eq!(text(&format!("SELECT nebula.cancel_job({waiting})")), "cancelled");
        assert_eq!(state(&child), "cancelled");
        assert_error(&format!("SELECT nebula.cancel_job({waiting})"), "55000", &["cancelled already"]);
        assert_error("SELECT nebula.cancel_job(999)", "P0002", &["999"]);

        let running = enqueue("'r', '{}'");
        claim("'{r}'");
        assert_eq!(text(&format!("SELECT nebula.cancel_job({running})")), "cancelling");
        assert_eq!(text(&format!("SELECT nebula.heartbeat_job({running}, 1)")), "cancel");
        assert_eq!(text(&format!("SELECT nebula.fail_job({running}, 1, 'stopped')")), "cancelled");

        // A rescued job with a cancel request does not run again.
        let silent = enqueue("'r', '{}'");
        claim("'{r}'");
        run(&format!("SELECT nebula.cancel_job({silent})"));
        expire();
        assert_eq!(state(&silent), "cancelled");

        // Children of a blocked job are cancelled with it, its parent is not.
        let parent = enqueue("'p', '{}'");
        let blocked = enqueue(&format!("'c', '{{}}', depends_on => '{{{parent}}}'"));
        let below = enqueue(&format!("'c', '{{}}', depends_on => '{{{blocked}}}'"));
        assert_eq!(text(&format!("SELECT nebula.cancel_job({blocked})")), "cancelled");
        assert_eq!((state(&below).as_str(), state(&parent).as_str()), ("cancelled", "available"));

        // An attempt may succeed despite the request.
        let quick = enqueue("'q', '{}'");
        claim("'{q}'");
        run(&format!("SELECT nebula.cancel_job({quick})"));
        run(&format!("SELECT nebula.complete_job({quick}, 1)"));
        assert_eq!(state(&quick), "succeeded");
    }
}
