use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::peers::{create, key};
    use crate::tests::{assert_error, attempt, project, register, run, text};
    use pgrx::prelude::*;

    /// Accounts bob and eve, members of the project, its administrator cleo, and the administrator of all, anna; and an
    /// agent's node, so that what is created is not applied at once.
    fn accounts(project: &str) {
        run("SELECT nebula.create_account(n, '$argon2id$x', CASE n WHEN 'anna' THEN 'admin' ELSE 'member' END)
               FROM unnest('{anna,bob,cleo,eve,stranger}'::text[]) n");
        run(&format!(
            "SELECT nebula.add_member('{project}', 'bob'), nebula.add_member('{project}', 'eve'),
                    nebula.add_member('{project}', 'cleo', 'admin')"
        ));
        register(project, 1, "host");
        run("SELECT nebula.tie_node(nebula.register_node('a', 'a.example:1'), device_id) FROM nebula.device");
    }

    fn account(name: &str) -> String {
        text(&format!("SELECT account_id FROM nebula.account WHERE username = '{name}'"))
    }

    /// The result of creating one peer for an account.
    fn create_for(name: &str, project: &str, number: u32, fields: &str) -> String {
        text(&format!(
            "SELECT concat_ws(' ', r ->> 'made', r #>> '{{error,sqlstate}}', r #>> '{{error,detail}}')
               FROM nebula.create_peers_for('{}', '{project}', jsonb_build_array(jsonb_build_object(
                 'publicKey', {}, 'name', 'p{number}') || '{fields}'), 'auto', NULL) r",
            account(name),
            key(number)
        ))
    }

    #[pg_test]
    fn a_repeated_creation_is_the_same_peer_only_for_its_account_and_administrators() {
        let project = project("10.0.0.0/24");
        accounts(&project);
        let id = r#"{"peerId": "00000000-0000-4000-8000-0000000000aa"}"#;
        assert_eq!(create_for("bob", &project, 1, id), "true");
        assert_eq!(create_for("bob", &project, 1, id), "false");
        assert_eq!(create_for("anna", &project, 1, id), "false");
        let told = create_for("eve", &project, 1, id);
        assert!(told.starts_with("23505") && told.contains("another account"), "{told}");
        run("UPDATE nebula.placement SET deadline = now() + interval '1 min'");
        let withdrawn = |name: &str| {
            text(&format!(
                "SELECT count(*) FROM nebula.withdraw_peers_for('{}', ARRAY(SELECT peer_id FROM nebula.peer), 'late')",
                account(name)
            ))
        };
        let seen = |name: &str| {
            text(&format!(
                "SELECT count(*) FROM nebula.peers_applied('{}', ARRAY(SELECT peer_id FROM nebula.peer))",
                account(name)
            ))
        };
        assert_eq!(
            [withdrawn("eve"), withdrawn("stranger"), seen("eve"), seen("stranger")],
            ["0", "0", "1", "0"]
        );
        assert_eq!(withdrawn("bob"), "1");
    }

    #[pg_test]
    fn a_peer_belongs_to_an_account_and_not_to_a_name() {
        let project = project("10.0.0.0/24");
        accounts(&project);
        run(&create(&project, 1, ", created_by => 'bob'"));
        let rename = |name: &str| {
            format!(
                "SELECT nebula.update_peer_for('{}', peer_id, '{{\"name\": \"x\"}}') FROM nebula.peer",
                account(name)
            )
        };
        assert_error(&rename("bob"), "42501", &["bob"]);
        assert_eq!(attempt(&rename("anna"))[0], "00000");
        run(
            "UPDATE nebula.peer SET creator_id = (SELECT account_id FROM nebula.account WHERE username = 'bob'), created_by = 'eve'",
        );
        assert_eq!(attempt(&rename("bob"))[0], "00000");
        assert_error(&rename("eve"), "42501", &["eve"]);
    }

    #[pg_test]
    fn members_leave_the_overlay_only_where_the_project_lets_them_and_never_to_private_networks() {
        let project = project("10.0.0.0/24");
        accounts(&project);
        let all = r#"{"reach": "all"}"#;
        let lan = r#"{"reach": "listed", "networks": ["192.168.0.0/16"]}"#;
        let wide = r#"{"reach": "listed", "networks": ["8.8.8.0/24", "10.128.0.0/9"]}"#;
        let far = r#"{"reach": "listed", "networks": ["8.8.8.0/24"]}"#;
        let inside = r#"{"reach": "listed", "networks": ["10.0.0.0/25"]}"#;
        for reach in [all, lan, wide, far] {
            let told = create_for("eve", &project, 1, reach);
            assert!(told.starts_with("42501") && told.contains("the overlay only"), "{reach}: {told}");
        }
        assert_eq!(create_for("eve", &project, 1, inside), "true");
        assert_eq!(create_for("anna", &project, 2, lan), "true");
        let change = |name: &str, number: u32, changes: &str| {
            format!(
                "SELECT nebula.update_peer_for('{}', peer_id, '{changes}') FROM nebula.peer WHERE name = 'p{number}'",
                account(name)
            )
        };
        assert_error(&change("eve", 1, all), "42501", &["reach all"]);
        assert_error(&change("eve", 1, r#"{"networks": ["192.168.0.0/16"]}"#), "42501", &["192.168.0.0/16"]);
        run(&format!(
            "SELECT nebula.set_project_options('{}', '{project}', '{{\"memberReach\": \"internet\"}}')",
            account("anna")
        ));
        assert_eq!(
            [create_for("eve", &project, 3, all), create_for("eve", &project, 4, far)],
            ["true", "true"]
        );
        for reach in [lan, wide] {
            let told = create_for("eve", &project, 5, reach);
            assert!(told.starts_with("42501") && told.contains("private network"), "{reach}: {told}");
        }
        assert_error(&change("eve", 4, lan), "42501", &["private network"]);
        // The reach that an administrator gave it stays when its account changes something else.
        run("UPDATE nebula.peer SET reach = 'listed', networks = '{192.168.0.0/16}' WHERE name = 'p1'");
        assert_eq!(attempt(&change("eve", 1, r#"{"disabled": true}"#))[0], "00000");
    }

    #[pg_test]
    fn what_an_administrator_disabled_only_an_administrator_enables_or_removes() {
        let project = project("10.0.0.0/24");
        accounts(&project);
        assert_eq!(create_for("bob", &project, 1, "{}"), "true");
        let set = |name: &str, changes: &str| {
            format!(
                "SELECT nebula.update_peer_for('{}', peer_id, '{changes}') FROM nebula.peer",
                account(name)
            )
        };
        let (disable, enable) = (r#"{"disabled": true}"#, r#"{"disabled": false}"#);
        let disabled =
            || text("SELECT concat_ws(' ', disabled_at IS NOT NULL, reason) FROM nebula.peer_status");
        // Its account enables a peer that it disabled itself.
        for (name, changes) in [("bob", disable), ("bob", enable), ("bob", disable), ("anna", enable)] {
            assert_eq!(attempt(&set(name, changes))[0], "00000", "{name} {changes}");
        }
        for block in [
            set("anna", disable),
            set("cleo", disable),
            "SELECT nebula.update_peer(peer_id, disabled => true) FROM nebula.peer".to_owned(),
        ] {
            run(&block);
            run(&set("bob", disable));
            run(&set("bob", r#"{"name": "still mine"}"#));
            for changes in [enable, r#"{"disabled": null}"#] {
                assert_error(&set("bob", changes), "42501", &["an administrator disabled peer"]);
            }
            let removed = format!(
                "SELECT r #>> '{{error,sqlstate}}' FROM nebula.remove_peers_for('{}', ARRAY(SELECT peer_id FROM nebula.peer)) r",
                account("bob")
            );
            assert_eq!(text(&removed), "42501");
            assert_eq!(disabled(), "t disabled by an administrator");
            run(&set("cleo", enable));
            assert!(disabled().starts_with('f'), "{}", disabled());
        }
        assert_eq!(create_for("anna", &project, 2, disable), "true");
        run(
            "UPDATE nebula.peer SET creator_id = (SELECT account_id FROM nebula.account WHERE username = 'bob')",
        );
        assert_error(
            &format!("{} WHERE name = 'p2'", set("bob", enable)),
            "42501",
            &["disabled peer \"p2\""],
        );
    }

    #[pg_test]
    fn an_end_that_an_administrator_set_only_an_administrator_extends_and_it_stays_when_it_has_passed() {
        let project = project("10.0.0.0/24");
        accounts(&project);
        assert_eq!(create_for("bob", &project, 1, "{}"), "true");
        let set = |name: &str, end: &str| {
            format!(
                "SELECT nebula.update_peer_for('{}', peer_id, jsonb_build_object('expiresAt', {end})) FROM nebula.peer",
                account(name)
            )
        };
        let (soon, later, never) =
            ("now() + interval '1 day'", "now() + interval '2 days'", "NULL::timestamptz");
        // Its own end an account changes as it likes.
        for end in [soon, later, never] {
            assert_eq!(attempt(&set("bob", end))[0], "00000", "{end}");
        }
        for by_admin in [
            set("anna", soon),
            set("cleo", soon),
            format!("SELECT nebula.update_peer(peer_id, expires_at => {soon}) FROM nebula.peer"),
        ] {
            run(&by_admin);
            for end in [later, never] {
                assert_error(&set("bob", end), "42501", &["an administrator set the end of peer"]);
            }
            for end in [soon, "now() + interval '1 hour'", soon] {
                assert_eq!(attempt(&set("bob", end))[0], "00000", "{end}");
            }
            run(&set("anna", never));
            assert_eq!(attempt(&set("bob", never))[0], "00000");
        }
        run(&set("anna", soon));
        run(
            "UPDATE nebula.peer SET expires_at = now() - interval '1 hour', admin_expires_at = now() - interval '1 hour'",
        );
        assert_error(&set("bob", soon), "42501", &["an administrator set the end"]);
        let enable = |name: &str| {
            format!(
                "SELECT nebula.update_peer_for('{}', peer_id, '{{\"disabled\": false}}') FROM nebula.peer",
                account(name)
            )
        };
        assert_error(&enable("bob"), "42501", &["expired at the end that an administrator set"]);
        let removed = |name: &str| {
            text(&format!(
                "SELECT coalesce(r #>> '{{error,sqlstate}}', 'removed')
                   FROM nebula.remove_peers_for('{}', ARRAY(SELECT peer_id FROM nebula.peer)) r",
                account(name)
            ))
        };
        assert_eq!([removed("bob"), removed("anna")], ["42501", "removed"]);
        // A peer that an administrator creates with an end, and that is of another account later.
        assert_eq!(create_for("anna", &project, 2, r#"{"expiresAt": "2040-01-01T00:00:00Z"}"#), "true");
        run(
            "UPDATE nebula.peer SET creator_id = (SELECT account_id FROM nebula.account WHERE username = 'bob')
              WHERE name = 'p2'",
        );
        assert_error(&format!("{} WHERE name = 'p2'", set("bob", never)), "42501", &["peer \"p2\""]);
    }

    #[pg_test]
    fn a_peer_of_a_member_reaches_what_is_public_and_no_network_behind_its_node() {
        let project = project("10.0.0.0/24");
        accounts(&project);
        run("UPDATE nebula.project SET member_reach = 'internet'");
        run("SELECT nebula.allocate_ip(project_id, device_id) FROM nebula.device");
        let all = r#"{"reach": "all"}"#;
        let listed = r#"{"reach": "listed", "networks": ["192.168.7.0/24", "10.0.0.0/25"]}"#;
        assert_eq!(create_for("bob", &project, 1, all), "true");
        assert_eq!(create_for("anna", &project, 2, all), "true");
        assert_eq!(create_for("anna", &project, 3, listed), "true");
        assert_eq!(create_for("bob", &project, 4, r#"{"reach": "overlay"}"#), "true");
        let told = |field: &str| {
            text(&format!(
                "SELECT nebula.sync_node(NULL, device_id, clock_timestamp(), '{{}}') #> '{{interfaces,0,{field}}}'
                   FROM nebula.device"
            ))
        };
        let address = |number: u32| {
            text(&format!(
                "SELECT host(a.ip) FROM nebula.allocation a JOIN nebula.peer e ON e.peer_id = a.device_id
                  WHERE e.name = 'p{number}' AND family(a.ip) = 4"
            ))
        };
        let internet = told("internet");
        assert!(internet.contains(&format!("\"{}\"", address(1))), "{internet}");
        for number in 2..=4 {
            assert!(!internet.contains(&format!("\"{}\"", address(number))), "{number}: {internet}");
        }
        let sources = |destinations: &str| {
            text(&format!(
                "SELECT string_agg(n ->> 'sources', '') FROM jsonb_array_elements('{}') n
                  WHERE n ->> 'destinations' = '{destinations}'",
                told("networks")
            ))
        };
        let (everything, lan) = (sources(r#"["0.0.0.0/0", "::/0"]"#), sources(r#"["192.168.7.0/24"]"#));
        assert!(everything.contains(&address(2)) && !everything.contains(&address(3)), "{everything}");
        assert!(lan.contains(&address(3)) && !lan.contains(&address(2)), "{lan}");
        // The account is no administrator any more.
        run("UPDATE nebula.account SET role = 'member' WHERE username = 'anna'");
        assert!(told("internet").contains(&address(2)));
    }

    #[pg_test]
    fn a_peer_whose_account_was_deleted_reaches_no_network_behind_its_node_and_one_made_by_sql_does() {
        let project = project("10.0.0.0/24");
        accounts(&project);
        run("UPDATE nebula.project SET member_reach = 'internet'");
        run("SELECT nebula.allocate_ip(project_id, device_id) FROM nebula.device");
        let all = r#"{"reach": "all"}"#;
        assert_eq!(create_for("bob", &project, 1, all), "true");
        assert_eq!(create_for("anna", &project, 2, all), "true");
        run(&create(&project, 3, ", reach => 'all'"));
        run(&format!(
            "SELECT nebula.create_peers('{project}', ARRAY[jsonb_build_object(
               'publicKey', {}, 'name', 'p4', 'reach', 'all')])",
            key(4)
        ));
        let beyond = || {
            text(
                "SELECT string_agg(right(e.name, 1) || CASE WHEN r -> 'internet' ? host(a.ip) THEN ' internet'
                                     WHEN r #> '{networks,0,sources}' ? host(a.ip) THEN ' everything' END,
                                   ', ' ORDER BY right(e.name, 1))
                   FROM nebula.device d
                  CROSS JOIN LATERAL (SELECT nebula.sync_node(NULL, d.device_id, clock_timestamp(), '{}')
                                             #> '{interfaces,0}' OFFSET 0) s(r)
                   JOIN nebula.allocation a ON family(a.ip) = 4
                   JOIN nebula.peer e ON e.peer_id = a.device_id",
            )
        };
        assert_eq!(beyond(), "1 internet, 2 everything, 3 everything, 4 everything");
        run("DELETE FROM nebula.account WHERE username IN ('anna', 'bob')");
        assert_eq!(beyond(), "1 internet, 2 internet, 3 everything, 4 everything");
    }

    #[pg_test]
    fn a_list_of_peers_is_read_in_pages() {
        let project = project("10.0.0.0/24");
        accounts(&project);
        for number in 1..=5 {
            run(&create(&project, number, ""));
        }
        let page = |after: &str, max: &str| {
            format!(
                "SELECT string_agg(p ->> 'name', ', ') FROM nebula.list_peers('{}', NULL,
                   (SELECT peer_id FROM nebula.peer WHERE name = '{after}'), {max}) p",
                account("bob")
            )
        };
        assert_eq!(text(&page("", "2")), "peer 1, peer 2");
        assert_eq!(text(&page("peer 2", "2")), "peer 3, peer 4");
        assert_eq!(text(&page("peer 4", "NULL")), "peer 5");
        assert_error(&page("", "0"), "22023", &["max"]);
        let list =
            "SELECT nebula.list_peers(a.account_id, NULL, p.peer_id) FROM nebula.account a, nebula.peer p
                     WHERE a.username = 'stranger'";
        assert_error(list, "P0002", &["there is no peer"]);
    }
}
