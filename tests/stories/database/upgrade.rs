//! ALTER EXTENSION pg_nebula UPDATE with data in place, from every earlier release.
//!
//! Afterwards the catalog must equal that of a fresh CREATE EXTENSION. A difference is printed line by line;
//! it is fixed by a statement in `sql/upgrade/`.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use nebula_tests::cluster::{Cluster, PRELOAD};
use nebula_tests::invariants;
use nebula_tests::sql::error_of;
use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// Every catalog entry of the extension, one a line, without the order of columns.
const CATALOG: &str = "
    WITH member AS (
      SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
       WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'pg_nebula'
    ), relation AS (
      SELECT c.* FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    ), of_relation AS (
      -- Triggers, indexes and constraints of the tables, which are not members themselves.
      SELECT 'pg_trigger'::regclass AS classid, t.oid AS objid FROM pg_trigger t
       JOIN relation r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
      UNION ALL SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i
       JOIN relation r ON r.oid = i.indrelid
      UNION ALL SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k
       JOIN relation r ON r.oid = k.conrelid
    )
    SELECT 'member: ' || pg_describe_object(m.classid, m.objid, 0) AS line FROM member m
    UNION ALL
    SELECT 'other object in the schema: ' || p.oid::regprocedure FROM pg_proc p
     WHERE p.pronamespace = 'nebula'::regnamespace AND NOT EXISTS (SELECT FROM member m
      WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
    UNION ALL
    SELECT format('relation: %s kind %s persistence %s options %s security %s %s', r.oid::regclass,
     r.relkind, r.relpersistence, r.reloptions,
                  r.relrowsecurity, r.relforcerowsecurity) FROM relation r
    UNION ALL
    SELECT format('column: %s.%s %s%s%s default %s identity %s generated %s', r.oid::regclass, a.attname,
     format_type(a.atttypid, a.atttypmod),
                  CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
                  (SELECT ' collate ' || l.collname FROM pg_collation l WHERE l.oid = a.attcollation
                   AND l.collname <> 'default'),
                  pg_get_expr(f.adbin, f.adrelid), a.attidentity, a.attgenerated)
      FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid LEFT JOIN pg_attrdef f ON f.adrelid = r.oid
       AND f.adnum = a.attnum
     WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind <> 'S'
    UNION ALL
    SELECT format('type: %s (%s)', t.oid::regtype,
                  string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                             ORDER BY a.attnum))
      FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
      JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c' JOIN pg_attribute a ON a.attrelid = c.oid
     GROUP BY t.oid
    UNION ALL
    SELECT format('constraint: %s of %s: %s%s', k.conname, r.oid::regclass,
     pg_get_constraintdef(k.oid), CASE WHEN NOT k.convalidated THEN ' not valid' END)
      FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
    UNION ALL
    SELECT 'index: ' || pg_get_indexdef(i.indexrelid) FROM relation r JOIN pg_index i ON i.indrelid = r.oid
    UNION ALL
    SELECT format('trigger: %s enabled %s', pg_get_triggerdef(t.oid), t.tgenabled) FROM relation r
     JOIN pg_trigger t ON t.tgrelid = r.oid
     WHERE NOT t.tgisinternal
    UNION ALL
    SELECT format('rule: %s of %s', w.rulename, r.oid::regclass) FROM relation r
     JOIN pg_rewrite w ON w.ev_class = r.oid
    UNION ALL
    SELECT format('policy: %s of %s', p.polname, r.oid::regclass) FROM relation r
     JOIN pg_policy p ON p.polrelid = r.oid
    UNION ALL
    SELECT format('view: %s: %s', r.oid::regclass, pg_get_viewdef(r.oid)) FROM relation r
     WHERE r.relkind IN ('v', 'm')
    UNION ALL
    SELECT format('event trigger: %s on %s %s enabled %s calls %s', t.evtname, t.evtevent, t.evttags,
                  t.evtenabled, t.evtfoid::regproc) FROM pg_event_trigger t
    UNION ALL
    SELECT format('sequence: %s type %s start %s increment %s from %s to %s cache %s cycle %s',
     r.oid::regclass, s.seqtypid::regtype, s.seqstart,
                  s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle) FROM relation r
                   JOIN pg_sequence s ON s.seqrelid = r.oid
    UNION ALL
    SELECT 'function: ' || pg_get_functiondef(p.oid) FROM pg_proc p
     JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
    UNION ALL
    SELECT format('comment: %s: %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
     FROM pg_description d
     WHERE (d.classoid, d.objoid) IN (SELECT classid, objid FROM member UNION ALL SELECT classid, objid
      FROM of_relation)
    UNION ALL
    SELECT format('dumped: %s %s', t.table_oid::regclass, t.condition)
     FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS t(table_oid, condition)
     WHERE e.extname = 'pg_nebula'
    UNION ALL
    SELECT format('privilege: %s %s on %s', coalesce(nullif(x.grantee, 0)::regrole::text, 'PUBLIC'),
     x.privilege_type, x.object) FROM (
      SELECT pg_describe_object('pg_class'::regclass, r.oid, 0) AS object, a.grantee, a.privilege_type
       FROM relation r, aclexplode(r.relacl) a
      UNION ALL
      SELECT p.oid::regprocedure::text, a.grantee, a.privilege_type
        FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         WHERE p.pronamespace = 'nebula'::regnamespace
      UNION ALL
      SELECT n.nspname, a.grantee, a.privilege_type FROM pg_namespace n, aclexplode(n.nspacl) a
       WHERE n.nspname = 'nebula'
    ) x
    UNION ALL
    SELECT format('extension: version %s, schema %s, relocatable %s', extversion,
     extnamespace::regnamespace, extrelocatable) FROM pg_extension
     WHERE extname = 'pg_nebula'";

async fn catalog(client: &Client) -> Result<BTreeSet<String>> {
    let rows = client.query(CATALOG, &[]).await?;
    let lines: BTreeSet<String> = rows.iter().filter_map(|row| row.get(0)).collect();
    ensure!(lines.len() > 500, "the query finds what is there: {}", lines.len());
    Ok(lines)
}

/// Every row of every table, with the table's name.
async fn contents(client: &Client) -> Result<Vec<(String, Value)>> {
    // The rows of a partition belong to its table.
    let tables = "SELECT format('%I.%I', t.schemaname, t.tablename) FROM pg_tables t
                   WHERE t.schemaname = 'nebula'
                     AND NOT (SELECT c.relispartition FROM pg_class c
                               WHERE c.oid = format('%I.%I', t.schemaname, t.tablename)::regclass)
                   ORDER BY 1";
    let mut all = Vec::new();
    for table in client.query(tables, &[]).await? {
        let table: String = table.get(0);
        let rows = client.query(&format!("SELECT to_jsonb(t) FROM {table} t"), &[]).await?;
        all.extend(rows.iter().map(|row| (table.clone(), row.get(0))));
    }
    Ok(all)
}

/// Whether a row has every value of an earlier one in the columns they share; the comparison of catalogs
/// covers the columns.
fn contains(row: &Value, earlier: &Value) -> bool {
    earlier.as_object().is_some_and(|earlier| {
        earlier.iter().all(|(column, value)| row.get(column).is_none_or(|now| now == value))
    })
}

/// Rows in every table. Inserted by plain SQL, because functions of the old release may be missing in the
/// library.
const DATA: &str = "
    INSERT INTO nebula.account (account_id, username, password_hash)
    VALUES ('00000000-0000-4000-8000-00000000000a', 'anna',
     '$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA');
    INSERT INTO nebula.project (project_id, name, cidr) VALUES
      ('00000000-0000-4000-8000-000000000001', 'home', '10.7.0.0/16'),
      ('00000000-0000-4000-8000-000000000002', 'work', NULL);
    INSERT INTO nebula.project_member (project_id, account_id)
    VALUES ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a');
    INSERT INTO nebula.pool (project_id, name, cidr, gateway) VALUES
      ('00000000-0000-4000-8000-000000000001', 'default', '10.7.0.0/24', '10.7.0.1'),
      ('00000000-0000-4000-8000-000000000002', 'default', 'fd00::/64', NULL);
    INSERT INTO nebula.device (device_id, project_id, owner_id, name, curve, public_key)
    SELECT ('00000000-0000-4000-8000-0000000001' || n)::uuid, '00000000-0000-4000-8000-000000000001',
           '00000000-0000-4000-8000-00000000000a', 'device' || n, '25519', sha256(('device' || n)::bytea)
      FROM generate_series(10, 29) n;
    INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by, lease_until)
    SELECT d.project_id, 1, '10.7.0.0'::inet + substr(d.name, 7)::integer, d.device_id, 'anna',
           CASE WHEN d.name = 'device28' THEN now() + interval '1 day' END FROM nebula.device d;
    INSERT INTO nebula.certificate (fingerprint, project_id, device_id, version, curve, networks, groups,
     public_key, issuer,
                                    not_before, not_after, pem)
    SELECT sha256(d.name::bytea), d.project_id, d.device_id, 1, '25519', ARRAY['10.7.0.11/24'::inet], '{}',
     d.public_key,
           sha256(''), now() - interval '1 hour', now() + interval '1 day', '' FROM nebula.device d
            WHERE d.name = 'device11';
    -- Released: device10 is free again, device11 waits for its certificate.
    INSERT INTO nebula.allocation_log (project_id, pool_id, ip, device_id, allocated_at, released_at,
     released_by)
    SELECT project_id, pool_id, ip, device_id, now() - interval '1 hour', now() - interval '1 minute', 'anna'
      FROM nebula.allocation WHERE ip IN ('10.7.0.10', '10.7.0.11');
    DELETE FROM nebula.allocation WHERE ip = '10.7.0.10';
    UPDATE nebula.allocation SET released_at = now(), quarantined_until = now() + interval '1 day'
     WHERE ip = '10.7.0.11';
    INSERT INTO nebula.event (actor, action, subject, subject_id)
     VALUES ('anna', 'register', 'device', 'device10');
    INSERT INTO nebula.job_waiting (kind, payload, run_at)
    VALUES ('story', '{\"n\": 1}', now()), ('story', '{\"n\": 2}', now() + interval '1 hour');";

