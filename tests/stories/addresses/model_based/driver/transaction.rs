//! Operations that begin, end and undo transactions and parts of them.

use anyhow::{Context, Result, ensure};
use rand::RngExt;
use rand::seq::IteratorRandom;

use super::super::model::OpenTransaction;
use super::Driver;

impl Driver<'_> {
    /// After an error a transaction continues from its newest savepoint, or it ends.
    pub(super) async fn recover(&mut self, session: usize) -> Result<()> {
        let who = format!("s{session}");
        let Some(work) = self.world.open.get_mut(&who) else { return Ok(()) };
        match work.newest() {
            Some(number) => {
                work.rewind();
                self.must(session, &format!("ROLLBACK TO SAVEPOINT p{number}")).await
            }
            None => {
                self.world.end(&who, false);
                self.must(session, "ROLLBACK").await
            }
        }
    }

    pub(super) async fn begin(&mut self, session: usize) -> Result<()> {
        let (level, stale) = match self.random.random_range(0..10) {
            0 => ("REPEATABLE READ", true),
            1 => ("SERIALIZABLE", true),
            _ => ("READ COMMITTED", false),
        };
        self.world.open.insert(format!("s{session}"), OpenTransaction::begun(stale));
        self.must(session, &format!("BEGIN ISOLATION LEVEL {level}")).await
    }

    pub(super) async fn finish(&mut self, session: usize) -> Result<()> {
        let who = format!("s{session}");
        let Some(stale) = self.world.open.get(&who).map(|work| work.stale) else { return Ok(()) };
        let commit = self.random.random_bool(0.5);
        let answer = self.tell(session, if commit { "COMMIT" } else { "ROLLBACK" }).await?;
        ensure!(answer.is_ok() || (stale && answer == Err("40001".into())), "COMMIT failed");
        self.world.end(&who, commit && answer.is_ok());
        Ok(())
    }

    pub(super) async fn savepoint(&mut self, session: usize) -> Result<()> {
        let work = self.world.open.get_mut(&format!("s{session}")).context("no transaction")?;
        let number = work.savepoint();
        self.must(session, &format!("SAVEPOINT p{number}")).await
    }

    pub(super) async fn rewind(&mut self, session: usize) -> Result<()> {
        let work = self.world.open.get_mut(&format!("s{session}")).context("no transaction")?;
        let Some(number) = work.newest().filter(|_| work.rewind()) else { return Ok(()) };
        self.must(session, &format!("ROLLBACK TO SAVEPOINT p{number}")).await
    }

    pub(super) async fn release_savepoint(&mut self, session: usize) -> Result<()> {
        let work = self.world.open.get_mut(&format!("s{session}")).context("no transaction")?;
        let Some(number) = work.release() else { return Ok(()) };
        self.must(session, &format!("RELEASE SAVEPOINT p{number}")).await
    }

    pub(super) async fn prepare(&mut self, session: usize) -> Result<()> {
        let who = format!("s{session}");
        self.prepared += 1;
        // Names of prepared transactions are shared by the whole cluster.
        let name = format!("{}-{}", self.project, self.prepared);
        let answer = self.tell(session, &format!("PREPARE TRANSACTION '{name}'")).await?;
        let work = self.world.open.remove(&who).context("no transaction")?;
        ensure!(answer.is_ok() || (work.stale && answer == Err("40001".into())), "PREPARE failed");
        if answer.is_ok() {
            self.world.open.insert(name, work);
        }
        Ok(())
    }

    pub(super) async fn finish_prepared(&mut self, session: usize) -> Result<()> {
        let names = self.world.open.keys().filter(|name| name.len() > 10).cloned();
        let Some(name) = names.choose(&mut self.random) else { return Ok(()) };
        let commit = self.random.random_bool(0.5);
        self.must(session, &format!("{} PREPARED '{name}'", if commit { "COMMIT" } else { "ROLLBACK" }))
            .await?;
        self.world.end(&name, commit);
        Ok(())
    }
}
