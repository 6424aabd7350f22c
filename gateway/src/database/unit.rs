//! A transaction whose first and last words travel with the statements next to them: two journeys to the database
//! where each statement on its own would take one.

use std::ops::Deref;

use futures::future::{FutureExt, join, join3};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::Client;
use crate::ApiError;

/// A statement, prepared, and its values. What is prepared is sent as soon as it is polled, hence in the order of polling.
pub(super) type Call<'a> = (Statement, &'a [&'a (dyn ToSql + Sync)]);

/// Dropped before its commit, on an error as much as on a caller who hangs up, it is rolled back.
pub struct Unit {
    client: Client,
    open: bool,
    begin: &'static str,
}

impl Unit {
    /// A unit of work on this connection; nothing is sent yet.
    pub fn on(client: Client) -> Self {
        Self { client, open: false, begin: "BEGIN" }
    }

    /// The same, but of many who shall not all wait when something keeps one of them.
    pub fn impatient(client: Client) -> Self {
        Self { client, open: false, begin: "BEGIN; SET LOCAL lock_timeout = '200ms'" }
    }

    /// Begins if it has not begun.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&mut self) -> Result<(), ApiError> {
        let begun = std::mem::replace(&mut self.open, true);
        if !begun {
            self.client.batch_execute(self.begin).await?;
        }
        Ok(())
    }

    /// Begins if it has not begun, and makes two calls; answers the rows of both.
    pub(super) async fn both(
        &mut self,
        first: Call<'_>,
        second: Call<'_>,
    ) -> Result<(Vec<Row>, Vec<Row>), ApiError> {
        let begun = std::mem::replace(&mut self.open, true);
        let begin = async { if begun { Ok(()) } else { self.client.batch_execute(self.begin).await } };
        let first = self.client.query(&first.0, first.1);
        let second = self.client.query(&second.0, second.1);
        let (begun, first, second) = join3(begin, first, second).await;
        // The first that failed is why those behind it did.
        begun?;
        Ok((first?, second?))
    }

    /// Commits.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn commit(mut self) -> Result<(), ApiError> {
        let ended = self.client.batch_execute("COMMIT").await;
        self.open = false;
        Ok(ended?)
    }

    /// Makes a last call and commits.
    pub(super) async fn commit_with(mut self, (statement, values): Call<'_>) -> Result<(), ApiError> {
        let done = self.client.query_one(&statement, values);
        let (done, ended) = join(done, self.client.batch_execute("COMMIT")).await;
        self.open = false;
        // The commit of a transaction that failed says that it was rolled back, and is no error.
        done?;
        Ok(ended?)
    }
}

impl Deref for Unit {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if self.open {
            // Polled once it is sent; whoever has the connection next comes after it.
            drop(self.client.batch_execute("ROLLBACK").now_or_never());
        }
    }
}
