//! Windows of rate limits, which all gateways share.

use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::query::{GenericClient, query, query_one};
use crate::error::ApiError;

/// A rate limit, as the database is to apply it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) name: &'static str,
    pub(crate) max: u32,
    pub(crate) window: Duration,
}

/// The account and the client that are limited, for the event of a refusal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) account: Option<Uuid>,
    pub(crate) client: Option<IpAddr>,
}

/// Calls that were taken from a window, and the time until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) count: u32,
    pub(crate) rest: Duration,
}

/// Takes up to `wanted` calls; a negative number gives some back.
pub(crate) async fn take(
    client: &impl GenericClient,
    rate: Rate,
    subject: &str,
    wanted: i32,
    caller: Caller,
) -> Result<Taken, ApiError> {
    let sql = "SELECT taken, rest_seconds
                 FROM nebula.take_from_rate(nebula.actor($1), $2, $3, $4, $5, make_interval(secs => $6), $7, $8)";
    let (max, window) = (whole(rate.max), rate.window.as_secs_f64());
    let values: [&(dyn ToSql + Sync); 8] =
        [client.gateway(), &rate.name, &subject, &wanted, &max, &window, &caller.account, &caller.client];
    let row = query_one(client, sql, &values).await?;
    let count: i32 = row.try_get(0)?;
    Ok(Taken { count: count.max(0).cast_unsigned(), rest: seconds(row.try_get(1)?) })
}

/// The time until something can be taken; zero: now.
pub(crate) async fn look(
    client: &impl GenericClient,
    rate: Rate,
    subject: &str,
    caller: Caller,
) -> Result<Duration, ApiError> {
    let sql = "SELECT nebula.look_at_rate(nebula.actor($1), $2, $3, $4, $5, $6)";
    let max = whole(rate.max);
    let values: [&(dyn ToSql + Sync); 6] =
        [client.gateway(), &rate.name, &subject, &max, &caller.account, &caller.client];
    let row = query_one(client, sql, &values).await?;
    Ok(seconds(row.try_get(0)?))
}

/// Lets a subject begin anew.
pub(crate) async fn forget(client: &impl GenericClient, rate: Rate, subject: &str) -> Result<(), ApiError> {
    let sql = "SELECT nebula.forget_rate(nebula.actor($1), $2, $3)";
    query(client, sql, &[client.gateway(), &rate.name, &subject]).await.map(drop)
}

fn whole(max: u32) -> i32 {
    i32::try_from(max).unwrap_or(i32::MAX)
}

fn seconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count).unwrap_or_default()
}