/// The jobs of 0.1.0: one running, one dead.
const JOBS_0_1_0: &str = "
    INSERT INTO nebula.job_running (job_id, kind, payload, priority, attempt, max_attempts, errors,
     enqueued_at, worker, lease, lease_until)
    VALUES (nextval('nebula.job_id_seq'), 'story', '{\"n\": 0}', 0, 1, 5, '[]', now(), 'w', '1 hour', now() +
     interval '1 hour');
    INSERT INTO nebula.job_finished (job_id, kind, payload, state, priority, attempt, max_attempts, errors,
     enqueued_at)
    VALUES (nextval('nebula.job_id_seq'), 'story', '{\"n\": 3}', 'dead', 0, 5, 5, '[{\"error\": \"no\"}]',
     now());";

/// The jobs of 0.2.0, and a row of each table that came with that release.
const DATA_0_2_0: &str = "
    UPDATE nebula.job_waiting SET ready = false WHERE run_at > now();
    INSERT INTO nebula.job_running (job_id, kind, payload, priority, run_at, attempt, max_attempts, on_dead,
     errors, enqueued_at,
                                    worker, lease, lease_until)
    VALUES (nextval('nebula.job_id_seq'), 'story', '{\"n\": 0}', 0, now(), 1, 5, 'cancel', '[]', now(), 'w',
     '1 hour',
            now() + interval '1 hour');
    INSERT INTO nebula.job_finished (job_id, kind, payload, state, priority, run_at, attempt, max_attempts,
     on_dead, errors,
                                     enqueued_at, segment)
    VALUES (nextval('nebula.job_id_seq'), 'story', '{\"n\": 3}', 'dead', 0, now(), 5, 5, 'cancel',
     '[{\"error\": \"no\"}]', now(), 0);
    INSERT INTO nebula.job_policy (kind, max_running) VALUES ('story', 7);
    INSERT INTO nebula.job_schedule (name, cron, time_zone, kind, payload, priority, max_attempts, next_at)
    VALUES ('nightly', '@daily', 'UTC', 'story', '{}', 0, 5, now() + interval '1 day');
    INSERT INTO nebula.agent (device_id, project_id, counter, acknowledged_counter, acknowledged_version)
    VALUES ('00000000-0000-4000-8000-000000000113', '00000000-0000-4000-8000-000000000001', 1, 1, 1);
    INSERT INTO nebula.agent_answer (device_id, counter, version, host_key, public_key)
    VALUES ('00000000-0000-4000-8000-000000000113', 1, 1, decode(repeat('cd', 32), 'hex'),
     decode(repeat('ab', 32), 'hex'));
    INSERT INTO nebula.enrolment (project_id, code_hash, created_by)
    VALUES ('00000000-0000-4000-8000-000000000001', sha256('code'), 'anna');
    INSERT INTO nebula.reservation (project_id, label, pool_id, first_ip, last_ip, for_group)
    VALUES ('00000000-0000-4000-8000-000000000002', 'cameras', 2, 'fd00::10', 'fd00::1f', true);
    INSERT INTO nebula.firewall_rule (project_id, direction, port_first)
    VALUES ('00000000-0000-4000-8000-000000000001', 'inbound', 22);
    INSERT INTO nebula.route (project_id, network, device_id)
    VALUES ('00000000-0000-4000-8000-000000000001', '192.168.7.0/24', '00000000-0000-4000-8000-000000000114');
    INSERT INTO nebula.node (name, endpoint, cidr, device_id)
    VALUES ('alpha', 'alpha.example:51820', '10.8.0.0/24', '00000000-0000-4000-8000-000000000113'),
           ('beta', 'beta.example:51820', '10.8.1.0/24', NULL);
    INSERT INTO nebula.node_secret (node_id, place, secret, made_by)
    SELECT node_id, 1, sha256('secret'), 'anna' FROM nebula.node WHERE name = 'alpha';";

