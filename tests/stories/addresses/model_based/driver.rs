//! Drives one seed: random operations of several sessions on one project, each answer checked by the model.

mod transaction;

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::invariants;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::model::{Model, Rows};

const SESSIONS: usize = 4;
const STEPS: usize = 250;

/// The run of one seed.
pub(super) struct Driver<'a> {
    cluster: &'a mut Cluster,
    database: &'a Database,
    random: Xoshiro256PlusPlus,
    sessions: Vec<Client>,
    project: Uuid,
    devices: Vec<Uuid>,
    world: Model,
    /// Rows outside the model, which only make a pool long.
    ballast: bool,
    prepared: usize,
    trace: Vec<String>,
}

impl<'a> Driver<'a> {
    /// Creates the project; its shape follows from the seed.
    pub(super) async fn new(
        cluster: &'a mut Cluster,
        database: &'a Database,
        seed: u64,
        shared_map: bool,
    ) -> Result<Self> {
        let client = database.connect().await?;
        let project: Uuid =
            client.query_one("SELECT nebula.create_project($1)", &[&format!("seed {seed}")]).await?.get(0);
        let pools: &[(&str, bool)] = match seed % 12 {
            0 | 6 => &[("10.0.0.0/28", false)],
            1 | 7 => &[("10.0.0.0/28", true)],
            2 | 8 => &[("10.0.0.0/29", false), ("10.0.1.0/30", true), ("10.0.2.7/32", false)],
            3 | 9 => &[("fd00::/124", false)],
            4 | 10 | 11 => &[("10.0.0.4/31", false), ("10.9.0.0/30", false)],
            _ => &[("10.0.0.0/16", false)],
        };
        let mut universe = BTreeSet::new();
        for (number, (cidr, gateway)) in pools.iter().enumerate() {
            let name = format!("pool {number}");
            let populate = "SELECT nebula.populate_pool($1, $2::text::inet, $3, $4)::text::bigint";
            let count: i64 = client.query_one(populate, &[&project, cidr, &name, gateway]).await?.get(0);
            if count < 100 {
                let every = assignable(cidr, *gateway)?;
                ensure!(
                    every.len() as i64 == count,
                    "{cidr} has {count} addresses to give out, not {every:?}"
                );
                universe.extend(every);
            }
        }
        let ballast = universe.is_empty();
        if ballast {
            universe = Self::fill_all_but_some(&client, project).await?;
        }
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let devices = (0..universe.len() + 6).map(|_| Uuid::new_v4()).collect();
        let world = Model { universe, shared_map, ..Model::default() };
        let mut play = Self {
            cluster,
            database,
            random,
            sessions: vec![],
            project,
            devices,
            world,
            ballast,
            prepared: 0,
            trace: vec![],
        };
        play.connect().await?;
        Ok(play)
    }

    /// A long pool with few free addresses, on both sides of a boundary between pages of the map.
    async fn fill_all_but_some(client: &Client, project: Uuid) -> Result<BTreeSet<IpAddr>> {
        let gaps: Vec<i32> = vec![1, 63, 64, 65, 4095, 4096, 32767, 32768, 32769, 50_000, 65534];
        let fill = "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by)
                    SELECT p.project_id, p.pool_id, host(p.cidr)::inet + n, gen_random_uuid(), 'ballast'
                      FROM nebula.pool p, generate_series(1, 65534) AS n
                     WHERE p.project_id = $1 AND n <> ALL ($2)";
        client.execute(fill, &[&project, &gaps]).await?;
        let first = u32::from_be_bytes([10, 0, 0, 0]);
        Ok(gaps.into_iter().map(|gap| IpAddr::from((first + gap.unsigned_abs()).to_be_bytes())).collect())
    }

    /// All statements so far, for the report of a failure.
    pub(super) fn trace(&self) -> String {
        self.trace.join("\n")
    }

    /// Runs the steps, ends all transactions, and compares the final state with the model.
    pub(super) async fn run(&mut self) -> Result<()> {
        for _ in 0..STEPS {
            self.step().await?;
        }
        for session in 0..SESSIONS {
            self.finish(session).await?;
        }
        while !self.world.open.is_empty() {
            self.finish_prepared(0).await?;
        }
        self.compare().await?;
        let client = self.database.connect().await?;
        let free = self.world.free();
        let taken: BTreeSet<IpAddr> = invariants::exhaust(&client, self.project).await?.into_iter().collect();
        ensure!(taken == free, "the model has {free:?} free, the pool gave {taken:?}");
        Ok(())
    }

