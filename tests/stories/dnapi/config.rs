//! Firewall rules, routes and options appear in the configuration of the devices they concern, and both
//! releases of nebula accept it.

use std::fs;
use std::process::Command;

use anyhow::Result;
use nebula_api::enrolment::EnrolmentRequest;
use nebula_api::firewall::{Route, Rule};
use nebula_api::project_options::ProjectOptions;
use nebula_tests::api::{Api, data, refusal};
use nebula_tests::binary::{nebula, run};
use nebula_tests::cluster::Cluster;
use nebula_tests::stack::{Stack, secret};
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

use super::client::Agent;
use super::{code, host};

async fn member(stack: &Stack, admin: &Api, name: &str, role: &str, groups: &[&str]) -> Result<Agent> {
    let wanted = EnrolmentRequest {
        name: Some(name.into()),
        role: Some(role.into()),
        groups: groups.iter().map(ToString::to_string).collect(),
        endpoints: match role {
            "host" => vec![],
            "lighthouse" => vec!["192.0.2.10:4242".into()],
            _ => vec!["192.0.2.11:4242".into()],
        },
        ..host(stack.project)
    };
    Agent::enroll(&stack.url(), &code(admin, &wanted).await?.code).await
}

/// Tests a configuration with every release of nebula that supports the curve.
fn taken(stack: &Stack, agent: &Agent, curve: &str) -> Result<()> {
    let file = stack.path(&format!("{}-{}.yml", agent.host, agent.counter));
    let key = serde_json::to_string(&agent.keys.private_pem())?;
    secret(&file, &agent.config.replacen("\n  cert: ", &format!("\n  key: {key}\n  cert: "), 1))?;
    for release in nebula()?.iter().filter(|release| curve == "25519" || release.version != "1.6.1") {
        run(Command::new(&release.daemon).arg("-test").arg("-config").arg(&file)).map_err(|error| {
            let config = fs::read_to_string(&file).unwrap_or_default();
            error.context(format!("nebula {} refuses\n{config}", release.version))
        })?;
    }
    Ok(())
}

async fn add_rule(admin: &Api, rule: Rule) -> Result<Rule> {
    data(admin.post("/api/firewall").json(&rule).send().await?).await
}

/// Devices of each kind, and one that is revoked later.
struct Members {
    plain: Agent,
    lighthouse: Agent,
    relay: Agent,
    web: Agent,
    router: Agent,
}

fn id(agent: &Agent) -> Uuid {
    agent.host.parse().unwrap()
}

async fn both_releases_take_it(curve: &str) -> Result<()> {
    let stack = Stack::start_on(Cluster::shared().await?.database().await?, curve).await?;
    let admin = stack.admin().await?;
    let plain = member(&stack, &admin, "first", "host", &[]).await?;
    taken(&stack, &plain, curve)?;
    let members = Members {
        plain,
        lighthouse: member(&stack, &admin, "lh", "lighthouse", &[]).await?,
        relay: member(&stack, &admin, "relay", "relay", &[]).await?,
        web: member(&stack, &admin, "web", "host", &["web"]).await?,
        router: member(&stack, &admin, "router", "host", &[]).await?,
    };
    let bad = member(&stack, &admin, "bad", "host", &[]).await?;
    let pair = add_rules(&stack, &admin, &members).await?;
    let route = add_route(&stack, &admin, &members.router).await?;
    set_options(&stack, &admin).await?;
    admin.post(&format!("/api/devices/{}/revoke", bad.host)).send().await?.error_for_status()?;
    let members = each_has_its_own(&stack, members, curve).await?;
    changes_follow(&admin, members, &pair, route).await
}

/// One rule of each form; answers that for a pair of devices.
async fn add_rules(stack: &Stack, admin: &Api, members: &Members) -> Result<Rule> {
    let any = Rule {
        project_id: stack.project,
        direction: "inbound".into(),
        protocol: "any".into(),
        ..Rule::default()
    };
    let tcp = Rule { protocol: "tcp".into(), ..any.clone() };
    add_rule(admin, Rule { for_group: Some("web".into()), port_first: Some(443), ..tcp.clone() }).await?;
    let pair = Rule {
        for_device: Some(id(&members.web)),
        remote_device: Some(id(&members.router)),
        port_first: Some(5000),
        port_last: Some(5010),
        ..tcp
    };
    let pair = add_rule(admin, pair).await?;
    let groups = vec!["web".into(), "eu".into()];
    add_rule(admin, Rule { protocol: "udp".into(), remote_groups: groups, ..any.clone() }).await?;
    let local = Rule {
        for_device: Some(id(&members.router)),
        remote_cidr: Some("10.99.0.0/24".into()),
        local_cidr: Some("192.168.7.0/24".into()),
        ..any.clone()
    };
    add_rule(admin, local).await?;
    add_rule(admin, Rule { direction: "outbound".into(), ..any }).await?;
    Ok(pair)
}

