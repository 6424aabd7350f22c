//! The login of the gateway alone is worth nothing: without a token that the database has checked, each function that it
//! may execute refuses the call and changes nothing.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use nebula_tests::stack::{ADMIN, Stack};
use nebula_tests::token::{self, Key};
use serde_json::json;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// Functions whose first parameter is no proof, and why they need none.
const MAKE_PROOF: [(&str, &str); 3] = [
    ("actor", "its argument is the token, which is signed"),
    ("is_proven", "says whether there is a proof, and refuses without one"),
    ("is_gateway", "says whether there is a proof, and refuses without one"),
];

/// A function that the gateway may execute, with the types of its arguments.
struct Granted {
    name: String,
    arguments: Vec<String>,
}

async fn granted(admin: &Client) -> Result<Vec<Granted>> {
    let sql = "SELECT p.proname::text, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a(t, n)
                                     ORDER BY n)
                 FROM pg_proc p
                WHERE p.pronamespace = 'nebula'::regnamespace
                  AND has_function_privilege('nebula_gateway', p.oid, 'EXECUTE')
                ORDER BY 1";
    let rows = admin.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| Granted { name: row.get(0), arguments: row.get(1) }).collect())
}

/// Every row of every table of the extension, as a hash by table.
async fn contents(admin: &Client) -> Result<BTreeMap<String, String>> {
    let tables = "SELECT c.oid::regclass::text FROM pg_class c
                   WHERE c.relnamespace = 'nebula'::regnamespace AND c.relkind = 'r'";
    let mut contents = BTreeMap::new();
    for row in admin.query(tables, &[]).await? {
        let table: String = row.get(0);
        let sql =
            format!("SELECT coalesce(md5(string_agg(t::text, ' ' ORDER BY t::text)), '') FROM {table} t");
        contents.insert(table, admin.query_one(&sql, &[]).await?.get(0));
    }
    Ok(contents)
}

/// A plausible value of a type, as SQL.
fn value(argument: &str, id: Uuid) -> String {
    match argument {
        "uuid" => format!("'{id}'"),
        "uuid[]" => format!("ARRAY['{id}'::uuid]"),
        "text" => "'story'".to_owned(),
        "bytea" => "sha256('story')".to_owned(),
        "jsonb" => "'{}'".to_owned(),
        "boolean" => "true".to_owned(),
        "inet" => "'10.99.0.7'".to_owned(),
        "interval" => "interval '1 hour'".to_owned(),
        "timestamp with time zone" => "clock_timestamp()".to_owned(),
        number @ ("bigint" | "integer" | "smallint" | "double precision" | "real") => format!("1::{number}"),
        array if array.ends_with("[]") => format!("'{{}}'::{array}"),
        other => format!("NULL::{other}"),
    }
}