    async fn step(&mut self) -> Result<()> {
        let session = self.random.random_range(0..SESSIONS);
        let who = format!("s{session}");
        let chance = self.random.random_range(0..1000);
        if self.world.open.contains_key(&who) {
            return match chance {
                0..150 => self.finish(session).await,
                150..200 => self.prepare(session).await,
                200..290 => self.savepoint(session).await,
                290..370 => self.rewind(session).await,
                370..400 => self.release_savepoint(session).await,
                _ => self.operate(session).await,
            };
        }
        match chance {
            0..300 => self.begin(session).await,
            300..370 => self.finish_prepared(session).await,
            370..400 => self.certify(session).await,
            400..430 => self.meddle(session).await,
            430..435 => self.crash().await,
            435..440 => self.truncate(session).await,
            440..450 => self.compare().await,
            _ => self.operate(session).await,
        }
    }

    async fn connect(&mut self) -> Result<()> {
        self.sessions.clear();
        for _ in 0..SESSIONS {
            let client = self.database.connect().await?;
            client.batch_execute("SET lock_timeout = '40ms'").await?;
            self.sessions.push(client);
        }
        Ok(())
    }

    /// Runs a statement; an error is answered as its SQLSTATE, for the model to check.
    async fn ask(
        &mut self,
        session: usize,
        sql: &str,
        args: &[&(dyn ToSql + Sync)],
    ) -> Result<Result<IpAddr, String>> {
        let answer = match self.sessions[session].query_one(sql, args).await {
            Ok(row) => Ok(row.get(0)),
            Err(error) => Err(self.settle(session, &error).await?),
        };
        let said: Vec<String> = args.iter().map(|arg| format!("{arg:?}")).collect();
        self.trace.push(format!("s{session}: {sql} {} -> {answer:?}", said.join(" ")));
        Ok(answer)
    }

