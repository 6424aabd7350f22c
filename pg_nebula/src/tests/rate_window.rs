//! Rate limits that all gateways share.

use pgrx::prelude::*;

use super::*;

/// Calls taken of a limit of ten a minute.
fn take(subject: &str, wanted: i32) -> i32 {
    one(&format!(
        "SELECT taken FROM nebula.take_from_rate(NULL, 'uploads', '{subject}', {wanted}, 10, '1 minute',
                                                NULL, '192.0.2.1')"
    ))
}

fn rest(subject: &str) -> f64 {
    one(&format!("SELECT nebula.look_at_rate(NULL, 'uploads', '{subject}', 10)"))
}

fn refusals() -> String {
    text("SELECT count(*) FROM nebula.event WHERE action = 'limit'")
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn what_is_taken_never_exceeds_the_limit_until_the_window_ends() {
        assert_eq!([take("anna", 4), take("anna", 4), take("anna", 4), take("anna", 4)], [4, 4, 2, 0]);
        assert_eq!(take("ben", 4), 4, "another subject");
        let wait = rest("anna");
        assert!(wait > 50.0 && wait <= 60.0, "{wait}");
        assert_eq!(rest("ben"), 0.0);
        run("UPDATE nebula.rate_window SET ends_at = clock_timestamp()");
        assert_eq!(rest("anna"), 0.0);
        assert_eq!(take("anna", 20), 10);
    }

    #[pg_test]
    fn calls_that_are_given_back_or_forgotten_can_be_taken_again() {
        assert_eq!(take("anna", 10), 10);
        assert_eq!(take("anna", -1), -1);
        assert_eq!([take("anna", 2), take("anna", 2)], [1, 0]);
        run("SELECT nebula.forget_rate(NULL, 'uploads', 'anna')");
        assert_eq!(take("anna", 10), 10);
        assert_eq!(take("ben", -1), -1);
        assert_eq!(take("ben", 20), 10, "nobody gets more by giving back");
    }

    #[pg_test]
    fn the_first_refusal_in_a_window_is_an_event_and_no_other() {
        take("anna", 10);
        assert_eq!(refusals(), "0");
        take("anna", 1);
        take("anna", 1);
        assert!(rest("anna") > 0.0);
        assert_eq!(refusals(), "1");
        take("ben", 10);
        assert!(rest("ben") > 0.0 && rest("ben") > 0.0);
        assert_eq!(refusals(), "2");
        run("UPDATE nebula.rate_window SET ends_at = clock_timestamp()");
        take("anna", 10);
        take("anna", 1);
        assert_eq!(refusals(), "3");
    }

    #[pg_test]
    fn windows_that_are_over_do_not_stay_for_ever() {
        run("INSERT INTO nebula.rate_window (limit_name, subject, ends_at)
             SELECT 'uploads', n::text, now() - interval '2 hours' FROM generate_series(1, 50) n");
        for _ in 0..3 {
            take("anna", 1);
        }
        assert_eq!(text("SELECT count(*) FROM nebula.rate_window"), "1");
    }
}
