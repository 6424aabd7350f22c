//! `nebulactl` changes what belongs to a project: routes, rules, groups; and remembers which project it is
//! about.

use anyhow::Result;
use nebula_api::pool::PoolUsage;
use nebula_tests::binary::run;
use nebula_tests::stack::Stack;

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
