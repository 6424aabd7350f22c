//! Devices registered at the same time share a transaction, and each gets its own answer.

use std::collections::HashSet;

use anyhow::Result;
use futures::future::{join_all, try_join_all};
use nebula_api::device::RegisterRequest;
use nebula_certificate::{Curve, KeyPair};
use nebula_tests::api::refusal;
use nebula_tests::invariants;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use uuid::Uuid;

use super::client::Keys;
use super::{enrolled, number};

const DEVICES: usize = 60;

fn request(project_id: Uuid, device_id: Uuid, name: &str) -> Result<RegisterRequest> {
    Ok(RegisterRequest {
        project_id,
        device_id,
        device_name: name.to_owned(),
        public_key: KeyPair::generate(Curve::Curve25519)?.public_key().pem(),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blocked_registration_does_not_delay_others() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, member) = (stack.admin().await?, stack.member("anna").await?);
    let (client, keeper) = (stack.database.connect().await?, stack.database.connect().await?);
    let [taken, revoked, kept] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    for (device, name) in [(taken, "taken"), (revoked, "revoked"), (kept, "kept")] {
        admin.register(&request(stack.project, device, name)?).await?;
    }
    client.execute("SELECT nebula.revoke_device($1)", &[&revoked]).await?;
    keeper
        .batch_execute(&format!("BEGIN; SELECT FROM nebula.device WHERE device_id = '{kept}' FOR UPDATE"))
        .await?;

    let patient = {
        let (admin, again) = (admin.clone(), request(stack.project, kept, "kept")?);
        tokio::spawn(async move { admin.register(&again).await })
    };
    let good = (0..DEVICES).map(|number| {
        let api = if number % 2 == 0 { &admin } else { &member };
        let asked = request(stack.project, Uuid::new_v4(), &format!("device-{number}"));
        async move { api.register(&asked?).await }
    });
    let lighthouse = RegisterRequest {
        role: Some("lighthouse".into()),
        endpoints: vec!["192.0.2.1:4242".into()],
        ..request(stack.project, Uuid::new_v4(), "tower")?
    };
    let bad = [
        (&admin, request(stack.project, Uuid::new_v4(), "taken")?, StatusCode::CONFLICT, "23505"),
        (&admin, request(stack.project, revoked, "back")?, StatusCode::CONFLICT, "55000"),
        (&member, request(stack.project, taken, "mine")?, StatusCode::FORBIDDEN, "42501"),
        (&member, lighthouse, StatusCode::FORBIDDEN, "42501"),
    ];
    let refused = bad.iter().map(|(api, asked, ..)| async {
        refusal(api.post("/api/nebula/register").json(asked).send().await?).await
    });
    let (registered, refused) = futures::join!(try_join_all(good), join_all(refused));
    for (refused, (_, asked, status, sqlstate)) in refused.into_iter().zip(&bad) {
        let refused = refused?;
        assert_eq!(
            (refused.status, refused.failure.sqlstate.as_str()),
            (*status, *sqlstate),
            "{}",
            asked.device_name
        );
    }
    let registered = registered?;
    let addresses: HashSet<_> = registered.iter().map(|one| one.nebula_ip.as_str()).collect();
    assert_eq!(addresses.len(), DEVICES);

    // The registration that waits for a lock has not delayed the others, and continues when the lock is
    // released.
    assert!(!patient.is_finished());
    keeper.batch_execute("COMMIT").await?;
    patient.await??;
    for sql in [
        "SELECT count(*) FROM nebula.event WHERE action = 'register' AND detail ->> 'name' LIKE 'device-%'
          AND detail ? 'ip'",
        "SELECT count(*) FROM nebula.device d WHERE name LIKE 'device-%'
            AND (SELECT count(*) = 2 FROM nebula.certificate c WHERE c.device_id = d.device_id
                    AND (SELECT bool_and(host(n)::inet = a.ip) FROM unnest(c.networks) n, nebula.allocation a
                     WHERE a.device_id = d.device_id))",
        "SELECT count(*) FROM nebula.device d JOIN nebula.account a ON a.account_id = d.owner_id
          WHERE d.name LIKE 'device-%'
           AND (a.username = 'anna') = (split_part(d.name, '-', 2)::integer % 2 = 1)",
    ] {
        let counted: i64 = client.query_one(sql, &[]).await?.get(0);
        assert_eq!(counted, DEVICES as i64, "{sql}");
    }
    invariants::check(&client, stack.project).await?;
    Ok(())
}

/// A device identifier that several accounts register at the same moment belongs to one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_device_belongs_to_one_account() -> Result<()> {
    let stack = Stack::start().await?;
    let (one, other) = (stack.member("anna").await?, stack.member("bert").await?);
    let client = stack.database.connect().await?;
    for round in 0..20 {
        let device = Uuid::new_v4();
        let (mine, theirs) = (
            request(stack.project, device, &format!("mine-{round}"))?,
            request(stack.project, device, &format!("theirs-{round}"))?,
        );
        let (mine, theirs) = futures::join!(one.register(&mine), other.register(&theirs));
        let got = (mine.is_ok(), theirs.is_ok());
        assert!(got.0 != got.1, "both or neither: {got:?}");
        let owner: String = client
            .query_one(
                "SELECT username FROM nebula.device JOIN nebula.account ON account_id = owner_id
                         WHERE device_id = $1",
                &[&device],
            )
            .await?
            .get(0);
        assert_eq!(owner, if got.0 { "anna" } else { "bert" });
    }
    Ok(())
}

/// Each agent gets its own configuration, and a call sent twice at the same moment is answered once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_fetches_get_their_own_configurations() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let mut agents = Vec::new();
    for number in 0..24 {
        let mut agent = enrolled(&stack, &format!("agent-{number}")).await?;
        // So that their counters differ.
        for _ in 0..number % 3 {
            agent = agent.fetch("DoConfigUpdate").await?;
        }
        agents.push(agent);
    }
    // The client checks the signature, the nonce, and that the certificates are for its keys.
    for certified in [0, 6] {
        let kind = |number: usize| if number < certified { "DoUpdate" } else { "DoConfigUpdate" };
        let fetched = agents.iter().enumerate().map(|(number, agent)| agent.fetch(kind(number)));
        let fetched = try_join_all(fetched).await?;
        for (number, (agent, before)) in fetched.iter().zip(&agents).enumerate() {
            assert_eq!(agent.counter, before.counter + 1);
            assert_eq!(agent.seen["host"]["name"], format!("agent-{number}"));
            let certificates = agent.certificates()?;
            assert!(!certificates.is_empty());
            assert!(certificates.iter().all(|one| one.details().name == format!("agent-{number}")));
        }
        agents = fetched;
    }
    let signed = "SELECT count(DISTINCT (c.device_id, c.issued_at)) FROM nebula.certificate c
                   JOIN nebula.device d USING (device_id)
                   WHERE d.name LIKE 'agent-%'";
    assert_eq!(number(&client, signed).await?, 24 + 6);

    let value = agents[0].keys_value("DoConfigUpdate", &Keys::new(Curve::Curve25519)?, b"0123456789")?;
    let request = agents[0].request("DoConfigUpdate", &value)?;
    let answers: Result<Vec<_>> =
        join_all((0..8).map(|_| agents[0].send(&request))).await.into_iter().collect();
    let answered = answers?.into_iter().filter(|(status, _)| status.is_success()).count();
    assert_eq!(answered, 1, "the same call counts once");
    Ok(())
}
