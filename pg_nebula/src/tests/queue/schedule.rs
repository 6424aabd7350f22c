//! Schedules. Cron expressions are tested in nebula-core, cron.rs.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::queue::claim;
    use crate::tests::{assert_error, run, text};
    use pgrx::prelude::*;

    fn schedule(args: &str) -> String {
        text(&format!("SELECT nebula.schedule_job({args})"))
    }

    #[pg_test]
    fn a_schedule_enqueues_one_job_however_many_ticks_were_missed() {
        schedule("'nightly', '0 3 * * *', 't', '[1]', 'Europe/Berlin', 7, 2");
        assert_eq!(
            text("SELECT next_at > now() AND next_at <= now() + interval '25 h' FROM nebula.job_schedule"),
            "true"
        );
        assert_eq!(text("SELECT nebula.run_schedules()"), "0");
        run("UPDATE nebula.job_schedule SET next_at = now() - interval '9 days'");
        assert_eq!(text("SELECT nebula.run_schedules()"), "1");
        assert_eq!(text("SELECT nebula.run_schedules()"), "0");
        assert_eq!(
            text(
                "SELECT j::text FROM (SELECT kind, payload, priority, max_attempts FROM nebula.job_status) j"
            ),
            "(t,[1],7,2)"
        );
        assert_eq!(
            text(
                "SELECT (last_job_id, next_at > now()) = ((SELECT job_id FROM nebula.job_waiting), true)
                   FROM nebula.job_schedule"
            ),
            "true"
        );
        run("SELECT nebula.unschedule_job('nightly')");
        assert_error("SELECT nebula.unschedule_job('nightly')", "P0002", &["nightly"]);
        assert_ne!(claim("'{t}'"), "null", "what was enqueued stays");
    }

    #[pg_test]
    fn scheduling_again_changes_the_schedule_but_keeps_a_due_tick() {
        let first = schedule("'n', '0 3 * * *', 't'");
        run("UPDATE nebula.job_schedule SET next_at = now() - interval '1 h'");
        schedule("'n', '0 3 * * *', 'u'");
        assert_eq!(
            text("SELECT kind || (next_at < now()) FROM nebula.job_schedule"),
            "utrue",
            "a tick that is due is kept"
        );
        assert_ne!(schedule("'n', '0 4 * * *', 'u'"), first);
        assert_eq!(text("SELECT next_at > now() FROM nebula.job_schedule"), "true");
    }

    #[pg_test]
    fn a_schedule_that_fails_does_not_stop_the_others() {
        schedule("'broken', '@daily', 't'");
        schedule("'sound', '@daily', 't'");
        run("UPDATE nebula.job_schedule SET next_at = now() - interval '1 h'");
        run("UPDATE nebula.job_schedule SET time_zone = 'Mars/Olympus' WHERE name = 'broken'");
        assert_eq!(text("SELECT nebula.run_schedules()"), "1");
        assert_eq!(text("SELECT bool_and(next_at > now()) FROM nebula.job_schedule"), "true");
        assert_eq!(text("SELECT name FROM nebula.job_schedule WHERE last_job_id IS NOT NULL"), "sound");
        assert_ne!(claim("'{t}'"), "null");
    }

    #[pg_test]
    fn ticks_follow_the_clock_of_the_time_zone() {
        let next = |cron: &str, zone: &str, after: &str| {
            text(&format!("SELECT nebula.next_tick('{cron}', '{zone}', '{after}') AT TIME ZONE 'UTC'"))
        };
        assert_eq!(next("30 9 * * *", "Asia/Kolkata", "2026-06-01 00:00Z"), "2026-06-01 04:00:00");
        assert_eq!(next("*/15 * * * *", "UTC", "2026-06-01 00:14:59.9Z"), "2026-06-01 00:15:00");
        assert_eq!(next("*/15 * * * *", "UTC", "2026-06-01 00:15Z"), "2026-06-01 00:30:00");
        // The clock skips 02:30 on that day: the tick comes soon after the change.
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00Z"), "2026-03-29 01:30:00");
        // The clock shows 02:30 twice on that day: the tick comes at the first only.
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00Z"), "2026-10-25 00:30:00");
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25 00:30Z"), "2026-10-26 01:30:00");
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25 01:10Z"), "2026-10-26 01:30:00");
        // Expressions with a wildcard go by what the clock shows, also when it shows it again.
        assert_eq!(next("* * * * *", "Europe/Berlin", "2027-10-31 00:59Z"), "2027-10-31 01:00:00");
        assert_eq!(next("@hourly", "Europe/Berlin", "2027-10-31 00:00Z"), "2027-10-31 01:00:00");
        assert_eq!(next("*/30 2 * * *", "Europe/Berlin", "2027-03-27 12:00Z"), "2027-03-29 00:00:00");
        assert_eq!(next("45 1 * * *", "Australia/Lord_Howe", "2027-04-03 12:00Z"), "2027-04-03 14:45:00");
        assert_eq!(next("45 1 * * *", "Australia/Lord_Howe", "2027-04-03 14:45Z"), "2027-04-04 15:15:00");
    }

    #[pg_test]
    fn schedule_job_refuses_malformed_arguments() {
        assert_error("SELECT nebula.schedule_job('n', '61 * * * *', 't')", "22023", &["61", "minute"]);
        assert_error(
            "SELECT nebula.schedule_job('n', '0 0 30 2 *', 't')",
            "22023",
            &["never matches", "30 2"],
        );
        assert_error(
            "SELECT nebula.schedule_job('n', '@daily', 't', time_zone => 'Mars/Olympus')",
            "22023",
            &["Mars/Olympus"],
        );
        assert_error("SELECT nebula.schedule_job('n', '@daily', 'T')", "22023", &["T"]);
        assert_error("SELECT nebula.schedule_job('', '@daily', 't')", "22023", &["schedule"]);
        assert_error("SELECT nebula.schedule_job('n', '@daily', 't', NULL)", "22023", &["payload"]);
        assert_error("SELECT nebula.schedule_job('n', NULL, 't')", "22023", &["cron"]);
        assert_eq!(text("SELECT count(*) FROM nebula.job_schedule"), "0");
    }
}
