use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{assert_error, project, run, text};
    use pgrx::prelude::*;

    fn account(name: &str) -> String {
        text(&format!("SELECT account_id FROM nebula.account WHERE username = '{name}'"))
    }

    /// Administrators anna and zoe, and bob, who owns the project and has an open session.
    fn accounts() -> String {
        let project = project("10.0.0.0/24");
        run(
            "SELECT nebula.create_account(n, '$argon2id$x', CASE n WHEN 'bob' THEN 'member' ELSE 'admin' END)
               FROM unnest('{anna,bob,zoe}'::text[]) n",
        );
        run(&format!("SELECT nebula.add_member('{project}', 'bob', 'owner')"));
        run(&format!("SELECT nebula.open_session('{}', sha256('t'), interval '1 day')", account("bob")));
        project
    }

    #[pg_test]
    fn a_disabled_account_has_no_sessions_and_acts_no_more_until_it_is_enabled() {
        let project = accounts();
        let bob = account("bob");
        run("SELECT nebula.disable_account('bob'), nebula.disable_account('bob')");
        assert_eq!(text("SELECT string_agg(end_reason, ' ') FROM nebula.session"), "disabled");
        let acts = format!("SELECT nebula.require_member('{bob}', '{project}')");
        assert_error(&acts, "28000", &["disabled"]);
        assert_eq!(text("SELECT count(*) FROM nebula.event WHERE action = 'disable'"), "1");
        run("SELECT nebula.enable_account('bob')");
        assert_eq!(text(&acts), "bob");
        assert_eq!(text("SELECT sessions FROM nebula.account_status WHERE username = 'bob'"), "0");
    }

    #[pg_test]
    fn the_last_administrator_keeps_the_role_and_the_account() {
        accounts();
        let anna = account("anna");
        run("SELECT nebula.set_account_role('zoe', 'member')");
        for change in [
            "SELECT nebula.set_account_role('anna', 'member')",
            "SELECT nebula.disable_account('anna')",
            "SELECT nebula.delete_account('anna')",
            &format!("SELECT nebula.delete_account_for('{anna}', '{anna}')"),
        ] {
            assert_error(change, "55000", &["anna", "last administrator"]);
        }
        run("SELECT nebula.set_account_role('zoe', 'admin'), nebula.delete_account('anna')");
        assert_error("SELECT nebula.set_account_role('zoe', 'owner')", "22023", &["owner"]);
        assert_error("SELECT nebula.disable_account('nobody')", "P0002", &["nobody"]);
    }

    #[pg_test]
    fn a_project_keeps_its_last_owner() {
        let project = accounts();
        let bob = account("bob");
        for change in [
            &format!("SELECT nebula.add_member('{project}', 'bob', 'admin')"),
            &format!("SELECT nebula.remove_member('{project}', 'bob')"),
            &format!("SELECT nebula.remove_member_for('{bob}', '{project}', '{bob}')"),
        ] {
            assert_error(change, "55000", &["last owner"]);
        }
        run(&format!("SELECT nebula.set_member_for('{bob}', '{project}', 'zoe', 'owner')"));
        run(&format!("SELECT nebula.remove_member_for('{bob}', '{project}', '{bob}')"));
        assert_eq!(text("SELECT string_agg(role, ' ') FROM nebula.project_member"), "owner");
    }

    #[pg_test]
    fn what_a_deleted_account_owned_stays_with_the_project() {
        let project = accounts();
        run(&format!(
            "INSERT INTO nebula.device (device_id, project_id, owner_id, name, role, curve, public_key)
             VALUES (gen_random_uuid(), '{project}', '{}', 'laptop', 'host', '25519', sha256('k'))",
            account("bob")
        ));
        run(&format!("SELECT nebula.add_member('{project}', 'zoe', 'owner'), nebula.delete_account('bob')"));
        let kept = "SELECT string_agg(name || ' ' || (owner_id IS NULL), ',') FROM nebula.device";
        assert_eq!(text(kept), "laptop true");
        assert_eq!(text("SELECT count(*) FROM nebula.session"), "0");
    }

    #[pg_test]
    fn sessions_are_seen_and_ended_by_their_account_and_by_administrators() {
        accounts();
        let (anna, bob, zoe) = (account("anna"), account("bob"), account("zoe"));
        run("SELECT nebula.set_account_role('zoe', 'member')");
        let session = text("SELECT session_id FROM nebula.session");
        assert_eq!(text(&format!("SELECT session_id FROM nebula.list_sessions('{bob}')")), session);
        assert_eq!(text(&format!("SELECT session_id FROM nebula.list_sessions('{anna}', '{bob}')")), session);
        assert_error(&format!("SELECT nebula.list_sessions('{zoe}', '{bob}')"), "42501", &["zoe"]);
        assert_error(&format!("SELECT nebula.end_session_for('{zoe}', '{session}')"), "P0002", &["session"]);
        assert_eq!(text(&format!("SELECT nebula.end_other_sessions('{bob}', '{session}')")), "0");
        run(&format!("SELECT nebula.end_session_for('{anna}', '{session}')"));
        assert_eq!(text("SELECT end_reason FROM nebula.session"), "ended");
        run(&format!("SELECT nebula.end_session_for('{bob}', '{session}')"));
        assert_eq!(text("SELECT end_reason FROM nebula.session"), "ended");
    }
}
