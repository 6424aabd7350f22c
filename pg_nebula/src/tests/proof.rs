//! Proof of the caller: tokens that nebula.actor accepts, and what cannot be called without one.

use nebula_core::access_token::sign;
use pgrx::prelude::*;

use super::*;

pub(super) const SECRET: [u8; 32] = [7; 32];
const OTHER_SECRET: [u8; 32] = [8; 32];

/// A gateway's login, a key, and an account with a session and a share.
pub(super) struct Setting {
    pub(super) account: String,
    session: String,
    share: String,
}

pub(super) fn set_up() -> Setting {
    run("CREATE ROLE proof_gateway;
         GRANT USAGE ON SCHEMA nebula TO proof_gateway;
         GRANT EXECUTE ON FUNCTION nebula.actor(text), nebula.is_proven(uuid), nebula.is_gateway(uuid),
                                   nebula.list_projects(nebula.proven_account),
                                   nebula.node_counts(nebula.proven_gateway) TO proof_gateway");
    add_key(SECRET);
    let account = text("SELECT nebula.create_account('anna', '$argon2id$', 'admin')");
    let session = text(&format!(
        "INSERT INTO nebula.session (account_id, expires_at) VALUES ('{account}', now() + interval '1 h') RETURNING session_id"
    ));
    let project = text("SELECT nebula.create_project('proof')");
    let share = text(&format!(
        "INSERT INTO nebula.share (token_hash, project_id, made_by) VALUES (sha256('s'), '{project}', '{account}')
         RETURNING share_id"
    ));
    Setting { account, session, share }
}

fn text(sql: &str) -> String {
    if sql.starts_with("INSERT") {
        return one::<pgrx::Uuid>(sql).to_string();
    }
    super::text(sql)
}

fn add_key(secret: [u8; 32]) -> String {
    let key: String = sign::public_key(secret).iter().map(|byte| format!("{byte:02x}")).collect();
    text(&format!("SELECT nebula.add_token_key('\\x{key}')"))
}

fn key_id(secret: [u8; 32]) -> String {
    let key: String = sign::public_key(secret).iter().map(|byte| format!("{byte:02x}")).collect();
    text(&format!("SELECT encode(substr(sha256('\\x{key}'::bytea), 1, 16), 'hex')::uuid"))
}

/// A token with these claims that ends in `seconds`.
fn token(secret: [u8; 32], audience: &str, account: &str, grant: &str, seconds: i64) -> String {
    let header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{}"}}"#, key_id(secret));
    let now: i64 = one("SELECT extract(epoch FROM clock_timestamp())::bigint");
    let end = now + seconds;
    let claims = format!(r#"{{"aud":"{audience}","sub":"{account}",{grant}"exp":{end}}}"#);
    sign::token(secret, &header, &claims)
}

impl Setting {
    pub(super) fn of_session(&self) -> String {
        token(SECRET, "nebula", &self.account, &format!(r#""session":"{}","#, self.session), 60)
    }

    fn of_share(&self) -> String {
        token(SECRET, "nebula", &self.account, &format!(r#""share":"{}","#, self.share), 60)
    }
}

pub(super) fn of_gateway() -> String {
    token(SECRET, "nebula-gateway", "00000000-0000-0000-0000-000000000000", "", 60)
}

/// SQLSTATE of a statement by the login of a gateway.
fn by_gateway(sql: &str) -> String {
    let [code, message, hint] = attempt(&format!(
        "SET LOCAL SESSION AUTHORIZATION proof_gateway; {sql}; RESET SESSION AUTHORIZATION"
    ));
    assert!(code == "00000" || !hint.is_empty(), "{sql}: no hint with \"{message}\"");
    code
}

fn projects(actor: &str) -> String {
    by_gateway(&format!("SELECT FROM nebula.list_projects({actor})"))
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn the_login_of_a_gateway_acts_for_nobody_without_a_token() {
        let set = set_up();
        assert_eq!(projects(&format!("'{}'", set.account)), "28000");
        assert_eq!(projects("NULL"), "28000");
        assert_eq!(projects("'00000000-0000-0000-0000-000000000000'"), "28000");
        assert_eq!(by_gateway("SELECT nebula.node_counts(NULL)"), "28000");
        assert_eq!(by_gateway("SELECT nebula.node_counts('00000000-0000-0000-0000-000000000000')"), "28000");
        assert_eq!(by_gateway("SELECT nebula.actor(NULL)"), "00000");
        assert_eq!(by_gateway("SELECT nebula.node_counts(nebula.actor(NULL))"), "28000");
    }

    #[pg_test]
    fn a_token_proves_its_account_until_the_transaction_ends_and_no_other() {
        let set = set_up();
        let other = text("SELECT nebula.create_account('ben', '$argon2id$', 'admin')");
        assert_eq!(projects(&format!("nebula.actor('{}')", set.of_session())), "00000");
        assert_eq!(projects(&format!("'{}'", set.account)), "00000");
        assert_eq!(projects(&format!("'{other}'")), "28000");
        assert_eq!(by_gateway("SELECT nebula.node_counts(nebula.actor(NULL))"), "28000");
        let by_account = format!("SELECT nebula.node_counts(nebula.actor('{}'))", set.of_session());
        assert_eq!(by_gateway(&by_account), "28000");
    }

    #[pg_test]
    fn a_gateway_proves_that_it_is_one_and_acts_for_nobody_by_that() {
        let set = set_up();
        let proof = of_gateway();
        assert_eq!(by_gateway(&format!("SELECT nebula.node_counts(nebula.actor('{proof}'))")), "00000");
        assert_eq!(projects(&format!("nebula.actor('{proof}')")), "28000");
        assert_eq!(projects(&format!("'{}'", set.account)), "28000");
    }

    #[pg_test]
    fn forged_expired_and_foreign_tokens_prove_nothing() {
        let set = set_up();
        let grant = format!(r#""session":"{}","#, set.session);
        let good = set.of_session();
        let (signed, signature) = good.rsplit_once('.').expect("a token has parts");
        let other = of_gateway();
        let foreign_signature = other.rsplit_once('.').expect("a token has parts").1;
        assert_ne!(signature, foreign_signature);
        for bad in [
            String::new(),
            "x.y.z".to_owned(),
            format!("{signed}.{foreign_signature}"),
            token(SECRET, "nebula", &set.account, &grant, -1),
            token(SECRET, "nebula-link", &set.account, &grant, 60),
            token(SECRET, "nebula", &set.account, "", 60),
        ] {
            assert_eq!(projects(&format!("nebula.actor('{bad}')")), "28000", "{bad}");
            assert_eq!(projects(&format!("'{}'", set.account)), "28000", "{bad}");
        }
        let foreign = token(OTHER_SECRET, "nebula", &set.account, &grant, 60);
        assert_eq!(projects(&format!("nebula.actor('{foreign}')")), "F0000");
        assert_eq!(projects(&format!("'{}'", set.account)), "28000");
        assert_eq!(projects(&format!("nebula.actor('{good}')")), "00000");
    }

    #[pg_test]
    fn a_retired_key_ends_the_tokens_that_it_signed_also_those_that_were_checked_before() {
        let set = set_up();
        let token = set.of_session();
        assert_eq!(projects(&format!("nebula.actor('{token}')")), "00000");
        // Both are in force while one replaces the other.
        add_key(OTHER_SECRET);
        assert_eq!(projects(&format!("nebula.actor('{token}')")), "00000");
        run(&format!("SELECT nebula.retire_token_key('{}')", key_id(SECRET)));
        assert_eq!(projects(&format!("nebula.actor('{token}')")), "F0000");
        let key: String = sign::public_key(SECRET).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_error(&format!("SELECT nebula.add_token_key('\\x{key}')"), "55000", &["was retired"]);
        assert_error("SELECT nebula.add_token_key('\\x00')", "22023", &["32 bytes"]);
        assert_error("SELECT nebula.retire_token_key(gen_random_uuid())", "P0002", &["no token key"]);
    }

    #[pg_test]
    fn a_token_ends_with_its_session_its_share_and_its_account() {
        let set = set_up();
        let ends = |token: &str, statement: &str, undo: &str| {
            let call = format!("nebula.actor('{token}')");
            assert_eq!(projects(&call), "00000", "{statement}");
            run(statement);
            assert_eq!(projects(&call), "28000", "{statement}");
            run(undo);
            assert_eq!(projects(&call), "00000", "{undo}");
        };
        ends(
            &set.of_session(),
            "UPDATE nebula.session SET ended_at = now(), end_reason = 'logout'",
            "UPDATE nebula.session SET ended_at = NULL, end_reason = NULL",
        );
        ends(
            &set.of_session(),
            "UPDATE nebula.session SET expires_at = clock_timestamp()",
            "UPDATE nebula.session SET expires_at = now() + interval '1 h'",
        );
        ends(
            &set.of_share(),
            "UPDATE nebula.share SET revoked_at = now()",
            "UPDATE nebula.share SET revoked_at = NULL",
        );
        for token in [set.of_session(), set.of_share()] {
            ends(
                &token,
                "UPDATE nebula.account SET disabled_at = now()",
                "UPDATE nebula.account SET disabled_at = NULL",
            );
        }
        let other = text("SELECT nebula.create_account('ben', '$argon2id$', 'admin')");
        let grant = format!(r#""session":"{}","#, set.session);
        let of_other = token(SECRET, "nebula", &other, &grant, 60);
        assert_eq!(projects(&format!("nebula.actor('{of_other}')")), "28000");
    }

    #[pg_test]
    fn sessions_of_the_owner_need_no_proof() {
        let set = set_up();
        run(&format!("SELECT nebula.list_projects('{}')", set.account));
        run("SELECT nebula.node_counts(NULL)");
    }
}
