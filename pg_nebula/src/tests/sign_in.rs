//! Signing in: passwords are compared in the database, and failures delay the next try.

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use pgrx::prelude::*;

use super::*;

/// An account whose password is "right", hashed cheaply.
pub(super) fn anna() -> String {
    let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).expect("valid"));
    let hash: PasswordHash = cheap.hash_password(b"right").expect("there is randomness");
    let hash = hash.to_string();
    text(&format!("SELECT nebula.create_account('anna', '{hash}')"))
}

/// The outcome of signing in from an address.
fn sign_in(name: &str, password: &str, address: &str) -> String {
    text(&format!(
        "SELECT outcome FROM nebula.sign_in(NULL, '{name}', '{password}', sha256(gen_random_uuid()::text::bytea),
                                            '1 h', '{address}')"
    ))
}

fn failures() -> String {
    text(
        "SELECT coalesce(sum(failures), 0) FROM nebula.sign_in_failure WHERE name_hash <> '' AND network <> '0.0.0.0/0'",
    )
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn the_right_password_begins_a_session_and_forgets_failures() {
        let account = anna();
        assert_eq!(sign_in("anna", "wrong", "192.0.2.1"), "refused");
        assert_eq!(failures(), "1");
        assert_eq!(sign_in("anna", "right", "192.0.2.1"), "signed-in");
        assert_eq!(failures(), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.session"), "1");
        assert_eq!(
            text(
                "SELECT string_agg(format('%s %s %s', actor, action, subject_id), ', ' ORDER BY event_id)
                    FROM nebula.event WHERE action LIKE 'login%'"
            ),
            format!("anna login-failed {account}, anna login {account}")
        );
    }

    #[pg_test]
    fn unknown_and_disabled_accounts_are_refused_alike_and_counted() {
        anna();
        run("UPDATE nebula.account SET disabled_at = now()");
        assert_eq!(sign_in("anna", "right", "192.0.2.1"), "refused");
        assert_eq!(sign_in("correct horse", "x", "192.0.2.1"), "refused");
        assert_eq!(failures(), "2");
        // People type passwords where the name belongs.
        assert_eq!(text("SELECT count(*) FROM nebula.event e WHERE e::text LIKE '%correct horse%'"), "0");
        assert_eq!(text("SELECT count(*) FROM nebula.session"), "0");
        assert_eq!(text("SELECT nebula.password_matches('x', NULL)"), "false");
        assert_eq!(text("SELECT nebula.password_matches('no account has this password', NULL)"), "false");
        assert_eq!(text("SELECT nebula.password_matches('x', 'no hash')"), "false");
    }

    #[pg_test]
    fn guessing_has_to_wait_longer_each_time_and_keeps_nobody_else_out() {
        anna();
        for _ in 0..5 {
            assert_eq!(sign_in("anna", "wrong", "192.0.2.1"), "refused");
        }
        assert_eq!(failures(), "5");
        // The delay after the fifth failure is a second, too short for a busy machine.
        run(
            "UPDATE nebula.sign_in_failure SET failures = 12 WHERE name_hash <> '' AND network <> '0.0.0.0/0'",
        );
        // The right one too: it must not tell that it is right.
        assert_eq!(sign_in("anna", "right", "192.0.2.1"), "wait");
        assert_eq!(failures(), "12", "a try that waits is none");
        assert_eq!(sign_in("anna", "right", "192.0.2.2"), "signed-in");
        assert_eq!(sign_in("ben", "wrong", "192.0.2.1"), "refused");
        let delays = |name: bool, network: bool| {
            text(&format!(
                "SELECT string_agg(extract(epoch FROM nebula.sign_in_delay(n, {name}, {network}))::int::text, ' '
                                   ORDER BY n)
                   FROM unnest('{{4,5,6,10,50,60,99,100,1000000}}'::int[]) n"
            ))
        };
        assert_eq!(delays(true, true), "0 1 2 32 900 900 900 900 900");
        assert_eq!(delays(false, true), "0 0 0 0 1 11 50 51 900");
        assert_eq!(delays(true, false), "0 0 0 0 0 0 0 1 30");
        run("UPDATE nebula.sign_in_failure SET failed_at = failed_at - interval '1 hour'");
        assert_eq!(sign_in("anna", "wrong", "192.0.2.1"), "refused");
        assert_eq!(text("SELECT max(failures) FROM nebula.sign_in_failure"), "1");
    }

    /// Processor time of this thread, in nanoseconds: unlike the time that passes, it does not depend on what else runs.
    fn processor_time() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts it");
        stat.split(' ').next().and_then(|time| time.parse().ok()).expect("a number")
    }

    #[pg_test]
    fn an_unknown_name_costs_the_same_work_as_a_wrong_password() {
        // With the parameters of the passwords that gateways hash.
        let hash: PasswordHash = Argon2::default().hash_password(b"right").expect("there is randomness");
        run(&format!("SELECT nebula.create_account('anna', '{hash}')"));
        run("SET LOCAL track_functions = 'all'");
        let calls = || {
            text(
                "SELECT coalesce(jsonb_object_agg(funcname, calls), '{}') FROM pg_stat_xact_user_functions
                   WHERE schemaname = 'nebula'",
            )
        };
        let work = |name: &str, network: u32| {
            let (calls_before, before) = (calls(), processor_time());
            for host in 1..=4 {
                assert_eq!(sign_in(name, "wrong", &format!("192.0.{network}.{host}")), "refused");
            }
            let time = processor_time() - before;
            let calls = text(&format!(
                "SELECT jsonb_object_agg(key, value::bigint - coalesce(('{calls_before}'::jsonb ->> key)::bigint, 0))
                   FROM jsonb_each_text('{}')",
                calls()
            ));
            (calls, time)
        };
        // The first five executions of a statement have plans of their own, for which functions are called, too.
        work("anna", 1);
        work("anna", 4);
        let (calls_known, known) = work("anna", 2);
        let (calls_unknown, unknown) = work("nobody", 3);
        assert_eq!(calls_known, calls_unknown);
        let ratio = known as f64 / unknown as f64;
        assert!((0.5..2.0).contains(&ratio), "a wrong password: {known} ns, an unknown name: {unknown} ns");
    }

    #[pg_test]
    fn a_network_of_ipv6_is_one_client() {
        anna();
        for host in 1..=5 {
            assert_eq!(sign_in("anna", "wrong", &format!("2001:db8:0:1::{host}")), "refused");
        }
        run("UPDATE nebula.sign_in_failure SET failures = 12 WHERE failures = 5 AND network <> '0.0.0.0/0'");
        assert_eq!(sign_in("anna", "right", "2001:db8:0:1::99"), "wait");
        assert_eq!(sign_in("anna", "right", "2001:db8:0:2::1"), "signed-in");
    }
}