async fn code(client: &Client, sql: &str) -> Result<Option<SqlState>> {
    match client.query(sql, &[]).await {
        Ok(_) => Ok(None),
        Err(error) => {
            let error =
                error.as_db_error().with_context(|| format!("{sql}: not an error of the database"))?;
            Ok(Some(error.code().clone()))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_gateways_login_reads_nothing_and_changes_nothing() -> Result<()> {
    let mut stack = Stack::start().await?;
    let api = stack.admin().await?;
    api.upload(stack.project, "a.txt", b"text".to_vec()).await?.error_for_status()?;
    stack.stop_gateway()?;
    let admin = stack.database.connect().await?;
    admin.batch_execute("SELECT nebula.make_node_secret(nebula.register_node('n', 'n.test:1'))").await?;
    let ids = admin
        .query_one(
            "SELECT (SELECT account_id FROM nebula.account WHERE username = $1), p.project_id, f.file_id, n.node_id
               FROM nebula.project p, nebula.file f, nebula.node n LIMIT 1",
            &[&ADMIN],
        )
        .await?;
    let account: Uuid = ids.get(0);
    let ids: Vec<Uuid> = (0..4).map(|column| ids.get(column)).collect();

    let functions = granted(&admin).await?;
    assert!(functions.len() > 100, "the query finds them");
    let before = contents(&admin).await?;
    let gateway = stack.database.connect_as("nebula_gateway").await?;
    for Granted { name, arguments } in &functions {
        if MAKE_PROOF.iter().any(|(exempt, _)| exempt == name) {
            continue;
        }
        let (first, others) =
            arguments.split_first().map_or(("", &[][..]), |(first, others)| (first, others));
        assert!(
            ["nebula.proven_account", "nebula.proven_gateway"].contains(&first),
            "{name}: the first parameter is {first:?}, no proof of the caller"
        );
        for actor in
            [format!("'{account}'"), format!("'{}'", Uuid::nil()), "NULL".into(), "nebula.actor(NULL)".into()]
        {
            for id in &ids {
                let others: Vec<_> = others.iter().map(|argument| value(argument, *id)).collect();
                let values = [vec![actor.clone()], others].concat().join(", ");
                let sql = format!("SELECT * FROM nebula.{name}({values})");
                assert_eq!(
                    code(&gateway, &sql).await?,
                    Some(SqlState::INVALID_AUTHORIZATION_SPECIFICATION),
                    "{sql}"
                );
            }
        }
    }
    // Nor by the other ways in which a role comes by values of a type.
    for sql in [
        format!("SELECT '{account}'::nebula.proven_account"),
        "CREATE TEMP TABLE proof (account nebula.proven_account DEFAULT gen_random_uuid()); INSERT INTO proof DEFAULT VALUES".into(),
        format!("SELECT x FROM jsonb_to_record('{{\"x\": \"{account}\"}}') AS r(x nebula.proven_account)"),
        format!("PREPARE p(nebula.proven_account) AS SELECT nebula.list_projects($1); EXECUTE p('{account}')"),
    ] {
        let error = gateway.batch_execute(&sql).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION), "{sql}: {error}");
    }
    assert_eq!(contents(&admin).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_account_may_and_ends_with_its_session_and_key() -> Result<()> {
    let stack = Stack::start().await?;
    let member = stack.member("anna").await?;
    let admin = stack.database.connect().await?;
    let other: Uuid = admin.query_one("SELECT nebula.create_project('other')", &[]).await?.get(0);
    let gateway = stack.database.connect_as("nebula_gateway").await?;
    let token = &member.tokens.access_token;
    let seen = "SELECT project_id FROM nebula.list_projects(nebula.actor($1))";
    let found = gateway.query(seen, &[&token]).await?;
    assert_eq!(found.iter().map(|row| row.get(0)).collect::<Vec<Uuid>>(), [stack.project]);
    let joined = "SELECT nebula.require_member(nebula.actor($1), $2)";
    let error = gateway.query(joined, &[&token, &other]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));

    let refused = async |token: &str, why: &str| -> Result<()> {
        let error = gateway.query(seen, &[&token]).await.unwrap_err();
        let setup = why == "key retired";
        let wanted =
            if setup { SqlState::CONFIG_FILE_ERROR } else { SqlState::INVALID_AUTHORIZATION_SPECIFICATION };
        assert_eq!(error.code(), Some(&wanted), "{why}: {error}");
        // An attempt leaves no proof behind.
        let after = gateway
            .query("SELECT nebula.list_projects($1::text::uuid)", &[&token::claims(token)?["sub"].as_str()])
            .await;
        assert!(after.is_err(), "{why}");
        Ok(())
    };
    let (header, claims) = (token::header(token)?, token::claims(token)?);
    let key = Key::of_gateway(&std::fs::read(stack.path("token.key"))?)?;
    refused(&token::sign(&header, &claims, &Key::of_gateway(&[b'x'; 48])?)?, "another key").await?;
    let mut expired = claims.clone();
    expired["exp"] = json!(1_700_000_000);
    refused(&token::sign(&header, &expired, &key)?, "expired").await?;
    let mut of_admin = claims.clone();
    of_admin["sub"] = json!(
        admin
            .query_one("SELECT account_id::text FROM nebula.account WHERE username = $1", &[&ADMIN])
            .await?
            .get::<_, String>(0)
    );
    refused(&token::sign(&header, &of_admin, &key)?, "another account's session").await?;

    member
        .post("/api/auth/logout")
        .json(&json!({"refreshToken": member.tokens.refresh_token}))
        .send()
        .await?
        .error_for_status()?;
    refused(token, "session ended").await?;

    let again = stack.admin().await?.tokens.access_token;
    gateway.query(seen, &[&again]).await?;
    admin.batch_execute("SELECT nebula.retire_token_key(key_id) FROM nebula.token_key").await?;
    refused(&again, "key retired").await
}
