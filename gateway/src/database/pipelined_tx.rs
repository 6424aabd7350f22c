//! A transaction whose BEGIN travels with its first statements and whose COMMIT travels with its last one:
//! two round trips, where a round trip per statement would make four or more.

use std::ops::Deref;

use futures::future::{FutureExt, join, join3};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connection::{Client, GenericClient};
use super::statement::Statement;
use crate::error::ApiError;

/// A prepared statement and its values. A prepared statement is sent when its future is first polled, so
/// statements reach the server in the order of polling.
pub(super) type Call<'a> = (Statement, &'a [&'a (dyn ToSql + Sync)]);

/// The isolation is asked for, because the database may have another default: registrations would fail with
/// 40001 instead of waiting for each other.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Dropped before its commit, on an error or because the caller hung up, it is rolled back.
pub(crate) struct PipelinedTransaction {
    client: Client,
    open: bool,
    begin: &'static str,
}

impl PipelinedTransaction {
    /// Nothing is sent yet.
    pub(crate) fn new(client: Client) -> Self {
        Self { client, open: false, begin: BEGIN }
    }

    /// As [`Self::new`], with a short lock timeout: in a batch, one item that has to wait for a lock would
    /// keep all others waiting. The batch fails, and each item is tried again by itself.
    pub(crate) fn with_lock_timeout(client: Client) -> Self {
        Self {
            client,
            open: false,
            begin: "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '200ms'",
        }
    }

    /// Begins, unless it has begun.
    pub(crate) async fn begin(&mut self) -> Result<(), ApiError> {
        let begun = std::mem::replace(&mut self.open, true);
        if !begun {
            self.client.batch_execute(self.begin).await?;
        }
        Ok(())
    }

    /// Begins, unless it has begun, and runs two statements, all in one round trip; answers the rows of both.
    pub(super) async fn query_two(
        &mut self,
        first: Call<'_>,
        second: Call<'_>,
    ) -> Result<(Vec<Row>, Vec<Row>), ApiError> {
        let begun = std::mem::replace(&mut self.open, true);
        let begin = async { if begun { Ok(()) } else { self.client.batch_execute(self.begin).await } };
        let first = self.client.run(&first.0, first.1);
        let second = self.client.run(&second.0, second.1);
        let (begun, first, second) = join3(begin, first, second).await;
        // The first error is the cause; the statements after it fail only because the transaction is aborted.
        begun?;
        Ok((first?, second?))
    }

    pub(crate) async fn commit(mut self) -> Result<(), ApiError> {
        let ended = self.client.batch_execute("COMMIT").await;
        self.open = false;
        Ok(ended?)
    }

    /// Runs a last statement and commits, in one round trip.
    pub(super) async fn query_and_commit(mut self, (statement, values): Call<'_>) -> Result<(), ApiError> {
        let done = self.client.run(&statement, values);
        let (done, ended) = join(done, self.client.batch_execute("COMMIT")).await;
        self.open = false;
        // COMMIT of an aborted transaction rolls back and reports no error, so the statement's error is
        // looked at first.
        done?;
        Ok(ended?)
    }
}

impl GenericClient for PipelinedTransaction {
    fn connection(&self) -> &Client {
        &self.client
    }
}

impl Deref for PipelinedTransaction {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for PipelinedTransaction {
    fn drop(&mut self) {
        if self.open {
            // One poll sends it; the next user of the connection comes after it in the server's queue.
            drop(self.client.batch_execute("ROLLBACK").now_or_never());
        }
    }
}
