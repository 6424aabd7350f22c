//! Personal tokens: what makes them, what they allow, and what ends them.

use pgrx::prelude::*;

use super::*;

/// Account "anna", a member, and "root", an operator.
fn set_up() {
    run(
        "SELECT nebula.create_account('anna', '$argon2id$x'), nebula.create_account('root', '$argon2id$x', 'admin')",
    );
}

fn account(name: &str) -> String {
    text(&format!("SELECT account_id FROM nebula.account WHERE username = '{name}'"))
}

/// A call that makes a token; its text is its name.
fn making(owner: &str, name: &str, scopes: &str) -> String {
    format!(
        "SELECT array_to_string(actions, ' ') FROM nebula.create_personal_token(
           '{}', '{name}', sha256('nebula_pat_{name}'), '{{{scopes}}}', interval '1 day', '192.0.2.1')",
        account(owner)
    )
}

/// SQLSTATE of proving an account by a token.
fn proof(name: &str) -> String {
    let [code, message, hint] = attempt(&format!("SELECT nebula.actor('nebula_pat_{name}')"));
    assert!(code == "00000" || !hint.is_empty(), "no hint with {message:?}");
    code
}

fn allows(name: &str, action: &str) -> bool {
    one(&format!("SELECT nebula.token_allows('{}', '{action}')", account(name)))
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn a_token_proves_its_account_until_it_ends_expires_or_the_account_is_disabled() {
        set_up();
        assert_eq!(proof("ci"), "28000");
        run(&making("anna", "ci", "read"));
        let proven = text("SELECT nebula.actor('nebula_pat_ci')");
        assert_eq!(proven, account("anna"));
        for (ends, undo) in [
            ("UPDATE nebula.account SET disabled_at = now()", "UPDATE nebula.account SET disabled_at = NULL"),
            (
                "UPDATE nebula.personal_token SET expires_at = clock_timestamp()",
                "UPDATE nebula.personal_token SET expires_at = now() + interval '1 day'",
            ),
        ] {
            run(ends);
            assert_eq!(proof("ci"), "28000", "{ends}");
            run(undo);
            assert_eq!(proof("ci"), "00000", "{undo}");
        }
        for wrong in ["ci2", "", "' OR true --"] {
            assert_eq!(proof(&wrong.replace('\'', "''")), "28000", "{wrong}");
        }
        run(&format!(
            "SELECT nebula.end_personal_token('{}', (SELECT token_id FROM nebula.personal_token))",
            account("root")
        ));
        assert_eq!(proof("ci"), "28000");
        let events = "SELECT string_agg(actor || ' ' || action, ', ' ORDER BY event_id)
                        FROM nebula.event WHERE action LIKE '%-token'";
        assert_eq!(text(events), "anna create-token, root end-token");
    }

    #[pg_test]
    fn groups_of_scopes_stand_for_actions_that_the_account_could_have() {
        set_up();
        assert_eq!(text(&making("anna", "r", "read")), "file.read project.read");
        let write = text(&making("anna", "w", "write"));
        assert!(write.contains("file.write") && !write.contains("network.write"), "{write}");
        let admin = text(&making("anna", "a", "admin"));
        assert!(admin.contains("member.write") && !admin.contains("account.write"), "{admin}");
        assert!(text(&making("root", "o", "admin")).contains("account.write"));
        assert_eq!(text(&making("anna", "j", "job.write")), "job.write project.read");
        assert_eq!(text(&making("anna", "f", "file.write,file.write")), "file.read file.write project.read");
        assert_error(&making("anna", "x", "everything"), "22023", &["everything"]);
        assert_error(&making("anna", "x", ""), "22023", &["scope"]);
        assert_error(&making("anna", "x", "node.write"), "42501", &["node.write"]);
        assert_error(&making("anna", "r", "read"), "23505", &["\"r\""]);
        assert_error(&making("anna", "a/b", "read"), "22023", &["a/b"]);
        let endless = making("anna", "x", "read").replace("1 day", "0");
        assert_error(&endless, "22023", &["lifetime"]);
    }

    #[pg_test]
    fn a_transaction_with_several_tokens_of_an_account_may_do_what_all_of_them_allow() {
        set_up();
        run(&making("anna", "files", "file.write"));
        run(&making("anna", "jobs", "job.write,file.read"));
        assert!(allows("anna", "job.write"), "nothing was proven");
        assert_eq!(proof("files"), "00000");
        assert!(allows("anna", "file.write") && !allows("anna", "job.write"));
        assert_eq!(proof("jobs"), "00000");
        assert!(!allows("anna", "file.write") && !allows("anna", "job.write") && allows("anna", "file.read"));
        assert!(allows("root", "job.write"), "another account");
    }

    #[pg_test]
    fn an_account_has_a_hundred_tokens_and_those_that_expired_long_ago_make_room() {
        set_up();
        run(&format!(
            "INSERT INTO nebula.personal_token (account_id, token_hash, name, scopes, actions, expires_at)
             SELECT '{}', sha256(n::text::bytea), n::text, '{{read}}', '{{project.read}}', now() - interval '1 day'
               FROM generate_series(1, 100) n",
            account("anna")
        ));
        assert_error(&making("anna", "more", "read"), "53Q00", &["100 personal tokens"]);
        run("UPDATE nebula.personal_token SET expires_at = now() - interval '31 days' WHERE name = '7'");
        run(&making("anna", "more", "read"));
        assert_eq!(text("SELECT nebula.end_personal_tokens('anna')"), "100");
    }

    #[pg_test]
    fn the_use_of_a_token_is_noted_once_in_ten_minutes() {
        set_up();
        run(&making("anna", "ci", "read"));
        let used = |from: &str| {
            text(&format!(
                "SELECT username FROM nebula.use_personal_token('{}', sha256('nebula_pat_ci'), '{from}')",
                account("anna")
            ))
        };
        let noted = || text("SELECT host(last_used_from) FROM nebula.personal_token");
        assert_eq!(used("192.0.2.1"), "anna");
        assert_eq!(noted(), "192.0.2.1");
        assert_eq!(used("192.0.2.2"), "anna");
        assert_eq!(noted(), "192.0.2.1");
        run("UPDATE nebula.personal_token SET last_used_at = last_used_at - interval '11 minutes'");
        assert_eq!(used("192.0.2.2"), "anna");
        assert_eq!(noted(), "192.0.2.2");
    }

    #[pg_test]
    fn tokens_of_others_are_seen_and_ended_by_operators_only() {
        set_up();
        run("SELECT nebula.create_account('ben', '$argon2id$x')");
        run(&making("anna", "ci", "read"));
        let list = |by: &str| {
            format!("SELECT nebula.list_personal_tokens('{}', '{}')", account(by), account("anna"))
        };
        let end = |by: &str| {
            format!(
                "SELECT nebula.end_personal_token('{}', (SELECT token_id FROM nebula.personal_token))",
                account(by)
            )
        };
        assert_error(&list("ben"), "42501", &["ben"]);
        assert_error(&end("ben"), "P0002", &["no personal token"]);
        run(&list("root"));
        run(&end("root"));
        assert_eq!(proof("ci"), "28000");
    }
}
