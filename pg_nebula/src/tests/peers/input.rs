use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::peers::{create, key, node, state, sync};
    use crate::tests::{assert_error, project, run, text};
    use pgrx::prelude::*;

    /// The answer to an item of `create_peers` with these fields: SQLSTATE, words, and whether there is a hint.
    fn item(project: &str, fields: &str) -> String {
        text(&format!(
            "SELECT concat_ws(' ', r.sqlstate, r.detail, r.hint <> '')
               FROM nebula.create_peers_by('{project}', ARRAY[jsonb_build_object('publicKey', {}) || '{fields}'], 'auto',
                                      NULL, 'me', NULL) r",
            key(700)
        ))
    }

    #[pg_test]
    fn a_malformed_field_of_a_peer_is_named_with_what_it_has_and_what_to_give() {
        let project = project("10.0.0.0/24");
        for (fields, words) in [
            (r#"{"peerId": "x"}"#, r#"peerId cannot be "x""#),
            (r#"{"name": 1}"#, "name cannot be 1"),
            (r#"{"preshared": "maybe"}"#, r#"preshared cannot be "maybe""#),
            (r#"{"disabled": 1}"#, "disabled cannot be 1"),
            (r#"{"address": "x"}"#, r#"address cannot be "x""#),
            (r#"{"networks": ["x"], "reach": "listed"}"#, r#"networks cannot be "x""#),
            (r#"{"networks": "x"}"#, r#"networks cannot be "x""#),
            (r#"{"groups": [null]}"#, "groups cannot be [null]"),
            (r#"{"expiresAt": "soon"}"#, r#"expiresAt cannot be "soon""#),
            (r#"{"expiresAt": "2030-02-30T00:00:00Z"}"#, "expiresAt cannot be"),
            (r#"{"size": 1}"#, r#"a peer has no "size""#),
        ] {
            let told = item(&project, fields);
            assert!(told.starts_with(&format!("22023 {words}")) && told.ends_with(" t"), "{fields}: {told}");
        }
        let not_objects = text(&format!(
            "SELECT string_agg(error, ', ' ORDER BY n) FROM nebula.create_peers('{project}', ARRAY['null', '1', '[]']::jsonb[])"
        ));
        assert_eq!(not_objects.matches("a peer must be a JSON object").count(), 3, "{not_objects}");
        let long = text(&format!(
            "SELECT max(length(error)) FROM nebula.create_peers('{project}', ARRAY[jsonb_build_object('publicKey', {},
               'address', repeat('x', 100000))])",
            key(1)
        ));
        assert!(long.parse::<u32>().expect("a number") < 200, "an error repeats {long} characters");
        run(&create(&project, 1, ""));
        for (wrong, words) in [
            ("groups => '{{a},{b}}'", "groups"),
            ("networks => '{{10.0.0.0/8},{10.1.0.0/16}}', reach => 'listed'", "networks"),
        ] {
            assert_error(&create(&project, 2, &format!(", {wrong}")), "22023", &[words]);
            let update = format!("SELECT nebula.update_peer(peer_id, {wrong}) FROM nebula.peer");
            assert_error(&update, "22023", &[words]);
        }
        let by = format!(", created_by => repeat('{}', 1000)", "x");
        assert_error(&create(&project, 2, &by), "22023", &["created_by"]);
        assert_error(&create(&project, 2, ", networks => '{NULL}', reach => 'listed'"), "22023", &["null"]);
    }

    #[pg_test]
    fn a_peer_expires_at_a_time_that_a_person_can_mean_or_never() {
        let project = project("10.0.0.0/24");
        run(&create(&project, 1, ", expires_at => 'infinity'"));
        let expires = || text("SELECT expires_at FROM nebula.peer");
        assert_eq!(expires(), "null");
        for wrong in ["-infinity", "4000-01-01 BC", "1999-12-31", "200000-01-01"] {
            assert_error(
                &create(&project, 2, &format!(", expires_at => '{wrong}'")),
                "22023",
                &["expires_at"],
            );
            let update =
                format!("SELECT nebula.update_peer(peer_id, expires_at => '{wrong}') FROM nebula.peer");
            assert_error(&update, "22023", &["expires_at"]);
            let told = item(&project, &format!(r#"{{"expiresAt": "{wrong}"}}"#));
            assert!(told.starts_with("22023 expires_at"), "{told}");
        }
        run("SELECT nebula.update_peer(peer_id, expires_at => '2199-01-01') FROM nebula.peer");
        assert!(expires().starts_with("2199"));
        run("SELECT nebula.update_peer(peer_id, expires_at => 'infinity') FROM nebula.peer");
        assert_eq!(expires(), "null");
    }

    #[pg_test]
    fn a_malformed_report_is_refused_in_words_and_a_null_list_is_empty() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        let report = |report: &str| {
            format!(
                "SELECT nebula.sync_node(NULL, device_id, clock_timestamp(), '{report}') FROM nebula.device"
            )
        };
        for wrong in
            ["null", "\"x\"", "[]", r#"{"epoch": "x"}"#, r#"{"obstacles": [1]}"#, r#"{"interfaces": 5}"#]
        {
            assert_error(&report(wrong), "22023", &["cannot be"]);
        }
        for wrong in [
            r#""generation": 1.5"#,
            r#""generation": 1e30"#,
            r#""generation": -1"#,
            r#""counters": "x""#,
            r#""publicKey": "x""#,
            r#""error": 5"#,
            r#""failed": [{"peerId": 5}]"#,
            r#""seen": [{"peerId": "x"}]"#,
            r#""seen": [{"handshakeAt": "2026-02-30T00:00:00Z"}]"#,
            r#""drift": [{}]"#,
            r#""drift": [{"publicKey": "x", "kind": "unknown"}]"#,
        ] {
            let wrong = format!(r#"{{"interfaces": [{{"interfaceId": "{interface}", {wrong}}}]}}"#);
            assert_error(&report(&wrong), "22023", &[]);
        }
        run(&report(r#"{"epoch": null, "obstacles": null, "interfaces": null}"#));
        sync(&interface, r#"'{"generation": 0, "seen": null, "drift": null, "failed": null}'"#);
    }

    #[pg_test]
    fn counters_of_a_node_cannot_break_the_lists_of_others() {
        let project = project("10.0.0.0/24");
        let interface = node(&project);
        run(&create(&project, 1, ""));
        for bytes in ["4611686018427387904", "1", "4611686018427387904", "-5", "1e300", "0", "\"NaN\""] {
            sync(
                &interface,
                &format!(
                    "jsonb_build_object('generation', (SELECT max(generation) FROM nebula.node_interface),
                       'counters', '{}', 'seen', (SELECT jsonb_agg(jsonb_build_object('peerId', peer_id,
                       'receivedBytes', '{bytes}'::jsonb)) FROM nebula.peer))",
                    crate::tests::device(9)
                ),
            );
        }
        assert_eq!(state("peer 1"), "active");
        assert_eq!(text("SELECT received_bytes FROM nebula.peer_status"), i64::MAX.to_string());
        run("UPDATE nebula.peer SET received_bytes = 9223372036854775807");
        assert_eq!(text("SELECT received_bytes FROM nebula.peer_status"), i64::MAX.to_string());
    }
}
