//! Invitations are good once, for what the inviter may give, and as long as the inviter may.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{assert_error, project, run, text};
    use pgrx::prelude::*;

    fn account(name: &str) -> String {
        text(&format!("SELECT account_id FROM nebula.account WHERE username = '{name}'"))
    }

    /// Operator olga; of the project: anna, its administrator, and bob, its owner.
    fn people() -> String {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.create_account(n, '$argon2id$x', CASE n WHEN 'olga' THEN 'admin' ELSE 'member' END)
               FROM unnest('{olga,anna,bob}'::text[]) n");
        run(&format!(
            "SELECT nebula.add_member('{project}', 'anna', 'admin'), nebula.add_member('{project}', 'bob', 'owner')"
        ));
        project
    }

    /// The SHA-256 of the code of a new invitation, as SQL.
    fn invited(inviter: &str, project: &str, role: &str) -> String {
        let code = text(&format!(
            "SELECT code FROM nebula.invite_for('{}', {project}, '{role}', NULL, 'for eve')",
            account(inviter)
        ));
        format!("sha256('{}')", code.replace('-', ""))
    }

    fn accept(hash: &str, name: &str) -> String {
        format!("SELECT nebula.accept_invitation(NULL, {hash}, '{name}', '$argon2id$new')")
    }

    #[pg_test]
    fn a_code_makes_one_account_with_the_role_that_it_was_made_for() {
        let project = people();
        let code = text(&format!("SELECT code FROM nebula.invite('{project}', 'viewer')"));
        assert_eq!(code.len(), 29, "{code}");
        let stored = "SELECT count(*) FROM nebula.invitation i WHERE i::text LIKE '%' || $$CODE$$ || '%'";
        assert_eq!(text(&stored.replace("CODE", &code.replace('-', ""))), "0");
        let hash = format!("sha256('{}')", code.replace('-', ""));
        let shown =
            format!("SELECT format('%s %s', project, role) FROM nebula.find_invitation(NULL, {hash})");
        assert_eq!(text(&shown), "proof viewer");
        let eve = text(&accept(&hash, "eve"));
        assert_eq!(account("eve"), eve);
        assert_eq!(text(&format!("SELECT nebula.role_in('{eve}', '{project}')")), "viewer");
        assert_error(&accept(&hash, "mallory"), "P0002", &["invitation"]);
        assert_error(&shown, "P0002", &["invitation"]);
    }

    #[pg_test]
    fn nobody_invites_above_what_they_may_give() {
        let project = format!("'{}'", people());
        let invite = |who: &str, project: &str, role: &str| {
            format!("SELECT nebula.invite_for('{}', {project}, '{role}', NULL, NULL)", account(who))
        };
        for role in ["viewer", "member"] {
            run(&invite("anna", &project, role));
        }
        for role in ["admin", "owner"] {
            assert_error(&invite("anna", &project, role), "42501", &["anna", "member.write"]);
            run(&invite("bob", &project, role));
        }
        assert_error(&invite("bob", "NULL", "member"), "42501", &["bob"]);
        run(&invite("olga", "NULL", "admin"));
        assert_error(&invite("olga", "NULL", "owner"), "22023", &["owner"]);
        assert_error("SELECT nebula.invite(lifetime => '31 days')", "22023", &["31 days"]);
    }

    #[pg_test]
    fn an_invitation_ends_with_the_right_of_the_inviter() {
        let project = people();
        let of_anna = invited("anna", &format!("'{project}'"), "member");
        run(&format!("SELECT nebula.add_member('{project}', 'anna', 'member')"));
        assert_error(&accept(&of_anna, "eve"), "P0002", &["invitation"]);
        run(&format!("SELECT nebula.add_member('{project}', 'anna', 'admin')"));
        run("SELECT nebula.disable_account('anna')");
        assert_error(&accept(&of_anna, "eve"), "P0002", &["invitation"]);
        run("SELECT nebula.enable_account('anna')");
        run(&accept(&of_anna, "eve"));
        let expired = invited("bob", &format!("'{project}'"), "member");
        run("UPDATE nebula.invitation SET expires_at = now() WHERE accepted_at IS NULL");
        assert_error(&accept(&expired, "mallory"), "P0002", &["expired"]);
    }

    #[pg_test]
    fn invitations_are_taken_back_by_those_who_may_invite_and_seen_by_nobody_else() {
        let project = people();
        let hash = invited("bob", &format!("'{project}'"), "member");
        let id = text("SELECT invitation_id FROM nebula.invitation");
        run("SELECT nebula.create_account('eve', '$argon2id$x')");
        let revoke = |who: &str| format!("SELECT nebula.revoke_invitation_for('{}', '{id}')", account(who));
        assert_error(&revoke("eve"), "P0002", &["invitation"]);
        let list =
            |who: &str| format!("SELECT * FROM nebula.list_invitations('{}', '{project}')", account(who));
        assert_error(&list("eve"), "42501", &["eve"]);
        run(&revoke("anna"));
        run(&revoke("anna"));
        assert_eq!(text(&format!("SELECT state FROM ({}) l", list("bob"))), "revoked");
        assert_error(&accept(&hash, "mallory"), "P0002", &["invitation"]);
    }

    #[pg_test]
    fn an_account_joins_with_an_invitation_and_is_never_put_down_by_one() {
        let project = people();
        run("SELECT nebula.create_account('eve', '$argon2id$x')");
        let join =
            |who: &str, hash: &str| format!("SELECT nebula.join_by_invitation('{}', {hash})", account(who));
        let hash = invited("bob", &format!("'{project}'"), "member");
        assert_error(&join("bob", &hash), "23505", &["bob", "owner"]);
        assert_eq!(text(&join("eve", &hash)), project);
        assert_eq!(text(&format!("SELECT nebula.role_in('{}', '{project}')", account("eve"))), "member");
        let hash = invited("olga", "NULL", "admin");
        assert_error(&join("eve", &hash), "55000", &["new account"]);
        assert_error(&accept(&hash, "bob"), "23505", &["bob"]);
        assert_error(&accept(&hash, "gateway"), "23505", &["gateway"]);
        run(&accept(&hash, "zoe"));
        assert_eq!(text(&format!("SELECT nebula.role_in('{}', '{project}')", account("zoe"))), "operator");
    }

    #[pg_test]
    fn the_first_run_is_over_when_somebody_has_signed_in() {
        run("SELECT nebula.create_account('admin', '$argon2id$x', 'admin')");
        let first = text("SELECT nebula.first_run()");
        let second = text("SELECT nebula.first_run()");
        let hash = |code: &str| format!("sha256('{}')", code.replace('-', ""));
        assert_error(&accept(&hash(&first), "olga"), "P0002", &["invitation"]);
        run(&accept(&hash(&second), "olga"));
        assert_eq!(text("SELECT role FROM nebula.account WHERE username = 'olga'"), "admin");
        assert_eq!(text("SELECT coalesce(nebula.first_run(), 'over')"), "over");
    }
}
