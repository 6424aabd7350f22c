//! Nodes and peers over HTTP: batches, choices of members, changes of nodes, and texts that are refused.

use anyhow::{Context, Result};
use nebula_api::node::{EnabledNode, Liveness, Node, NodeInterface};
use nebula_api::peer::{Peer, PeerResult};
use nebula_tests::api::{Api, data, refusal};
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::fake_node::{FakeNode, key};

async fn create(api: &Api, project: Uuid, peers: Value) -> Result<Vec<PeerResult>> {
    let body = json!({ "projectId": project, "peers": peers });
    data(api.post("/api/peers").json(&body).send().await?).await
}

async fn node(admin: &Api, name: &str) -> Result<Node> {
    let nodes: Vec<Node> = admin.read("/api/nodes").await?;
    nodes.into_iter().find(|node| node.name == name).context("no such node")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_a_batch_has_its_own_result() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let mut node = FakeNode::new(&stack, &admin, "a").await?;
    let items = json!([
        { "name": "phone", "publicKey": key() },
        { "name": "broken", "publicKey": "too short" },
        { "name": "phone", "publicKey": key() },
        { "name": "tablet", "publicKey": key(), "groups": ["family"], "reach": "all" }
    ]);
    let results = create(&admin, stack.project, items).await?;
    let errors: Vec<_> = results
        .iter()
        .map(|result| (result.item, result.error.as_ref().map(|error| error.sqlstate.as_str())))
        .collect();
    assert_eq!(errors, [(0, None), (1, Some("22023")), (2, Some("23505")), (3, None)], "{results:?}");
    assert!(results.iter().all(|result| result.peer.is_some() == result.error.is_none()));
    assert!(results[1].error.as_ref().is_some_and(|error| error.hint.is_some()));
    node.settle().await?;
    let mut listed: Vec<Peer> = admin.read(&format!("/api/peers?projectId={}", stack.project)).await?;
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    let names: Vec<_> = listed.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!((names, node.peers().len()), (vec!["phone", "tablet"], 2));

    // A thousand are one request and one pass of the node; one more is too many.
    let many = |count: usize| -> Value {
        (0..count).map(|n| json!({ "name": format!("peer-{n}"), "publicKey": key() })).collect()
    };
    data::<Value>(
        admin.patch(&format!("/api/nodes/{}", node.node)).json(&json!({ "maxPeers": 2000 })).send().await?,
    )
    .await?;
    let results = create(&admin, stack.project, many(200)).await?;
    assert!(results.iter().all(|result| result.error.is_none()), "{:?}", results[0].error);
    let state = node.ask(&node.report(0)).await?;
    assert_eq!(state["interfaces"][0]["peers"].as_array().map(Vec::len), Some(200));
    node.settle().await?;
    for count in [0, 1001] {
        let body = json!({ "projectId": stack.project, "peers": many(count) });
        let refused = admin.refused_post("/api/peers", &body).await?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{count}: {refused:?}");
    }
    let ids: Vec<_> = listed.iter().map(|peer| peer.peer_id).chain([Uuid::new_v4()]).collect();
    let answer = admin.post("/api/peers/remove").json(&json!({ "peerIds": ids })).send().await?;
    let removed: Vec<PeerResult> = data(answer).await?;
    let errors: Vec<_> =
        removed.iter().map(|result| result.error.as_ref().map(|error| error.sqlstate.as_str())).collect();
    assert_eq!(errors, [None, None, Some("P0002")]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_chooses_among_the_nodes_of_the_project() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let anna = stack.member("anna").await?;
    FakeNode::new(&stack, &admin, "a").await?;
    FakeNode::new(&stack, &admin, "c").await?;
    database
        .execute("UPDATE nebula.node SET seen_at = now() - interval '2 minutes' WHERE name = 'c'", &[])
        .await?;
    let drained = FakeNode::new(&stack, &admin, "b").await?;
    let change = json!({ "desiredState": "draining", "labels": { "site": "attic" }, "softMaxPeers": 5 });
    let path = format!("/api/nodes/{}", drained.node);
    let changed: Node = data(admin.patch(&path).json(&change).send().await?).await?;
    assert_eq!((changed.soft_max_peers, changed.labels["site"].as_str()), (Some(5), "attic"));
    let changed: Node = data(admin.patch(&path).json(&json!({ "softMaxPeers": null })).send().await?).await?;
    assert_eq!((changed.soft_max_peers, changed.labels.len()), (None, 1));

    let enabled = format!("/api/nodes/enabled?projectId={}", stack.project);
    let nodes: Vec<EnabledNode> = anna.read(&enabled).await?;
    let seen: Vec<_> = nodes
        .iter()
        .map(|node| (node.name.as_str(), node.state, node.eligible, node.reason.is_some()))
        .collect();
    assert_eq!(seen, [("a", Liveness::Healthy, true, false), ("c", Liveness::Late, false, true)]);
    // She sees no more of them, and nothing of other projects.
    assert_eq!(anna.get("/api/nodes").send().await?.status(), StatusCode::FORBIDDEN);
    assert_eq!(anna.patch(&path).json(&json!({})).send().await?.status(), StatusCode::FORBIDDEN);
    assert_eq!(anna.delete(&path).send().await?.status(), StatusCode::FORBIDDEN);
    let other: Uuid =
        database.query_one("SELECT nebula.create_project('other', '10.98.0.0/16')", &[]).await?.get(0);
    let refused = anna.get(&format!("/api/nodes/enabled?projectId={other}")).send().await?;
    let refused = refusal(refused).await?;
    assert!([403, 404].contains(&refused.status.as_u16()), "{refused:?}");
    let body = json!({ "projectId": other, "peers": [{ "name": "phone", "publicKey": key() }] });
    let refused = anna.refused_post("/api/peers", &body).await?;
    assert!([403, 404].contains(&refused.status.as_u16()), "{refused:?}");

    let results = create(&anna, stack.project, json!([{ "name": "phone", "publicKey": key() }])).await?;
    let phone = results[0].peer.as_ref().with_context(|| format!("{:?}", results[0].error))?;
    assert_eq!(phone.node.as_deref(), Some("a"));
    // The file is for its creator and administrators.
    let bert = stack.member("bert").await?;
    let config = format!("/api/peers/{}/config", phone.peer_id);
    anna.read::<Value>(&config).await?;
    admin.read::<Value>(&config).await?;
    let refused = refusal(bert.get(&config).send().await?).await?;
    assert!([403, 404].contains(&refused.status.as_u16()), "{refused:?}");
    let metrics = reqwest::get(format!("{}/metrics", stack.url())).await?.text().await?;
    for line in [
        "nebula_nodes{state=\"healthy\"} 2",
        "nebula_nodes{state=\"late\"} 1",
        "nebula_nodes{state=\"lost\"} 0",
        "nebula_node_peers{state=\"healthy\"} 1",
        "nebula_peers{state=\"pending\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_and_its_interfaces_are_removed_with_peers_only_by_force() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let fake = FakeNode::new(&stack, &admin, "a").await?;
    let path = format!("/api/nodes/{}/interfaces/wg1", fake.node);
    let wanted = json!({ "listenPort": 51821, "mtu": 1300, "dns": ["10.99.0.1"], "cidr": "10.200.0.0/24",
                         "endpoint": "second.example:443" });
    let made: NodeInterface = data(admin.put(&path).json(&wanted).send().await?).await?;
    assert_eq!((made.name.as_str(), made.listen_port, made.mtu, made.keepalive), ("wg1", 51821, 1300, 25));
    assert_eq!((made.dns, made.pools), (vec!["10.99.0.1".to_owned()], vec!["10.200.0.0/24".to_owned()]));
    let changed: NodeInterface =
        data(admin.put(&path).json(&json!({ "endpoint": null, "keepalive": 0 })).send().await?).await?;
    let port = changed.endpoint.as_deref().context("no endpoint")?;
    assert_eq!((port, changed.keepalive, changed.mtu), ("a.example:51821", 0, 1300));
    assert_eq!(node(&admin, "a").await?.interfaces.len(), 2);
    data::<Value>(admin.delete(&path).send().await?).await?;
    assert_eq!(node(&admin, "a").await?.interfaces.len(), 1);

    create(&admin, stack.project, json!([{ "name": "phone", "publicKey": key() }])).await?;
    let path = format!("/api/nodes/{}", fake.node);
    let refused = refusal(admin.delete(&path).send().await?).await?;
    assert_eq!((refused.status, refused.failure.sqlstate.as_str()), (StatusCode::CONFLICT, "55000"));
    data::<Value>(admin.delete(&format!("{path}?force=true")).send().await?).await?;
    assert_eq!(admin.read::<Vec<Node>>("/api/nodes").await?.len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_could_reach_a_shell_or_a_conf_are_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let fake = FakeNode::new(&stack, &admin, "a").await?;
    let evil =
        ["x\nPostUp = id", "x; id", "$(id)", "`id`", "x|id", "x'\"", "x\r", "x\u{1b}[2J", "", "../x", "x#y"];
    for text in evil {
        for field in ["name", "publicKey", "address"] {
            let mut peer = json!({ "name": "phone", "publicKey": key() });
            peer[field] = text.into();
            let results = create(&admin, stack.project, json!([peer])).await?;
            let error = results[0].error.as_ref();
            let refused = error.is_some_and(|error| error.sqlstate.starts_with("22"));
            assert!(refused, "{field} {text:?}: {:?}", results[0]);
        }
        for field in ["groups", "networks"] {
            let mut peer = json!({ "name": "phone", "publicKey": key(), "reach": "listed" });
            peer["networks"] = json!(["10.99.0.0/16"]);
            peer[field] = json!([text]);
            let results = create(&admin, stack.project, json!([peer])).await?;
            let refused = results[0].error.as_ref().is_some_and(|error| error.sqlstate.starts_with("22"));
            assert!(refused, "{field} {text:?}: {:?}", results[0]);
        }
        let path = format!("/api/nodes/{}", fake.node);
        for change in [
            json!({ "name": text }),
            json!({ "endpoint": text }),
            json!({ "endpoint": format!("{text}:51820") }),
            json!({ "labels": { text: "attic" } }),
            json!({ "capabilities": [text] }),
        ] {
            let refused = refusal(admin.patch(&path).json(&change).send().await?).await?;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{change}: {refused:?}");
        }
        for change in [json!({ "dns": [text] }), json!({ "endpoint": text }), json!({ "cidr": text })] {
            let put = admin.put(&format!("{path}/interfaces/wg0")).json(&change).send().await?;
            assert_eq!(refusal(put).await?.status, StatusCode::BAD_REQUEST, "{change}");
        }
        let name: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let put = admin.put(&format!("{path}/interfaces/{name}")).json(&json!({})).send().await?;
        assert!(put.status().is_client_error(), "interface {text:?}");
    }
    assert_eq!(admin.read::<Vec<Peer>>("/api/peers").await?.len(), 0);
    assert_eq!(node(&admin, "a").await?.interfaces.len(), 1);
    Ok(())
}

/// The only result of creating a peer.
async fn create_one(api: &Api, project: Uuid, peer: Value) -> Result<PeerResult> {
    create(api, project, json!([peer])).await?.pop().context("no result")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_removes_no_peer_of_another_by_repeating_its_creation() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let (bob, eve) = (stack.member("bob").await?, stack.member("eve").await?);
    let mut node = FakeNode::new(&stack, &admin, "a").await?;
    let phone = json!({ "peerId": Uuid::new_v4(), "name": "phone", "publicKey": key() });
    let made = create_one(&bob, stack.project, phone.clone()).await?;
    assert_eq!(made.made, Some(true));
    // The node has not applied it yet: with `wait`, what a request made would be withdrawn.
    let body = json!({ "projectId": stack.project, "peers": [phone], "wait": 1 });
    let stolen: Vec<PeerResult> = data(eve.post("/api/peers").json(&body).send().await?).await?;
    let error = stolen[0].error.as_ref().context("eve got the peer of bob")?;
    assert_eq!(error.sqlstate, "23505");
    // Nor does an honest repetition.
    let repeated = refusal(bob.post("/api/peers").json(&body).send().await?).await?;
    assert_eq!(repeated.status, StatusCode::SERVICE_UNAVAILABLE);
    let hint = repeated.failure.hint.context("no hint")?;
    assert!(hint.contains("earlier request"), "{hint}");
    node.settle().await?;
    assert_eq!(node.peers().len(), 1);
    let repeated = create_one(&bob, stack.project, body["peers"][0].clone()).await?;
    assert_eq!(repeated.made, Some(false));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_reach_beyond_the_overlay_only_where_the_project_lets_them() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let anna = stack.member("anna").await?;
    let peer = |reach: &str, networks: &[&str]| json!({ "name": format!("{reach} {}", networks.len()), "publicKey": key(), "reach": reach, "networks": networks });
    let sqlstate = |result: PeerResult| result.error.map(|error| error.sqlstate);
    let refused = Some("42501".to_owned());
    let lan = peer("listed", &["192.168.0.0/16"]);
    for one in [peer("all", &[]), lan.clone()] {
        assert_eq!(sqlstate(create_one(&anna, stack.project, one).await?), refused);
    }
    let options = format!("/api/projects/{}/configuration", stack.project);
    let allow = json!({ "memberReach": "internet" });
    let changed: Value = data(admin.patch(&options).json(&allow).send().await?).await?;
    assert_eq!(changed["memberReach"], "internet");
    let made = create_one(&anna, stack.project, peer("all", &[])).await?;
    assert_eq!(sqlstate(create_one(&anna, stack.project, lan.clone()).await?), refused);
    assert_eq!(sqlstate(create_one(&admin, stack.project, lan).await?), None);
    let path = format!("/api/peers/{}", made.peer.context("not created")?.peer_id);
    let change = json!({ "reach": "listed", "networks": ["10.0.0.0/8"] });
    let denied = refusal(anna.patch(&path).json(&change).send().await?).await?;
    assert_eq!((denied.status, denied.failure.sqlstate.as_str()), (StatusCode::FORBIDDEN, "42501"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_listed_in_pages_and_bodies_are_objects_of_known_fields() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let peers: Value = (1..=5).map(|n| json!({ "name": format!("peer {n}"), "publicKey": key() })).collect();
    create(&admin, stack.project, peers).await?;
    let first: Vec<Peer> = admin.read("/api/peers?max=3").await?;
    let rest: Vec<Peer> = admin.read(&format!("/api/peers?max=3&after={}", first[2].peer_id)).await?;
    let names: Vec<_> = first.iter().chain(&rest).map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["peer 1", "peer 2", "peer 3", "peer 4", "peer 5"]);
    let refused = refusal(admin.get("/api/peers?max=0").send().await?).await?;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let path = format!("/api/peers/{}", first[0].peer_id);
    for body in [json!({ "nmae": "x" }), json!(["x"])] {
        let refused = refusal(admin.patch(&path).json(&body).send().await?).await?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}: {refused:?}");
    }
    let refused = admin.refused_post("/api/nodes", &json!(["a", "a:1"])).await?;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    Ok(())
}
