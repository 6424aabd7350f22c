//! `allocate_ip` at every fill, with a linked table, in batches; and `release_ip`.

use anyhow::Result;
use nebula_tests::cluster::Database;

use crate::candidate::{DEVICE, NEBULA, PROJECT, hold, nebula};
use crate::harness::{COLUMNS, Harness, has, head};
use crate::load::{Load, Run, pgbench};

/// Number of devices in the linked table and of addresses to release: more than a run uses.
fn devices(harness: &Harness) -> u32 {
    (1 << (32 - harness.settings.prefix)) - 2
}

/// Spreads consecutive numbers like random identifiers. The client computes it, because a digest in the
/// statement costs the server as much as an index look-up, which the floor does not pay.
const SPREAD: &str = "* 2654435761 % 4294967296";

/// Chooses a device that belongs to the session; together the sessions have the numbers from 1 to
/// [`devices`].
fn own_device(harness: &Harness, load: Load) -> String {
    let each = devices(harness) / load.clients;
    format!("\\set n :n + 1\n\\set device (:client_id * {each} + :n) {SPREAD}\n")
}

/// The SQL expression of the device with number n.
fn device_of_n() -> String {
    format!("lpad(to_hex(n::bigint {SPREAD}), 32, '0')::uuid")
}

/// Prints the table.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let title = "Allocation: ratio to the floor of one committed single-row insert (aim 0.80, sync off 0.75)";
    head(title, "sessions", &[]);
    let prefix = harness.settings.prefix;
    for full in [0, 50, 90, 99] {
        print!("| allocate_ip, {full} % full |");
        for load in COLUMNS {
            let before = harness.floor(load)?;
            let rate = NEBULA.measure(harness, load, prefix, full).await?.rate();
            let after = harness.floor(load)?;
            print!(" {:.2} ({rate:.0}/s) |", rate * 2.0 / (before + after));
        }
        println!();
    }
    release(harness).await?;
    let database = harness.cluster.database().await?;
    let client = database.connect().await?;
    if has(&client, "link_device_table").await? {
        linked(harness).await?;
    }
    if has(&client, "allocate_ips").await? {
        batch(harness, &database).await?;
    }
    Ok(())
}

async fn release(harness: &Harness) -> Result<()> {
    print!("| release_ip |");
    for load in COLUMNS {
        let database = harness.cluster.database().await?;
        let client = database.connect().await?;
        client.batch_execute(&nebula(harness.settings.prefix)).await?;
        client.batch_execute(&hold(harness.settings.prefix, 1.1, &device_of_n())).await?;
        client.batch_execute("VACUUM ANALYZE").await?;
        let script = own_device(harness, load) + &NEBULA.release(DEVICE);
        print!(" {} |", harness.beside_floor(load, || timed(harness, &database, &script, load))?);
    }
    println!();
    Ok(())
}

/// Allocation with a linked application table, which is updated in the same transaction (aim 0.65).
async fn linked(harness: &Harness) -> Result<()> {
    print!("| allocate_ip with a linked table |");
    for load in COLUMNS {
        let database = harness.cluster.database().await?;
        let client = database.connect().await?;
        client.batch_execute(&nebula(8)).await?;
        client
            .batch_execute(&format!(
                "CREATE TABLE public.user_devices (id uuid PRIMARY KEY, nebula_ip inet,
                  nebula_last_seen timestamptz)
                   WITH (fillfactor = 80);
                 INSERT INTO public.user_devices SELECT {} FROM generate_series(1, {}) AS n;
                 SELECT nebula.link_device_table('public.user_devices')",
                device_of_n(),
                devices(harness)
            ))
            .await?;
        client.batch_execute("VACUUM ANALYZE").await?;
        let script = own_device(harness, load) + &NEBULA.allocate(DEVICE);
        print!(" {} |", harness.beside_floor(load, || timed(harness, &database, &script, load))?);
    }
    println!();
    Ok(())
}

/// One call for 10 000 devices, compared with INSERT … SELECT into a bare table with two such indexes.
async fn batch(harness: &Harness, database: &Database) -> Result<()> {
    const RANDOM: &str =
        "lpad(to_hex((random() * 9e18)::bigint), 32, '0')::uuid FROM generate_series(1, 10000)";
    let client = database.connect().await?;
    client.batch_execute(&nebula(8)).await?;
    client
        .batch_execute(
            "CREATE TABLE bare (project_id uuid, ip inet, device_id uuid, PRIMARY KEY (project_id, ip));
             CREATE UNIQUE INDEX ON bare (device_id);
             CREATE SEQUENCE address CACHE 10000",
        )
        .await?;
    let ours = format!("SELECT count(*) FROM nebula.allocate_ips('{PROJECT}', ARRAY(SELECT {RANDOM}));");
    let bare =
        format!("INSERT INTO bare SELECT '{PROJECT}', inet '10.0.0.0' + nextval('address'), {RANDOM};");
    let load = Load { clients: 1, durable: true };
    let rate =
        |script: &str| Ok::<_, anyhow::Error>(timed(harness, database, script, load)?.rate() * 10_000.0);
    let (before, ours, after) = (rate(&bare)?, rate(&ours)?, rate(&bare)?);
    println!(
        "\nallocate_ips, 10 000 devices a call: {ours:.0} addresses/s (aim 300 000); \
         INSERT … SELECT into a bare table with two indexes: {before:.0} and {after:.0}"
    );
    Ok(())
}

fn timed(harness: &Harness, database: &Database, script: &str, load: Load) -> Result<Run> {
    pgbench(&harness.cluster, database, script, load, harness.settings.seconds)
}
