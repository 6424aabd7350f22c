//! `nebulactl` makes projects and pools, changes what belongs to a project: routes, rules, groups; and remembers which
//! project it is about.

use anyhow::{Result, ensure};
use nebula_api::pool::PoolUsage;
use nebula_tests::api::refusal;
use nebula_tests::binary::run;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn rules_routes_and_groups_need_no_sql() -> Result<()> {
    let stack = Stack::start().await?;
    let ctl = |arguments: &[&str]| run(stack.ctl()?.args(arguments));
    let folder = stack.path("nas").display().to_string();
    ctl(&["join", "--name", "nas", "--dir", &folder])?;
    ctl(&["device", "groups", "nas", "backup", "eu"])?;
    let client = stack.database.connect().await?;
    let groups: Vec<String> = client.query_one("SELECT groups FROM nebula.device", &[]).await?.get(0);
    assert_eq!(groups, ["backup", "eu"]);

    ctl(&["route", "add", "192.168.1.0/24", "--via", "nas", "--metric", "50"])?;
    let routes = ctl(&["route", "ls"])?;
    assert!(routes.contains("192.168.1.0/24") && routes.contains("nas") && routes.contains("50"), "{routes}");
    ctl(&["route", "rm", "192.168.1.0/24"])?;
    assert!(!ctl(&["route", "ls"])?.contains("192.168"));

    let rule = ["rule", "add", "inbound", "--protocol", "tcp", "--port", "5000-5010", "--for-device", "nas"];
    ctl(&[&rule[..], &["--peer-group", "eu", "--note", "backups"]].concat())?;
    let rules = ctl(&["rule", "ls"])?;
    for wanted in ["inbound", "tcp", "5000-5010", "nas", "group eu", "backups"] {
        assert!(rules.contains(wanted), "{wanted} is not in\n{rules}");
    }
    let number: i64 = client.query_one("SELECT rule_id FROM nebula.firewall_rule", &[]).await?.get(0);
    ctl(&["rule", "rm", &number.to_string()])?;
    assert!(!ctl(&["rule", "ls"])?.contains("backups"));

    // With a second project each command has to know which one it is about.
    client.execute("SELECT nebula.create_project('lab', '10.50.0.0/16')", &[]).await?;
    let error = ctl(&["rule", "ls"]).unwrap_err().to_string();
    assert!(error.contains("several projects") && error.contains("nebulactl project use"), "{error}");
    ctl(&["project", "use", "story"])?;
    assert!(ctl(&["device", "ls"])?.contains("nas"));
    assert!(!ctl(&["device", "ls", "--project", "lab"])?.contains("nas"), "the option is stronger");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_and_pools_need_no_sql() -> Result<()> {
    let stack = Stack::start().await?;
    let ctl = |arguments: &[&str]| run(stack.ctl()?.args(arguments));
    ctl(&["project", "create", "lab", "10.50.0.0/16", "--pool", "10.50.0.0/24"])?;
    ctl(&["project", "use", "lab"])?;
    // A device of the new project gets the first address of its pool, and a certificate of its own authority.
    let folder = stack.path("probe").display().to_string();
    ctl(&["join", "--name", "probe", "--dir", &folder])?;
    let devices = ctl(&["device", "ls"])?;
    ensure!(devices.contains("10.50.0.1"), "{devices}");

    ctl(&["pool", "create", "guests", "10.50.8.0/24", "--reserve-gateway"])?;
    ensure!(ctl(&["pool", "extend", "guests", "10.50.8.0/23"])?.contains("509 addresses free"));
    ctl(&["pool", "resize", "guests", "10.50.8.0/25"])?;
    ensure!(ctl(&["pool", "disable", "guests"])?.contains("gives out none"));
    ensure!(!ctl(&["pool", "enable", "guests"])?.contains("gives out none"));
    let refused = ctl(&["pool", "resize", "default", "10.50.0.128/25"]).unwrap_err().to_string();
    ensure!(refused.contains("first 10.50.0.1 of device"), "{refused}");
    let refused = ctl(&["pool", "rm", "default", "--yes"]).unwrap_err().to_string();
    ensure!(refused.contains("held or in quarantine"), "{refused}");
    let asked = ctl(&["pool", "rm", "guests"]).unwrap_err().to_string();
    ensure!(asked.contains("--yes"), "{asked}");
    ctl(&["pool", "rm", "guests", "--yes"])?;
    ensure!(!ctl(&["pool", "ls"])?.contains("guests"));

    // The log names the account that did it, not the database's user.
    let client = stack.database.connect().await?;
    let log = "SELECT string_agg(DISTINCT format('%s %s', action, subject), ', ') FROM nebula.event
                WHERE actor = 'admin' AND subject IN ('project', 'pool')";
    let log: String = client.query_one(log, &[]).await?.get(0);
    let wanted =
        "create pool, create project, disable pool, drop pool, enable pool, extend pool, shrink pool";
    ensure!(log == wanted, "{log}");

    // A project for files alone has no network; its name is taken from then on.
    ctl(&["project", "create", "films"])?;
    let refused = ctl(&["project", "create", "films"]).unwrap_err().to_string();
    ensure!(refused.contains("exists already"), "{refused}");
    let owner = stack.member("anna").await?;
    let body = json!({ "name": "mine", "cidr": "10.60.0.0/16" });
    let refused = refusal(owner.post("/api/projects").json(&body).send().await?).await?;
    ensure!(refused.status == StatusCode::FORBIDDEN, "{:?}", refused.failure);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_pool_says_so_however_much_is_free() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let pools = || run(stack.ctl()?.args(["pool", "ls"]));
    assert!(pools()?.contains(" enabled"), "{}", pools()?);
    client.execute("SELECT nebula.disable_pool($1, 'default')", &[&stack.project]).await?;
    assert!(pools()?.contains(" disabled"), "{}", pools()?);
    let seen: Vec<PoolUsage> = stack.admin().await?.read("/api/pools").await?;
    assert!(matches!(&seen[..], [pool] if !pool.enabled && pool.free != "0"), "{seen:?}");
    Ok(())
}
