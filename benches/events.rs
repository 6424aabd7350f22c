//! The cost that the record of events adds to a write: the same calls with and without it.

use anyhow::Result;
use nebula_tests::stack::Stack;

use crate::harness::Harness;
use crate::load::{Load, pgbench};

const LOADS: [Load; 2] = [Load { clients: 1, durable: false }, Load { clients: 8, durable: false }];

/// Takes the place of the function that writes an event.
const STUB: &str = "CREATE OR REPLACE FUNCTION nebula.append_event(
      p_project_id uuid, p_actor text, p_action text, p_subject text, p_subject_id text, p_client inet, p_detail jsonb
    ) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN 0; END';
    CREATE OR REPLACE FUNCTION nebula.record_events(
      p_project_id uuid, p_actor text, p_action text, p_subject text, p_subject_ids text[],
      p_client inet, p_details jsonb[], p_account_id uuid DEFAULT NULL, p_request_ids text[] DEFAULT NULL
    ) RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
    CREATE OR REPLACE FUNCTION nebula.notify_event(
      p_project_id uuid, p_subject text, p_subject_id text, p_action text, p_event_id bigint DEFAULT NULL
    ) RETURNS void LANGUAGE plpgsql AS 'BEGIN END'";

/// Prints the table.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    println!("\n## The record of events: microseconds a write, without waiting for the disk\n");
    println!("| | clients | without | with | more |\n|---|---|---|---|---|");
    // A database each, so that the rows of one run do not slow down another.
    let mut measured = Vec::new();
    for is_recorded in [true, false] {
        let stack = Stack::start_on(harness.cluster.database().await?, "25519").await?;
        let admin = stack.database.connect().await?;
        let account: String =
            admin.query_one("SELECT account_id::text FROM nebula.account LIMIT 1", &[]).await?.get(0);
        let project: String =
            admin.query_one("SELECT nebula.create_project('bench', '10.64.0.0/10')::text", &[]).await?.get(0);
        if !is_recorded {
            admin.batch_execute(STUB).await?;
        }
        let scripts = [
            (
                "a device registers",
                format!(
                "SELECT nebula.register_devices(NULL, '{project}', ARRAY[ROW(gen_random_uuid(), '{account}',
                   'd' || replace(gen_random_uuid()::text, '-', ''), 'host', '{{}}', '25519',
                   sha256(uuid_send(gen_random_uuid())), NULL, NULL)]::nebula.new_device[]);"
            ),
            ),
            (
                "a job is made and cancelled",
                format!(
                    "SELECT nebula.cancel_job_for('{account}', nebula.enqueue_job('bench', '{{}}', project_id => '{project}'));"
                ),
            ),
        ];
        for (name, script) in scripts {
            for load in LOADS {
                let script = script.replace('\n', " ");
                let run =
                    pgbench(&harness.cluster, &stack.database, &script, load, harness.settings.seconds)?;
                measured.push((name, load.clients, f64::from(load.clients) * 1e6 / run.rate()));
            }
        }
    }
    let (with, without) = measured.split_at(measured.len() / 2);
    for ((name, clients, with), (_, _, without)) in with.iter().zip(without) {
        let more = (with / without - 1.0) * 100.0;
        println!("| {name} | {clients} | {without:.0} | {with:.0} | {more:.0} % |");
    }
    Ok(())
}
