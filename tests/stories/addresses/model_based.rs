//! Model-based test: random operations of several sessions, every answer compared with a model in memory.
//!
//! One operation runs at a time, so a seed always gives the same run. Transactions overlap all the same, and
//! an operation that would wait for another runs into lock_timeout, which the model expects. `NEBULA_SEED`
//! repeats one seed, or a range such as `69..500`.

mod driver;
mod model;

use anyhow::{Context, Result};
use nebula_tests::cluster::{Cluster, PRELOAD};
use nebula_tests::rounds;

use driver::Driver;

/// Seeds of one run: few in `make test`, many in `make soak`; or the one that failed.
fn seeds() -> Result<Vec<u64>> {
    match std::env::var("NEBULA_SEED") {
        Ok(given) => {
            let number = |text: &str| text.parse::<u64>().context("NEBULA_SEED is no number, nor FROM..TO");
            Ok(match given.split_once("..") {
                Some((from, to)) => (number(from)?..number(to)?).collect(),
                None => vec![number(&given)?],
            })
        }
        Err(_) => Ok((0..rounds(12, 500) as u64).collect()),
    }
}

async fn answers_match_the_model(preloaded: bool) -> Result<()> {
    let preload = if preloaded { PRELOAD } else { "" };
    let mut cluster = Cluster::start(&["fsync=off", "max_prepared_transactions=50", preload]).await?;
    let database = cluster.database().await?;
    for seed in seeds()? {
        let mut play = Driver::new(&mut cluster, &database, seed, preloaded).await?;
        if let Err(error) = play.run().await {
            let trace = play.trace();
            return Err(error.context(format!("NEBULA_SEED={seed}, preloaded: {preloaded}\n{trace}")));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_match_the_model_with_the_extension_preloaded() -> Result<()> {
    answers_match_the_model(true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_match_the_model_without_preloading() -> Result<()> {
    answers_match_the_model(false).await
}
