//! A laptop that transcodes: battery, charger and heat decide when it works, and everybody can see them.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use nebula_api::system::System;
use nebula_tests::api::good;
use nebula_tests::binary::run;
use nebula_tests::stack::Stack;
use nebula_tests::{eventually, media};

/// Writes the files of a sensor: `type=Mains online=1`.
fn sensor(folder: &Path, name: &str, files: &str) -> Result<()> {
    let sensor = folder.join(name);
    fs::create_dir_all(&sensor)?;
    for (name, text) in files.split(' ').filter_map(|file| file.split_once('=')) {
        fs::write(sensor.join(name), text)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn films_wait_for_the_charger_and_for_a_cooler_processor() -> Result<()> {
    let mut stack = Stack::start().await?;
    let (power, thermal) = (stack.path("power"), stack.path("thermal"));
    let battery = |percent: u8, status: &str| {
        sensor(&power, "BAT0", &format!("type=Battery capacity={percent} status={status}"))
    };
    let heat =
        |celsius: u32| sensor(&thermal, "thermal_zone0", &format!("type=x86_pkg_temp temp={celsius}000"));
    battery(80, "Discharging")?;
    sensor(&power, "AC", "type=Mains online=0")?;
    heat(60)?;
    let (power_text, thermal_text) = (power.display().to_string(), thermal.display().to_string());
    let settings =
        [("NEBULA_POWER_SUPPLY_DIR", power_text.as_str()), ("NEBULA_THERMAL_DIR", thermal_text.as_str())];
    stack.restart_with(&settings).await?;
    let api = stack.admin().await?;
    let system: System = api.read("/api/system").await?;
    ensure!(
        system.temperature_celsius == Some(60.0) && system.disks.iter().any(|disk| disk.name == "storage")
    );
    let told = system.power.expect("there is a battery");
    assert_eq!((told.battery_percent, told.charger, told.on_battery), (Some(80), Some(false), true));

    media::large_film(&stack.path("film.mkv"))?;
    let worker = stack.worker_with("worker", 30, &settings)?;
    run(stack.ctl()?.args(["upload", "--quiet"]).arg(stack.path("film.mkv")))?;
    let client = stack.database.connect().await?;
    let running = async || {
        let sql = "SELECT FROM nebula.job_running WHERE kind LIKE 'transcode%'";
        Ok::<_, anyhow::Error>(client.query_opt(&format!("{sql} LIMIT 1"), &[]).await?.is_some())
    };
    let recorded = async |part: &str, states: &str| {
        eventually(&format!("{states} of {part} to be on record"), || async {
            let sql = "SELECT string_agg(action, ' ' ORDER BY event_id) = $2 FROM nebula.event WHERE subject_id = $1";
            let is = client.query_one(sql, &[&part, &states]).await?.get::<_, Option<bool>>(0);
            Ok(is.filter(|is| *is))
        })
        .await
    };
    eventually("the film to be begun", || async { Ok(running().await?.then_some(())) }).await?;

    battery(24, "Discharging")?;
    recorded("worker worker", "work-paused").await?;
    eventually("the job to be handed back", || async { Ok((!running().await?).then_some(())) }).await?;
    let waiting = "SELECT job_id, errors::text FROM nebula.job_waiting WHERE errors <> '[]'";
    let row = client.query_one(waiting, &[]).await?;
    let (job, reason): (i64, String) = (row.get(0), row.get(1));
    ensure!(reason.contains("paused: on the battery at 24 %"), "{reason}");

    // Too hot when the charger comes: it goes on waiting.
    heat(98)?;
    sensor(&power, "AC", "type=Mains online=1")?;
    eventually("the worker to wait for a cooler processor", || async {
        let log = fs::read_to_string(stack.log("worker"))?;
        Ok(log.contains("the processor has 98").then_some(()))
    })
    .await?;
    ensure!(!running().await?);
    heat(60)?;
    let state: String = eventually("the job to be done", || async {
        let sql = "SELECT state FROM nebula.job_finished WHERE job_id = $1";
        Ok(client.query_opt(sql, &[&job]).await?.map(|row| row.get(0)))
    })
    .await?;
    assert_eq!(state, "succeeded");
    recorded("worker worker", "work-paused work-ok").await?;
    recorded("power", "battery-used power-ok").await?;
    let metrics = good(api.anonymous("/metrics").send().await?).await?.text().await?;
    for line in ["nebula_battery_percent 24", "nebula_charger_online 1", "nebula_on_battery 0"] {
        ensure!(metrics.contains(line), "{line} is not in {metrics}");
    }
    drop(worker);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_the_night_does_nothing_by_day() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let job: i64 = client.query_one("SELECT nebula.enqueue_job('scrub', '{}')", &[]).await?.get(0);
    // The two halves of the day, one of which it is; the hour after may be the other one.
    let halves = ["00:00-12:00", "12:00-00:00"];
    let workers = halves.map(|hours| {
        let name = hours.replace(':', "");
        stack.worker_with(&name, 30, &[("NEBULA_WORK_HOURS", hours), ("TZ", "UTC")])
    });
    let workers = workers.into_iter().collect::<Result<Vec<_>>>()?;
    let worker: String = eventually("the job to be done", || async {
        let sql = "SELECT worker FROM nebula.job_finished WHERE job_id = $1";
        Ok(client.query_opt(sql, &[&job]).await?.map(|row| row.get(0)))
    })
    .await?;
    let hour: i32 =
        client.query_one("SELECT extract(hour FROM now() AT TIME ZONE 'UTC')::integer", &[]).await?.get(0);
    assert_eq!(worker, halves[usize::from(hour >= 12)].replace(':', ""), "at {hour} o'clock");
    drop(workers);
    Ok(())
}