    async fn tell(&mut self, session: usize, sql: &str) -> Result<Result<(), String>> {
        let answer = match self.sessions[session].batch_execute(sql).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.settle(session, &error).await?),
        };
        self.trace.push(format!("s{session}: {sql} -> {answer:?}"));
        Ok(answer)
    }

    /// The SQLSTATE of an error, once the server has rolled the failed statement back: it sends the error
    /// before that.
    async fn settle(&self, session: usize, error: &tokio_postgres::Error) -> Result<String> {
        let state = error.code().context(format!("{error:?}"))?.code().to_owned();
        self.sessions[session].batch_execute("").await?;
        Ok(state)
    }

    /// A statement that cannot fail.
    async fn must(&mut self, session: usize, sql: &str) -> Result<()> {
        self.tell(session, sql).await?.map_err(|state| anyhow::anyhow!("{sql}: SQLSTATE {state}"))
    }

    async fn operate(&mut self, session: usize) -> Result<()> {
        let who = format!("s{session}");
        let device = *self.devices.choose(&mut self.random).context("no devices")?;
        let holders: Vec<Uuid> = self.world.view(&who).held.into_values().collect();
        let failed = match self.random.random_range(0..10) {
            0..5 => {
                let call = "SELECT nebula.allocate_ip($1, $2)";
                let answer = self.ask(session, call, &[&self.project.clone(), &device]).await?;
                self.world.allocated(&who, device, None, answer.as_ref().copied().map_err(String::as_str))?;
                answer.is_err()
            }
            5..7 => {
                let wanted = self.wanted()?;
                let call = "SELECT nebula.allocate_ip($1, $2, address => $3)";
                let answer = self.ask(session, call, &[&self.project.clone(), &device, &wanted]).await?;
                let said = answer.as_ref().copied().map_err(String::as_str);
                self.world.allocated(&who, device, Some(wanted), said)?;
                answer.is_err()
            }
            _ => {
                // Mostly a device that holds an address.
                let holder = holders.choose(&mut self.random).copied();
                let device = holder.filter(|_| self.random.random_bool(0.9)).unwrap_or(device);
                let answer = self.ask(session, "SELECT nebula.release_ip($1)", &[&device]).await?;
                self.world.released(&who, device, answer.as_ref().copied().map_err(String::as_str))?;
                answer.is_err()
            }
        };
        if failed { self.recover(session).await } else { Ok(()) }
    }

    /// Any address of the pools, and sometimes one that is never assigned.
    fn wanted(&mut self) -> Result<IpAddr> {
        let edge = self.world.universe.first().copied().context("no addresses")?;
        if self.random.random_bool(0.1) {
            return Ok(match edge {
                IpAddr::V4(_) => "10.0.0.0".parse()?,
                IpAddr::V6(_) => "fd00::".parse()?,
            });
        }
        self.world.universe.iter().copied().choose(&mut self.random).context("no addresses")
    }

    /// Records a valid certificate for a device: from now on a release puts its address into quarantine.
    async fn certify(&mut self, session: usize) -> Result<()> {
        let device = *self.devices.choose(&mut self.random).context("no devices")?;
        if self.world.open.values().any(|work| work.stale) || self.world.in_flight(None, device) {
            return Ok(());
        }
        let (project, id) = (self.project, device.simple());
        self.must(
            session,
            &format!(
                "INSERT INTO nebula.device (device_id, project_id, name, curve, public_key)
                 VALUES ('{device}', '{project}', 'd{id}', '25519', decode(repeat('{id}', 2), 'hex'))
                 ON CONFLICT DO NOTHING;
                 INSERT INTO nebula.certificate (fingerprint, project_id, device_id, version, curve,
                  networks, groups,
                   public_key, issuer, not_before, not_after, pem)
                 VALUES (sha256(gen_random_uuid()::text::bytea), '{project}', '{device}', 1, '25519',
                  '{{}}', '{{}}', '\\x00',
                         sha256(''), now(), now() + interval '1 day', '')"
            ),
        )
        .await?;
        self.world.certified.insert(device);
        Ok(())
    }

    /// Changes a row by plain SQL, without the allocator.
    async fn meddle(&mut self, session: usize) -> Result<()> {
        let held = self.world.rows.held.iter().map(|(ip, device)| (*ip, *device));
        let Some((ip, device)) = held.choose(&mut self.random) else { return Ok(()) };
        if self.world.in_flight(Some(ip), device) {
            return Ok(());
        }
        let project = self.project;
        let change = format!("nebula.allocation WHERE project_id = '{project}' AND ip = '{ip}'");
        self.must(session, &format!("DELETE FROM {change}")).await?;
        self.world.rows.held.remove(&ip);
        let free = self.world.free().into_iter().choose(&mut self.random);
        let Some(other) = free.filter(|_| self.random.random_bool(0.5)) else { return Ok(()) };
        self.must(
            session,
            &format!(
                "INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id)
                 SELECT project_id, pool_id, '{other}', '{device}' FROM nebula.pool
                  WHERE project_id = '{project}' AND cidr >>= '{other}'::inet"
            ),
        )
        .await?;
        self.world.rows.held.insert(other, device);
        Ok(())
    }

    async fn truncate(&mut self, session: usize) -> Result<()> {
        if self.ballast || !self.world.open.is_empty() {
            return Ok(());
        }
        self.must(session, "TRUNCATE nebula.allocation").await?;
        self.world.rows = Rows::default();
        Ok(())
    }

    /// Crashes the server: prepared transactions survive, others do not.
    async fn crash(&mut self) -> Result<()> {
        self.trace.push("crash".into());
        self.cluster.crash().await?;
        self.cluster.resume().await?;
        for session in 0..SESSIONS {
            self.world.end(&format!("s{session}"), false);
        }
        self.connect().await
    }

    /// Compares the model with the table.
    async fn compare(&mut self) -> Result<()> {
        let client = self.database.connect().await?;
        invariants::check(&client, self.project).await?;
        let rows = client
            .query(
                "SELECT ip, device_id, quarantined_until IS NOT NULL FROM nebula.allocation
                  WHERE project_id = $1 AND allocated_by IS DISTINCT FROM 'ballast'",
                &[&self.project],
            )
            .await?;
        let mut found = Rows::default();
        for row in rows {
            let list = if row.get(2) { &mut found.quarantined } else { &mut found.held };
            list.insert(row.get(0), row.get(1));
        }
        ensure!(found == self.world.rows, "the table holds\n{found:?}\nthe model\n{:?}", self.world.rows);
        Ok(())
    }
}

/// Assignable addresses of a small network, computed without the extension: not the first (network,
/// subnet-router anycast) and not IPv4's last (broadcast), unless there are only one or two.
fn assignable(cidr: &str, gateway: bool) -> Result<Vec<IpAddr>> {
    let (first, length) = cidr.split_once('/').context("no prefix length")?;
    let first: IpAddr = first.parse()?;
    let bits = if first.is_ipv4() { 32 } else { 128 };
    let size = 1_u128 << (bits - length.parse::<u32>()?);
    let mut offsets: Vec<u128> = (0..size).collect();
    if size > 2 {
        offsets.remove(0);
        if first.is_ipv4() {
            offsets.pop();
        }
    }
    if gateway {
        offsets.remove(0);
    }
    let shift = |offset: u128| match first {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) + offset as u32).into()),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) + offset).into()),
    };
    Ok(offsets.into_iter().map(shift).collect())
}
