//! Refresh tokens: of two clients that exchange one, one goes on at most.

use pgrx::prelude::*;

use super::*;

fn session() {
    run("SELECT nebula.create_account('anna', '$argon2id$x')");
    run("SELECT nebula.open_session(account_id, sha256('0'), interval '1 day') FROM nebula.account");
}

/// The outcome of exchanging a token for the next, with a key or NULL.
fn rotate(token: &str, next: &str, key: &str) -> String {
    text(&format!(
        "SELECT outcome FROM nebula.rotate_session(NULL, sha256('{token}'), sha256('{next}'),
                                                   p_retry_hash => sha256({key}::bytea))"
    ))
}

fn end_reason() -> String {
    text("SELECT coalesce(end_reason, 'open') FROM nebula.session")
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn a_client_that_repeats_an_exchange_with_its_key_goes_on() {
        session();
        assert_eq!(rotate("0", "lost", "'key'"), "rotated");
        assert_eq!(rotate("0", "1", "'key'"), "rotated");
        assert_eq!(rotate("1", "2", "'key 2'"), "rotated");
        assert_eq!(end_reason(), "open");
    }

    #[pg_test]
    fn another_client_ends_the_session_also_within_the_grace() {
        for other in ["'other key'", "NULL"] {
            run("DELETE FROM nebula.account");
            session();
            assert_eq!(rotate("0", "1", "'key'"), "rotated");
            assert_eq!(rotate("0", "stolen", other), "reused", "{other}");
            assert_eq!(rotate("1", "2", "'key'"), "ended");
            assert_eq!(end_reason(), "reuse");
        }
    }

    #[pg_test]
    fn clients_without_keys_cannot_both_go_on() {
        session();
        assert_eq!(rotate("0", "one", "NULL"), "rotated");
        assert_eq!(rotate("0", "other", "NULL"), "rotated");
        assert_eq!(rotate("one", "two", "NULL"), "reused", "the first token was withdrawn");
        assert_eq!(rotate("other", "three", "NULL"), "ended");
    }

    #[pg_test]
    fn an_exchange_is_not_repeated_after_its_result_was_used_nor_after_the_grace() {
        session();
        assert_eq!(rotate("0", "1", "'key'"), "rotated");
        assert_eq!(rotate("1", "2", "'key'"), "rotated");
        assert_eq!(rotate("0", "3", "'key'"), "reused");
        run("DELETE FROM nebula.account");
        session();
        assert_eq!(rotate("0", "1", "'key'"), "rotated");
        run("UPDATE nebula.session_token SET replaced_at = replaced_at - interval '11 s'");
        assert_eq!(rotate("0", "2", "'key'"), "reused");
    }

    #[pg_test]
    fn the_reason_of_the_end_is_told() {
        session();
        let reason = |change: &str| {
            run(change);
            text(
                "SELECT outcome || ' ' || end_reason FROM nebula.rotate_session(NULL, sha256('0'), sha256('1'))",
            )
        };
        assert_eq!(reason("SELECT nebula.set_password('anna', '$argon2id$y')"), "ended password");
        assert_eq!(reason("SELECT nebula.disable_account('anna')"), "ended disabled");
    }
}