async fn a_database_survives(version: &str, data: &str, preload: &str) -> Result<()> {
    let cluster = Cluster::start(&["fsync=off", preload]).await?;
    cluster.add_release(version)?;
    let database = cluster.empty_database("upgraded").await?;
    let client = database.connect().await?;
    client.batch_execute(&format!("CREATE EXTENSION pg_nebula VERSION '{version}'")).await?;
    client.batch_execute(DATA).await?;
    client.batch_execute(data).await?;
    let claim = "SELECT job_id, attempt FROM nebula.claim_jobs('w', '{story}', 1, '1 hour')";
    let job = client.query_one("SELECT job_id, attempt FROM nebula.job_running", &[]).await?;
    let before = contents(&client).await?;
    let [home, device10, device11, device12] = [1, 0x110, 0x111, 0x112]
        .map(|number| Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0000 | number));

    // The library is newer than the tables: its functions fail with a clear error and change nothing.
    let refused =
        client.query("SELECT nebula.allocate_nebula_ip($1, $2, 'x')", &[&home, &device10]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED), "{refused:?}");

    client.batch_execute("ALTER EXTENSION pg_nebula UPDATE").await?;
    database.grant().await?;
    let fresh = catalog(&cluster.database().await?.connect().await?).await?;
    let upgraded = catalog(&client).await?;
    let print = |line: &String| match line.split_once('\n') {
        Some((first, _)) => format!("{first} …"),
        None => line.clone(),
    };
    let gone = upgraded.difference(&fresh).map(|line| format!("after the update only: {}", print(line)));
    let missing =
        fresh.difference(&upgraded).map(|line| format!("missing after the update: {}", print(line)));
    let differences: Vec<String> = gone.chain(missing).collect();
    ensure!(
        differences.is_empty(),
        "an update from {version} is not a new installation; add to sql/upgrade/:\n{}",
        differences.join("\n")
    );

    let mut after = contents(&client).await?;
    for (table, row) in before {
        let found = after.iter().position(|(name, now)| *name == table && contains(now, &row));
        after.swap_remove(found.with_context(|| format!("{table} has lost, or altered, {row}"))?);
    }
    assert_eq!(after, [], "rows that were not there before");

    // A session that was connected before the update, and a new one.
    for client in [client, database.connect().await?] {
        let usage = invariants::check(&client, home).await?;
        assert_eq!((usage.allocated, usage.quarantined), (18, 1));
        let allocate = "SELECT host(nebula.allocate_ip($1, $2))";
        let ip: String = client.query_one(allocate, &[&home, &device12]).await?.get(0);
        assert_eq!(ip, "10.7.0.12", "what is held stays held");
        let stranger = Uuid::new_v4();
        let ip: String = client.query_one(allocate, &[&home, &stranger]).await?.get(0);
        assert_eq!(ip, "10.7.0.2", "the gateway is kept back");
        client.execute("SELECT nebula.release_ip($1)", &[&stranger]).await?;
    }
    let client = database.connect().await?;
    let history = "SELECT count(*) FROM nebula.allocation_history WHERE device_id = $1";
    assert!(client.query_one(history, &[&device10]).await?.get::<_, i64>(0) > 0, "the record is still there");
    assert_eq!(
        invariants::exhaust(&client, home).await?.len(),
        234,
        "the quarantined address is not given out"
    );
    let ip: String =
        client.query_one("SELECT host(nebula.allocate_ip($1, $2))", &[&home, &device11]).await?.get(0);
    assert_eq!(ip, "10.7.0.11", "its device may have it back");
    let (job, attempt): (i64, i32) = (job.get(0), job.get(1));
    client.execute("SELECT nebula.complete_job($1, $2)", &[&job, &attempt]).await?;
    assert_eq!(client.query(claim, &[]).await?.len(), 1, "the other one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_0_1_0_is_upgraded() -> Result<()> {
    a_database_survives("0.1.0", JOBS_0_1_0, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_0_1_0_is_upgraded_with_the_extension_preloaded() -> Result<()> {
    a_database_survives("0.1.0", JOBS_0_1_0, PRELOAD).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_ranges_overlap_are_named_and_stop_the_upgrade() -> Result<()> {
    let cluster = Cluster::start(&["fsync=off"]).await?;
    cluster.add_release("0.2.0")?;
    let client = cluster.empty_database("overlapping").await?.connect().await?;
    client.batch_execute("CREATE EXTENSION pg_nebula VERSION '0.2.0'").await?;
    let nodes = "INSERT INTO nebula.node (name, endpoint, cidr)
                 VALUES ('alpha', 'a:1', '10.8.0.0/24'), ('beta', 'b:1', '10.8.0.0/16')";
    client.batch_execute(nodes).await?;
    let error = error_of(&client, "ALTER EXTENSION pg_nebula UPDATE").await?;
    for name in ["\"alpha\"", "\"beta\"", "10.8.0.0/24", "10.8.0.0/16"] {
        ensure!(error.message().contains(name), "{error:?}");
    }
    ensure!(error.hint().is_some_and(|hint| hint.contains("UPDATE nebula.node")), "{error:?}");
    client.batch_execute("UPDATE nebula.node SET cidr = '10.9.0.0/16' WHERE name = 'beta'").await?;
    client.batch_execute("ALTER EXTENSION pg_nebula UPDATE").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_0_2_0_is_upgraded() -> Result<()> {
    a_database_survives("0.2.0", DATA_0_2_0, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_0_2_0_is_upgraded_with_the_extension_preloaded() -> Result<()> {
    a_database_survives("0.2.0", DATA_0_2_0, PRELOAD).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_0_2_0_with_the_same_bytes_share_a_content_after_the_update() -> Result<()> {
    let cluster = Cluster::start(&["fsync=off"]).await?;
    cluster.add_release("0.2.0")?;
    let client = cluster.empty_database("files").await?.connect().await?;
    client.batch_execute("CREATE EXTENSION pg_nebula VERSION '0.2.0'").await?;
    client.batch_execute(DATA).await?;
    let files = "WITH files AS (
                   INSERT INTO nebula.file (file_id, project_id, name, size, sha256, content_type, storage_key, job_id)
                   SELECT ('00000000-0000-4000-8000-00000000030' || n)::uuid, '00000000-0000-4000-8000-000000000001',
                          'film ' || n, 7, sha256(CASE n WHEN 3 THEN 'other' ELSE 'same' END::bytea), 'video/mp4',
                          'files/' || n, n
                     FROM generate_series(1, 3) n
                   RETURNING file_id, sha256)
                 INSERT INTO nebula.rendition (file_id, kind, storage_key, size, sha256, content_type)
                 SELECT file_id, 'web', 'web/' || file_id, 8, sha256, 'video/mp4' FROM files";
    client.batch_execute(files).await?;
    // Two names that look the same, and one that is shown as "film4.exe" though it ends otherwise.
    let names = "UPDATE nebula.file SET name = CASE name
                   WHEN 'film 1' THEN U&'fi\\00E9' WHEN 'film 2' THEN U&'fie\\0301' ELSE U&'film\\202Eexe.4' END";
    client.batch_execute(names).await?;
    client.batch_execute("ALTER EXTENSION pg_nebula UPDATE").await?;
    let listed = "SELECT string_agg(concat_ws(' ', s.name, s.size, s.job_id, s.state, c.storage_key,
                                              jsonb_array_length(s.renditions)), ', ' ORDER BY s.name COLLATE \"C\")
                    FROM nebula.file_status s
                    JOIN nebula.file f USING (file_id)
                    JOIN nebula.content c USING (content_id)";
    let listed: String = client.query_one(listed, &[]).await?.get(0);
    assert_eq!(
        listed,
        "filmexe.4 7 3 ready files/3 1, fi\u{e9} 7 1 ready files/1 1, \
         fi\u{e9} 00000000-0000-4000-8000-000000000302 7 1 ready files/1 1"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_no_list_can_write_are_put_within_the_calendar_by_the_update() -> Result<()> {
    let cluster = Cluster::start(&["fsync=off"]).await?;
    for release in ["0.1.0", "0.2.0"] {
        cluster.add_release(release)?;
        let client = cluster.empty_database(&format!("times_{}", &release[2..3])).await?.connect().await?;
        client.batch_execute(&format!("CREATE EXTENSION pg_nebula VERSION '{release}'")).await?;
        client.batch_execute(DATA).await?;
        let wrong = "UPDATE nebula.project SET created_at = '-infinity';
                     UPDATE nebula.device SET registered_at = 'infinity' WHERE name = 'device12';
                     UPDATE nebula.event SET at = '20000-01-01';
                     UPDATE nebula.job_waiting SET run_at = 'infinity'";
        client.batch_execute(wrong).await?;
        client.batch_execute("ALTER EXTENSION pg_nebula UPDATE").await?;
        let years = "SELECT concat_ws(' ', (SELECT min(extract(year FROM created_at)) FROM nebula.project),
                                      (SELECT max(extract(year FROM registered_at)) FROM nebula.device),
                                      (SELECT max(extract(year FROM at)) FROM nebula.event),
                                      (SELECT max(run_at) FROM nebula.job_waiting))";
        client.batch_execute("SET TimeZone = 'UTC'").await?;
        let years: String = client.query_one(years, &[]).await?.get(0);
        assert_eq!(years, "1 9999 9999 infinity", "from {release}");
    }
    Ok(())
}
