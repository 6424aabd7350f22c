//! Pictures of networks from reports of agents, and samples over time.

use pgrx::prelude::*;

use super::*;

/// Lets the agent of a device report tunnels, `(address, received, sent, remote)`.
fn report(project: &str, number: u32, before: Option<&str>, peers: &[(&str, i64, i64, &str)]) {
    let peers: Vec<_> = peers
        .iter()
        .map(|(address, received, sent, remote)| {
            format!(
                r#"{{"address": "{address}", "receivedBytes": {received}, "sentBytes": {sent}, "remote": "{remote}",
                     "handshakeSecondsAgo": {number}}}"#
            )
        })
        .collect();
    let report = format!(r#"{{"peers": [{}]}}"#, peers.join(", "));
    let former = before.map_or_else(|| "NULL".to_owned(), |before| format!("'{before}'::jsonb"));
    run(&format!(
        "INSERT INTO nebula.agent (device_id, project_id, counter, acknowledged_counter, acknowledged_version, reported_at,
                                   report)
         VALUES ('{}', '{project}', 1, 1, 1, now(), nebula.with_rates({former}, '{report}', 30))
         ON CONFLICT (device_id) DO UPDATE SET report = nebula.with_rates(nebula.agent.report, '{report}', 30)",
        device(number)
    ));
}

/// A viewer of the project, whose devices 1 (a lighthouse), 2, 3 and 4 have addresses.
fn set_up() -> (String, String) {
    let project = project("10.0.0.0/24");
    for (number, role) in [(1, "lighthouse"), (2, "host"), (3, "host"), (4, "host")] {
        register(&project, number, role);
        allocate(&project, number);
    }
    run(&format!(
        "UPDATE nebula.device SET groups = '{{web}}' WHERE device_id IN ('{}', '{}')",
        device(2),
        device(3)
    ));
    let account = text("SELECT nebula.create_account('anna', '$argon2id$', 'member')");
    run(&format!("SELECT nebula.add_member('{project}', 'anna', 'viewer')"));
    (project, account)
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn a_tunnel_that_both_ends_report_is_one_with_the_higher_rate() {
        let (project, account) = set_up();
        report(
            &project,
            2,
            None,
            &[("10.0.0.3", 0, 0, "192.0.2.3:4242"), ("10.0.0.4", 0, 0, "relay 10.0.0.1")],
        );
        report(
            &project,
            2,
            None,
            &[("10.0.0.3", 3000, 0, "192.0.2.3:4242"), ("10.0.0.4", 30, 30, "relay 10.0.0.1")],
        );
        report(&project, 3, None, &[("10.0.0.2", 0, 0, "192.0.2.2:4242"), ("nonsense", 1, 1, "")]);
        report(&project, 3, None, &[("10.0.0.2", 0, 6000, "192.0.2.2:4242")]);
        let bundles = format!(
            "SELECT string_agg(concat_ws(' ', b ->> 'from', b ->> 'to', b ->> 'bytesPerSecond', b ->> 'tunnels',
                                         b ->> 'relayed'), ', ')
               FROM jsonb_array_elements(nebula.network('{account}', '{project}') -> 'bundles') b"
        );
        assert_eq!(text(&bundles), "group:web group:web 200 1 0, group: group:web 2 1 1");
        let picture =
            |path: &str| text(&format!("SELECT nebula.network('{account}', '{project}') #>> '{{{path}}}'"));
        assert_eq!((picture("anchors,0,name"), picture("tunnels")), ("d1".to_owned(), "2".to_owned()));
        assert_eq!(
            (picture("groups,1,name"), picture("groups,1,devices")),
            ("web".to_owned(), "2".to_owned())
        );
        let partners = format!(
            "SELECT string_agg(concat_ws(' ', p ->> 'name', p ->> 'bytesPerSecond', p ->> 'relayed', p ->> 'oneSided',
                                         p ->> 'handshakeSecondsAgo'), ', ')
               FROM jsonb_array_elements(nebula.network('{account}', '{project}', '{}') -> 'partners') p",
            device(2)
        );
        assert_eq!(text(&partners), "d3 200 false false 3, d4 2 true true 2");
        let stranger = text("SELECT nebula.create_account('eva', '$argon2id$', 'member')");
        assert_error(&format!("SELECT nebula.network('{stranger}', '{project}')"), "42501", &["eva"]);
    }

    #[pg_test]
    fn a_counter_that_begins_again_has_no_rate() {
        let rate = |before: &str, now: &str, seconds: i32| {
            text(&format!(
                "SELECT nebula.with_rates('{{\"peers\": [{before}]}}', '{{\"peers\": [{now}]}}', {seconds})
                        #>> '{{peers,0,bytesPerSecond}}'"
            ))
        };
        let peer =
            |bytes: i64| format!(r#"{{"address": "10.0.0.1", "receivedBytes": {bytes}, "sentBytes": 0}}"#);
        assert_eq!(rate(&peer(100), &peer(400), 30), "10");
        assert_eq!(rate(&peer(400), &peer(100), 30), "null", "the agent has started anew");
        assert_eq!(rate(&peer(100), &peer(400), 3600), "null", "too long ago to say anything of now");
        assert_eq!(rate("", &peer(400), 30), "null");
        assert_eq!(rate(&peer(100), r#"{"address": "10.0.0.1"}"#, 30), "null");
    }

    #[pg_test]
    fn samples_are_taken_once_a_minute_and_means_are_kept_longer() {
        let (project, account) = set_up();
        assert_eq!(text("SELECT nebula.sample_series()"), "true");
        assert_eq!(text("SELECT nebula.sample_series()"), "false");
        let held =
            "SELECT value FROM nebula.series WHERE name = 'pool.held' AND step = 1 ORDER BY at DESC LIMIT 1";
        assert_eq!(text(held), "4");
        run("DELETE FROM nebula.series");
        run(&format!(
            "INSERT INTO nebula.series (name, key, step, at, project_id, value)
             SELECT 'pool.held', '1', s.step, date_trunc('minute', now()) - s.age, '{project}', 1
               FROM (VALUES (1, interval '25 hours'), (1, '23 hours'), (15, '29 days'), (15, '31 days')) s(step, age)"
        ));
        run("SELECT nebula.sample_series()");
        let kept = "SELECT string_agg(step || ' ' || date_trunc('hour', now() - at + interval '1 minute'), ', ' ORDER BY step)
                      FROM nebula.series WHERE key = '1' AND at < now() - interval '1 hour'";
        assert_eq!(text(kept), "1 23:00:00, 15 29 days");
        let list = |project: &str, step: i32| {
            text(&format!(
                "SELECT coalesce(string_agg(name || ' ' || cardinality(values), ', '), '') FROM nebula.list_series(
                   '{account}', {project}, '{{pool.held}}', now() - interval '30 days', now(), {step}) WHERE key = '1'"
            ))
        };
        assert_eq!(list(&format!("'{project}'"), 15), "pool.held 1");
        let server = format!("SELECT nebula.list_series('{account}', NULL, '{{}}', now(), now(), 1)");
        assert_error(&server, "42501", &["anna"]);
    }
}
