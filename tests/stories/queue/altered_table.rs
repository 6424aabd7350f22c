//! Job tables that an administrator alters while sessions use them.

use anyhow::{Result, ensure};
use nebula_tests::cluster::Cluster;
use nebula_tests::session::{pid, until_blocked};

use super::{claim, enqueue};

const KIND: &str = "altered";

/// A trigger that writes down each job inserted into the table.
const TRIGGER: &str = "
    CREATE TABLE seen (job_id bigint);
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS
      'BEGIN INSERT INTO seen VALUES (NEW.job_id); RETURN NULL; END';
    CREATE TRIGGER see AFTER INSERT ON nebula.job_running FOR EACH ROW EXECUTE FUNCTION see()";

/// A session that waits for the transaction which adds a trigger has read the table's definition before; the rows that it
/// writes afterwards must run the trigger, as those of any statement do.
#[tokio::test]
async fn a_trigger_runs_for_a_session_that_waited_while_it_was_added() -> Result<()> {
    for cluster in Cluster::both().await? {
        let database = cluster.database().await?;
        let (administrator, worker) = (database.connect().await?, database.connect().await?);
        let observer = database.connect().await?;
        let pid = pid(&worker).await?;
        enqueue(&administrator, KIND).await?;
        ensure!(claim(&worker, KIND, 1).await?.len() == 1, "the first claim prepares the table");

        let job = enqueue(&administrator, KIND).await?;
        administrator.batch_execute("BEGIN").await?;
        administrator.batch_execute(TRIGGER).await?;
        let claimed = tokio::spawn(async move { claim(&worker, KIND, 1).await });
        until_blocked(&observer, pid).await?;
        administrator.batch_execute("COMMIT").await?;
        ensure!(claimed.await??.first().map(|(id, _)| *id) == Some(job), "the job is claimed");
        let seen = administrator.query("SELECT job_id FROM seen", &[]).await?;
        let seen: Vec<i64> = seen.iter().map(|row| row.get(0)).collect();
        ensure!(seen == [job], "the trigger saw {seen:?}");
    }
    Ok(())
}