async fn add_route(stack: &Stack, admin: &Api, router: &Agent) -> Result<Route> {
    let route = Route {
        project_id: stack.project,
        network: "192.168.7.0/24".into(),
        device_id: id(router),
        mtu: Some(1280),
        metric: Some(50),
    };
    data::<Route>(admin.post("/api/routes").json(&route).send().await?).await
}

async fn set_options(stack: &Stack, admin: &Api) -> Result<()> {
    let path = format!("/api/projects/{}/configuration", stack.project);
    let options = json!({
        "inbound": "closed", "outbound": "closed", "mtu": 1400, "cipher": "chachapoly",
        "dnsPort": 5353, "punchy": false
    });
    let set: ProjectOptions = data(admin.patch(&path).json(&options).send().await?).await?;
    assert_eq!((set.mtu, set.dns_port, set.lifetime_seconds), (Some(1400), Some(5353), None));
    assert_eq!(admin.read::<ProjectOptions>(&path).await?, set);
    Ok(())
}

/// Each device has the rules that concern it, and no others.
async fn each_has_its_own(stack: &Stack, members: Members, curve: &str) -> Result<Members> {
    let Members { plain, lighthouse, relay, web, router } = members;
    let mut all = Vec::new();
    for agent in [plain, lighthouse, relay, web, router] {
        let due = agent.wait(&["DoUpdate", "DoConfigUpdate"]).await?;
        // The certificate of a router lists the networks behind it.
        assert_eq!(due == "DoUpdate", agent.seen["host"]["name"] == "router", "{due}");
        all.push(agent.fetch(&due).await?);
    }
    let [plain, lighthouse, relay, web, router] = <[Agent; 5]>::try_from(all).ok().unwrap();
    for agent in [&plain, &lighthouse, &relay, &web, &router] {
        taken(stack, agent, curve)?;
        let config = &agent.config;
        assert!(config.contains("mtu: 1400") && config.contains("cipher: \"chachapoly\""), "{config}");
        assert!(config.contains("groups: [\"web\", \"eu\"]") && config.contains("punch: false"), "{config}");
        let is = |other: &Agent| other.host == agent.host;
        assert_eq!(config.contains("port: 443"), is(&web));
        assert_eq!(config.contains("host: \"router\""), is(&web));
        assert_eq!(config.contains("local_cidr: \"192.168.7.0/24\""), is(&router));
        assert_eq!(config.contains("route: \"192.168.7.0/24\""), !is(&router));
        assert_eq!(config.contains("port: 5353"), is(&lighthouse));
        assert_eq!(agent.blocklist()?.len(), if curve == "P256" { 4 } else { 2 });
    }
    assert_eq!(certified(&router)?, vec![vec!["192.168.7.0/24"]; 2]);
    assert_eq!(certified(&plain)?, vec![Vec::<String>::new(); 2]);
    Ok(Members { plain, lighthouse, relay, web, router })
}

/// Networks behind a device, in each of its certificates.
fn certified(agent: &Agent) -> Result<Vec<Vec<String>>> {
    let of = |one: &nebula_certificate::Certificate| {
        one.details().unsafe_networks.iter().map(ToString::to_string).collect()
    };
    Ok(agent.certificates()?.iter().map(of).collect())
}

