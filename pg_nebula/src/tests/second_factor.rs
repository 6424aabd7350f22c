//! Signing in with a code: no step and no recovery code counts twice, and wrong ones are counted.

use pgrx::prelude::*;

use super::*;

/// An account with the password "right", an authenticator and the recovery code "spare".
fn anna() -> String {
    let anna = sign_in::anna();
    let begun = |password: &str| {
        text(&format!(
            "SELECT outcome FROM nebula.begin_totp('{anna}', '{password}', decode(repeat('00', 48), 'hex'))"
        ))
    };
    assert_eq!(begun("wrong"), "refused");
    assert_eq!(begun("right"), "right");
    assert_eq!(sign_in("right", "NULL, NULL"), "signed-in", "until a code was shown none is asked for");
    run(&format!("SELECT nebula.confirm_totp('{anna}', 100, ARRAY[sha256('spare')])"));
    anna
}

/// The outcome of signing in with a password, step and hash of a recovery code.
fn sign_in(password: &str, second: &str) -> String {
    text(&format!(
        "SELECT outcome FROM nebula.sign_in(NULL, 'anna', '{password}', sha256(gen_random_uuid()::text::bytea),
                                            '1 h', '192.0.2.1', NULL, {second})"
    ))
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn a_password_alone_is_not_enough_and_tells_that_a_code_is_missing_only_if_it_is_right() {
        anna();
        assert_eq!(sign_in("right", "NULL, NULL"), "second-factor");
        assert_eq!(sign_in("wrong", "NULL, NULL"), "refused");
        assert_eq!(sign_in("wrong", "101, NULL"), "refused");
        assert_eq!(text("SELECT count(*) FROM nebula.session"), "1");
    }

    #[pg_test]
    fn each_code_is_good_once() {
        anna();
        assert_eq!(sign_in("right", "100, NULL"), "refused", "the one that confirmed the authenticator");
        assert_eq!(sign_in("right", "101, NULL"), "signed-in");
        assert_eq!(sign_in("right", "101, NULL"), "refused");
        assert_eq!(sign_in("right", "100, NULL"), "refused", "an older one");
        assert_eq!(sign_in("right", "NULL, sha256('spare')"), "signed-in");
        assert_eq!(sign_in("right", "NULL, sha256('spare')"), "refused");
        assert_eq!(text("SELECT count(*) FROM nebula.recovery_code"), "0");
    }

    #[pg_test]
    fn codes_cannot_be_guessed_without_end_although_the_password_is_known() {
        anna();
        for _ in 0..5 {
            assert_eq!(sign_in("right", "0, NULL"), "refused");
        }
        run(
            "UPDATE nebula.sign_in_failure SET failures = 12 WHERE name_hash <> '' AND network <> '0.0.0.0/0'",
        );
        assert_eq!(sign_in("right", "NULL, NULL"), "wait");
        assert_eq!(sign_in("right", "101, NULL"), "wait");
    }

    #[pg_test]
    fn the_second_factor_is_switched_off_by_password_or_by_an_administrator() {
        let anna = anna();
        let off = |password: &str| {
            text(&format!("SELECT outcome FROM nebula.end_totp('{anna}', '{password}', '192.0.2.9')"))
        };
        assert_error(
            &format!("SELECT nebula.begin_totp('{anna}', 'right', decode(repeat('01', 48), 'hex'))"),
            "55000",
            &["already"],
        );
        assert_eq!(off("wrong"), "refused");
        assert_eq!(sign_in("right", "NULL, NULL"), "second-factor");
        assert_eq!(off("right"), "right");
        assert_eq!(sign_in("right", "NULL, NULL"), "signed-in");
        assert_error("SELECT nebula.remove_totp('anna')", "55000", &["no second factor"]);
        assert_eq!(text("SELECT count(*) FROM nebula.recovery_code"), "0");
    }

    #[pg_test]
    fn a_new_password_needs_the_old_one_and_ends_the_other_sessions() {
        let anna = anna();
        let change = |old: &str| {
            text(&format!(
                "SELECT outcome FROM nebula.set_own_password('{anna}', '{old}', '$argon2id$new',
                                                             (SELECT max(session_id::text)::uuid FROM nebula.session))"
            ))
        };
        assert_eq!(sign_in("right", "101, NULL"), "signed-in");
        assert_eq!(change("wrong"), "refused");
        assert_eq!(text("SELECT count(*) FROM nebula.session WHERE ended_at IS NULL"), "2");
        assert_eq!(change("right"), "changed");
        assert_eq!(
            text(
                "SELECT string_agg(coalesce(end_reason, 'open'), ' ' ORDER BY session_id::text) FROM nebula.session"
            ),
            "password open"
        );
        assert_eq!(text("SELECT password_hash FROM nebula.account"), "$argon2id$new");
        assert_error(
            &format!("SELECT nebula.set_own_password('{anna}', 'x', 'plain', NULL)"),
            "22023",
            &["Argon2id"],
        );
    }
}
