//! The check of an access token in the database, and what it adds to a read and to a registration. Functions of the queue
//! take no proof, so it adds nothing to them.

use anyhow::Result;
use nebula_tests::stack::Stack;
use nebula_tests::token::{self, Key};
use serde_json::json;
use uuid::Uuid;

use crate::harness::Harness;
use crate::load::{Load, pgbench};

const LOADS: [Load; 2] = [Load { clients: 1, durable: false }, Load { clients: 8, durable: false }];
/// Runs of each of two that are compared, in turns, so that both have the same weather.
const TURNS: u32 = 3;

/// Prints the tables.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let stack = Stack::start_on(harness.cluster.database().await?, "25519").await?;
    let admin = stack.admin().await?;
    let wanted = json!({"name": "bench", "scopes": ["admin"]});
    let made =
        admin.post("/api/account/tokens").json(&wanted).send().await?.json::<serde_json::Value>().await?;
    let personal = made["data"]["token"].as_str().unwrap_or_default().to_owned();
    let token = admin.tokens.access_token;
    let database = stack.database.connect().await?;
    let account: String =
        database.query_one("SELECT account_id::text FROM nebula.account LIMIT 1", &[]).await?.get(0);
    let device = "SELECT nebula.list_devices";
    let scripts = [
        ("nothing", "SELECT 1;".to_owned()),
        ("nebula.actor(token)", format!("SELECT nebula.actor('{token}');")),
        ("nebula.actor(personal token)", format!("SELECT nebula.actor('{personal}');")),
        ("the same token for the 100th time in a transaction", {
            let once = format!("SELECT nebula.actor('{token}');\n");
            format!("BEGIN;\n{}COMMIT;", once.repeat(100))
        }),
        ("list_devices for an account id", format!("{device}('{account}', '{}');", stack.project)),
        ("list_devices for a token", format!("{device}(nebula.actor('{token}'), '{}');", stack.project)),
    ];
    println!("\n## Proof of the caller: microseconds a transaction, without waiting for the disk\n");
    println!("| | {} | {} |\n|---|---|---|", LOADS[0], LOADS[1]);
    for (name, script) in scripts {
        let mut cells = Vec::new();
        for load in LOADS {
            let run = pgbench(&harness.cluster, &stack.database, &script, load, harness.settings.seconds)?;
            cells.push(format!("{:.1}", f64::from(load.clients) * 1e6 / run.rate()));
        }
        println!("| {name} | {} |", cells.join(" | "));
    }
    registrations(harness, &stack, &token, &account).await
}

/// Registrations with and without proofs, in turns.
async fn registrations(harness: &Harness, stack: &Stack, token: &str, account: &str) -> Result<()> {
    let database = stack.database.connect().await?;
    let project: Uuid =
        database.query_one("SELECT nebula.create_project('proof', '10.0.0.0/8')", &[]).await?.get(0);
    database.execute("SELECT nebula.populate_pool($1, '10.64.0.0/10')", &[&project]).await?;
    let key = Key::of_gateway(&std::fs::read(stack.path("token.key"))?)?;
    let claims = json!({"aud": "nebula-gateway", "sub": Uuid::nil(), "exp": 4_000_000_000_u64});
    let gateway = token::sign(&token::header(token)?, &claims, &key)?;
    let script = |gateway: String, proofs: String| {
        format!(
            "SELECT nebula.register_devices({gateway}, '{project}',
                      ARRAY[ROW(u, '{account}', 'd' || replace(u::text, '-', ''), 'host', '{{}}', '25519',
                                sha256(u::text::bytea), NULL)]::nebula.new_device[], {proofs})
               FROM (SELECT gen_random_uuid() AS u) r;"
        )
    };
    let scripts = [
        script("NULL".to_owned(), "'{}'".to_owned()),
        script(format!("nebula.actor('{gateway}')"), format!("ARRAY['{token}']")),
    ];
    println!("\n## Registrations a second in SQL, without waiting for the disk\n");
    println!("| sessions | without proofs | with proofs of gateway and account | ratio |\n|---|---|---|---|");
    for load in LOADS {
        let mut rates = [0.0; 2];
        for turn in 0..2 * TURNS {
            let which = (turn % 2) as usize;
            let run =
                pgbench(&harness.cluster, &stack.database, &scripts[which], load, harness.settings.seconds)?;
            rates[which] += run.rate() / f64::from(TURNS);
        }
        let ratio = rates[1] / rates[0];
        println!("| {load} | {:.0} | {:.0} | {ratio:.3} |", rates[0], rates[1]);
    }
    Ok(())
}
