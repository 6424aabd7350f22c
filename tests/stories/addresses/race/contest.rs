//! Many sessions contend for the same address or device.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::Result;
use futures::future::try_join_all;
use nebula_tests::cluster::Database;
use nebula_tests::invariants;
use nebula_tests::session::{pid, until_blocked};
use tokio::sync::Barrier;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{EXHAUSTED, allocate, balanced, databases, pool};

const SESSIONS: usize = 32;

type Answer = Result<String, tokio_postgres::Error>;

/// Runs the same call in every session at the same moment.
async fn all_at_once(database: &Database, call: impl Fn(usize) -> String) -> Result<Vec<Answer>> {
    let start = Arc::new(Barrier::new(SESSIONS));
    let sessions = (0..SESSIONS).map(|number| {
        let (database, start, call) = (database.clone(), start.clone(), call(number));
        tokio::spawn(async move {
            let client = database.connect().await?;
            start.wait().await;
            anyhow::Ok(client.query_one(&call, &[]).await.map(|row| row.get(0)))
        })
    });
    try_join_all(sessions).await?.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_address_requested_by_many_sessions_has_one_holder() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/24").await?;
        for round in 0..4 {
            let wanted = format!("10.1.0.{}", 100 + round);
            // Every other session takes the lowest address, so that a search meets a request for a given
            // address.
            let answers = all_at_once(&database, |number| {
                let address =
                    if number % 2 == 0 { format!(", address => '{wanted}'") } else { String::new() };
                format!("SELECT host(nebula.allocate_ip('{project}', '{}'{address}))", Uuid::new_v4())
            })
            .await?;
            let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), SESSIONS / 2 + 1, "one of those who asked for {wanted}, and all others");
            let won: HashSet<String> = won.into_iter().collect::<Result<_, _>>()?;
            assert_eq!(won.len(), SESSIONS / 2 + 1, "no address twice");
            for error in lost.into_iter().filter_map(Result::err) {
                assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION), "{error:?}");
            }
        }
        balanced(&database.connect().await?, project).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_device_in_many_sessions_gets_one_address() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/24").await?;
        let device = Uuid::new_v4();
        for _ in 0..4 {
            let call = format!("SELECT host(nebula.allocate_ip('{project}', '{device}'))");
            let answers = all_at_once(&database, |_| call.clone()).await?;
            let ips: HashSet<String> = answers.into_iter().collect::<Result<_, _>>()?;
            assert_eq!(ips.len(), 1, "{ips:?}");
            let client = database.connect().await?;
            assert_eq!(balanced(&client, project).await?, (1, 253));
            client.execute("SELECT nebula.release_ip($1)", &[&device]).await?;
        }
        assert_eq!(
            invariants::exhaust(&database.connect().await?, project).await?.len(),
            254,
            "nothing was lost"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_allocation_and_release_leave_at_most_one_row() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/24").await?;
        let device = Uuid::new_v4();
        for _ in 0..4 {
            let answers = all_at_once(&database, |number| match number % 2 {
                0 => format!("SELECT host(nebula.allocate_ip('{project}', '{device}'))"),
                _ => format!("SELECT host(nebula.release_ip('{device}'))"),
            })
            .await?;
            for (number, answer) in answers.iter().enumerate() {
                let Err(error) = answer else { continue };
                let nothing_to_release =
                    error.code().is_some_and(|code| ["55000", "P0002"].contains(&code.code()));
                assert!(number % 2 == 1 && nothing_to_release, "session {number}: {error:?}");
            }
            let (held, free) = balanced(&database.connect().await?, project).await?;
            assert!(held <= 1 && held + free == 254, "{held} held, {free} free");
        }
        invariants::exhaust(&database.connect().await?, project).await?;
    }
    Ok(())
}

/// Takes all of a /30 and leaves the transaction open.
async fn take_all(client: &Client, project: Uuid) -> Result<()> {
    client.batch_execute("BEGIN").await?;
    for _ in 0..2 {
        allocate(client, project).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mutual_waits_end_in_a_detected_deadlock() -> Result<()> {
    for database in databases().await? {
        let [left, right] = [pool(&database, "10.1.0.0/30").await?, pool(&database, "10.1.0.0/30").await?];
        let (first, second) = (database.connect().await?, database.connect().await?);
        take_all(&first, left).await?;
        take_all(&second, right).await?;
        let first_pid = pid(&first).await?;
        let blocked = tokio::spawn(async move { (allocate(&first, right).await, first) });
        until_blocked(&database.connect().await?, first_pid).await?;
        let second_answer = allocate(&second, left).await;
        if second_answer.is_err() {
            second.batch_execute("ROLLBACK").await?;
        }
        let (first_answer, _first) = blocked.await?;
        let deadlocks =
            [&first_answer, &second_answer].into_iter().filter_map(|answer| answer.as_ref().err());
        let codes: Vec<_> = deadlocks.filter_map(tokio_postgres::Error::code).collect();
        assert_eq!(codes, [&SqlState::T_R_DEADLOCK_DETECTED], "one gives way, the other gets an address");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_timeout_ends_the_wait_for_an_uncommitted_address() -> Result<()> {
    for database in databases().await? {
        let project = pool(&database, "10.1.0.0/30").await?;
        let (holder, waiter) = (database.connect().await?, database.connect().await?);
        take_all(&holder, project).await?;
        waiter.batch_execute("SET lock_timeout = '100ms'").await?;
        let error = allocate(&waiter, project).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{error:?}");
        holder.batch_execute("COMMIT").await?;
        assert_eq!(allocate(&waiter, project).await.unwrap_err().code(), Some(&EXHAUSTED));
    }
    Ok(())
}
