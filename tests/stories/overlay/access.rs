//! "May this device reach that one, and what stops it first?" The answer is what real nebula daemons do.

use nebula_api::access::Explanation;
use nebula_tests::api::{Api, refusal};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::*;

async fn explain(api: &Api, from: &Joined, to: &Joined, connection: &str) -> Result<Explanation> {
    let (from, to) = (from.request.device_id, to.request.device_id);
    api.read(&format!("/api/access/explain?from={from}&to={to}&{connection}")).await
}

/// The check that stops it, and the number of rules that let it pass until then.
fn outcome(explanation: &Explanation) -> (Option<&str>, usize) {
    let by_rule = explanation.checks.iter().filter(|check| check.rule_id.is_some()).count();
    assert_eq!(explanation.allowed, explanation.stopped_by.is_none());
    (explanation.stopped_by.as_deref(), by_rule)
}

/// Gets the bundle again, with the rules as they are now.
async fn renew(api: &Api, joined: &Joined) -> Result<()> {
    let registration = api.register(&joined.request).await?;
    unpack(&BASE64_STANDARD.decode(&registration.zip_bundle)?, &joined.folder)
}

/// Whether a device gets a connection within two seconds; nebula drops what it does not let pass.
fn connects(network: &Network, from: usize, to: &Joined, port: u16) -> bool {
    let mut command = privileged("ip");
    let connect = format!("exec 3<>/dev/tcp/{}/{port}", to.registration.nebula_ip);
    command.args(["netns", "exec", &network.namespace(from), "timeout", "2", "bash", "-c", &connect]);
    run(&mut command).is_ok()
}

/// Takes connections at these ports in the namespace of a host.
fn listen(network: &Network, host: usize, ports: [u16; 2], log: &Path) -> Result<Process> {
    let script = "import selectors, socket, sys\n\
                  all = selectors.DefaultSelector()\n\
                  for port in sys.argv[1:]:\n    \
                      all.register(socket.create_server(('', int(port))), selectors.EVENT_READ)\n\
                  while True:\n    \
                      for key, _ in all.select():\n        \
                          key.fileobj.accept()\n";
    Process::start(&PathBuf::from("ip"), log, "KILL", None, |command| {
        command.args(["netns", "exec", &network.namespace(host), "python3", "-c", script]);
        command.args(ports.map(|port| port.to_string()));
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_is_what_nebula_does() -> Result<()> {
    let stack = Stack::start().await?;
    let [_, new] = binary::nebula()?;
    let api = stack.admin().await?;
    let lighthouse = join(&stack, &new, "lighthouse", Some(format!("{}:4242", Network::address(1)))).await?;
    let laptop = join(&stack, &new, "laptop", None).await?;
    let server = join(&stack, &new, "server", None).await?;

    assert_eq!(outcome(&explain(&api, &laptop, &server, "port=7022").await?), (None, 0), "an open project");
    let options = format!("/api/projects/{}/configuration", stack.project);
    let closed = json!({"inbound": "closed", "outbound": "closed"});
    data::<Value>(api.patch(&options).json(&closed).send().await?).await?;
    assert_eq!(outcome(&explain(&api, &laptop, &server, "port=7022").await?), (Some("outbound"), 0));
    let groups = format!("/api/devices/{}/groups", laptop.request.device_id);
    data::<Value>(api.put(&groups).json(&json!({"groups": ["staff"]})).send().await?).await?;
    let project = stack.project;
    for rule in [
        json!({"projectId": project, "direction": "outbound", "protocol": "any", "forGroup": "staff"}),
        json!({"projectId": project, "direction": "inbound", "protocol": "tcp", "portFirst": 7022,
               "forDevice": server.request.device_id, "remoteGroups": ["staff"]}),
        json!({"projectId": project, "direction": "outbound", "protocol": "any",
               "forDevice": lighthouse.request.device_id}),
    ] {
        data::<Value>(api.post("/api/firewall").json(&rule).send().await?).await?;
    }
    let asked = [
        (&laptop, &server, "port=7022", (None, 2)),
        (&laptop, &server, "port=7023", (Some("inbound"), 1)),
        (&laptop, &server, "protocol=udp&port=7022", (Some("inbound"), 1)),
        (&laptop, &server, "protocol=icmp", (None, 1)),
        (&lighthouse, &server, "port=7022", (Some("inbound"), 1)),
        (&server, &laptop, "port=7022", (Some("outbound"), 0)),
    ];
    for (from, to, connection, expected) in asked {
        let explanation = explain(&api, from, to, connection).await?;
        assert_eq!(outcome(&explanation), expected, "{connection}: {explanation:#?}");
    }

    for joined in [&lighthouse, &laptop, &server] {
        renew(&api, joined).await?;
    }
    let network = Network::new(3)?;
    let _daemons = [
        daemon(&network, 1, &new, &lighthouse)?,
        daemon(&network, 2, &new, &laptop)?,
        daemon(&network, 3, &new, &server)?,
    ];
    let _listener = listen(&network, 3, [7022, 7023], &stack.path("listener.log"))?;
    ping(&network, 2, &server).await?;
    ping(&network, 1, &server).await?;
    let log = stack.path("listener.log");
    let opened = eventually("the port that a rule opens to take a connection", || async {
        Ok(connects(&network, 2, &server, 7022).then_some(()))
    });
    opened.await.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    assert!(!connects(&network, 2, &server, 7023));
    assert!(!connects(&network, 1, &server, 7022));

    // Only within one project, only for those who see it, and with a port.
    let anna = stack.member("anna").await?;
    let other: Uuid = {
        let database = stack.database.connect().await?;
        database.execute("DELETE FROM nebula.project_member", &[]).await?;
        server.request.device_id
    };
    let path = format!("/api/access/explain?from={other}&to={other}&port=22");
    assert_eq!(refusal(anna.get(&path).send().await?).await?.status, StatusCode::NOT_FOUND);
    let path = format!("/api/access/explain?from={other}&to={other}");
    assert_eq!(refusal(api.get(&path).send().await?).await?.status, StatusCode::BAD_REQUEST);
    let revoke = format!("/api/devices/{}/revoke", server.request.device_id);
    data::<Value>(api.post(&revoke).send().await?).await?;
    let explanation = explain(&api, &laptop, &server, "port=7022").await?;
    assert_eq!(outcome(&explanation), (Some("revoked"), 0));
    Ok(())
}
