use pgrx::prelude::*;

/// Jobs that wait for something outside of them.
#[pg_schema]
mod tests {
    use super::super::{claim, due_now, enqueue, state};
    use crate::tests::{assert_error, run, text};
    use pgrx::prelude::*;

    fn postpone(job: &str, attempt: u32, reason: &str) -> String {
        text(&format!("SELECT nebula.postpone_job({job}, {attempt}, '20 s', '{reason}')"))
    }

    #[pg_test]
    fn a_postponed_job_waits_its_time_and_uses_up_no_attempt() {
        let job = enqueue("'t', '{}', max_attempts => 1");
        for attempt in 1..=4 {
            assert_eq!(claim("'{t}'"), job);
            assert_eq!(postpone(&job, attempt, &format!("no room {attempt}")), "available");
            assert_eq!(claim("'{t}'"), "null", "it is not due yet");
            assert_eq!(
                text(
                    "SELECT run_at BETWEEN now() AND clock_timestamp() + interval '20 s' FROM nebula.job_waiting"
                ),
                "true"
            );
            due_now();
        }
        assert_eq!(claim("'{t}'"), job);
        assert_eq!(text(&format!("SELECT nebula.fail_job({job}, 5, 'broken')")), "dead", "its one attempt");
    }

    #[pg_test]
    fn a_long_wait_is_one_entry_in_the_errors_of_a_job() {
        let job = enqueue("'t', '{}'");
        claim("'{t}'");
        run(&format!("SELECT nebula.fail_job({job}, 1, 'broken')"));
        for attempt in 2..=5 {
            due_now();
            claim("'{t}'");
            postpone(&job, attempt, &format!("no room {attempt}"));
        }
        let errors = "SELECT string_agg((e ->> 'error') || coalesce(e ->> 'postponed', ''), ', ')
                        FROM nebula.job_waiting, jsonb_array_elements(errors) e";
        assert_eq!(text(errors), "broken, no room 5true");
    }

    #[pg_test]
    fn a_file_says_what_its_job_waits_for() {
        run(
            "SELECT nebula.create_account('anna', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo')",
        );
        run("SELECT nebula.create_project('p')");
        run("SELECT nebula.add_member(project_id, 'anna') FROM nebula.project");
        run("SELECT nebula.create_file(a.account_id, gen_random_uuid(), p.project_id, '', 'film', 1,
                                       sha256('x'), 'video/mp4', 'files/x/original', true)
               FROM nebula.account a, nebula.project p");
        let job = claim("'{transcode}'");
        postpone(&job, 1, "waits for room");
        let seen = "SELECT concat_ws(' ', state, error) FROM nebula.file_status";
        assert_eq!(text(seen), "waiting waits for room");
        due_now();
        claim("'{transcode}'");
        assert_eq!(text(seen), "processing");
    }

    #[pg_test]
    fn postponing_needs_the_lease_a_delay_and_a_reason() {
        let job = enqueue("'t', '{}'");
        claim("'{t}'");
        assert_error(&format!("SELECT nebula.postpone_job({job}, 2, '1 s', 'x')"), "55000", &[&job, "lost"]);
        assert_error(&format!("SELECT nebula.postpone_job({job}, 1, '0 s', 'x')"), "22023", &["delay"]);
        assert_error(&format!("SELECT nebula.postpone_job({job}, 1, '1 s', NULL)"), "22023", &["reason"]);
        run(&format!("SELECT nebula.cancel_job({job})"));
        assert_eq!(postpone(&job, 1, "no room"), "cancelled");
        assert_eq!(state(&job), "cancelled");
    }
}