/// A removed rule disappears; a route that moves to another device is removed from the certificate.
async fn changes_follow(admin: &Api, members: Members, pair: &Rule, route: Route) -> Result<()> {
    let path = format!("/api/firewall/{}", pair.rule_id.unwrap());
    admin.delete(&path).send().await?.error_for_status()?;
    let refused = refusal(admin.delete(&path).send().await?).await?;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let moved = Route { device_id: id(&members.plain), ..route };
    let _: Route = data(admin.post("/api/routes").json(&moved).send().await?).await?;
    let web = members.web.fetch("DoConfigUpdate").await?;
    assert!(
        !web.config.contains("host: \"router\"") && web.config.contains("via: \"10.99.0.1\""),
        "{}",
        web.config
    );
    let router = members.router;
    assert_eq!(router.wait(&["DoUpdate", "DoConfigUpdate"]).await?, "DoUpdate");
    assert_eq!(certified(&router.fetch("DoUpdate").await?)?, vec![Vec::<String>::new(); 2]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_routes_reach_their_devices_on_curve25519() -> Result<()> {
    both_releases_take_it("25519").await
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_routes_reach_their_devices_on_p256() -> Result<()> {
    both_releases_take_it("P256").await
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_rules_and_routes_are_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, anna) = (stack.admin().await?, stack.member("anna").await?);
    let device = member(&stack, &admin, "router", "host", &[]).await?.host;
    member(&stack, &admin, "lh", "lighthouse", &[]).await?;
    let reserved = |name: Option<&str>, groups: &[&str]| EnrolmentRequest {
        name: name.map(Into::into),
        groups: groups.iter().map(ToString::to_string).collect(),
        ..host(stack.project)
    };
    for wrong in [reserved(Some("any"), &[]), reserved(None, &["any"]), reserved(None, &["a,b"])] {
        let refused = admin.refused_post("/api/enrolments", &serde_json::to_value(&wrong)?).await?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong:?}: {:?}", refused.failure);
        assert!(refused.failure.hint.is_some(), "{:?}", refused.failure);
    }
    let (project, stranger) = (stack.project, Uuid::new_v4());
    let rule = |field: &str, value: serde_json::Value| {
        let mut rule = json!({ "projectId": project, "direction": "inbound", "protocol": "tcp" });
        rule[field] = value;
        rule
    };
    for (wrong, status) in [
        (rule("direction", json!("sideways")), StatusCode::BAD_REQUEST),
        (rule("protocol", json!("sctp")), StatusCode::BAD_REQUEST),
        (rule("portFirst", json!(0)), StatusCode::BAD_REQUEST),
        (rule("portLast", json!(80)), StatusCode::BAD_REQUEST),
        (rule("remoteCidr", json!("everywhere")), StatusCode::BAD_REQUEST),
        (rule("forDevice", json!(stranger)), StatusCode::NOT_FOUND),
        (rule("remoteDevice", json!(stranger)), StatusCode::NOT_FOUND),
        (rule("projectId", json!(stranger)), StatusCode::NOT_FOUND),
        // A rule for everybody is one without groups, network and device; nebula reads these as that.
        (rule("remoteGroups", json!(["any", "admins"])), StatusCode::BAD_REQUEST),
        (rule("remoteGroups", json!([""])), StatusCode::BAD_REQUEST),
        (rule("forGroup", json!("Any")), StatusCode::BAD_REQUEST),
        (rule("remoteCidr", json!("0.0.0.0/8")), StatusCode::BAD_REQUEST),
        (rule("localCidr", json!("0.0.0.0/1")), StatusCode::BAD_REQUEST),
    ] {
        let refused = admin.refused_post("/api/firewall", &wrong).await?;
        assert_eq!(refused.status, status, "{wrong}: {:?}", refused.failure);
    }
    let route =
        |network: &str, device: &str| json!({ "projectId": project, "network": network, "deviceId": device });
    for (wrong, status) in [
        (route("192.168.7.1/24", &device), StatusCode::BAD_REQUEST),
        (route("10.99.3.0/24", &device), StatusCode::BAD_REQUEST),
        (route("fd00::/64", &device), StatusCode::BAD_REQUEST),
        (route("0.0.0.0/0", &device), StatusCode::BAD_REQUEST),
        (route("128.0.0.0/1", &device), StatusCode::BAD_REQUEST),
        (route("192.0.2.0/24", &device), StatusCode::BAD_REQUEST),
        (route("192.168.7.0/24", &stranger.to_string()), StatusCode::NOT_FOUND),
    ] {
        let refused = admin.refused_post("/api/routes", &wrong).await?;
        assert_eq!(refused.status, status, "{wrong}: {:?}", refused.failure);
    }
    let path = format!("/api/projects/{project}/configuration");
    for wrong in [
        json!({ "mtu": 20 }),
        json!({ "cipher": "rot13" }),
        json!({ "inbound": "ajar" }),
        json!({ "certificateVersions": [3] }),
        json!({ "lifetimeSeconds": 1 }),
        json!({ "colour": "red" }),
    ] {
        let refused = refusal(admin.patch(&path).json(&wrong).send().await?).await?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}: {:?}", refused.failure);
    }
    let refused = refusal(anna.patch(&path).json(&json!({ "mtu": 1400 })).send().await?).await?;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(anna.read::<ProjectOptions>(&path).await?.mtu == Some(1300), "a member may look");
    let good = rule("protocol", json!("udp"));
    assert_eq!(anna.refused_post("/api/firewall", &good).await?.status, StatusCode::FORBIDDEN);
    assert_eq!(
        anna.refused_post("/api/routes", &route("192.168.7.0/24", &device)).await?.status,
        StatusCode::FORBIDDEN
    );
    Ok(())
}
