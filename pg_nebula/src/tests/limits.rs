//! Limits of arguments and rows.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pg::limits;
    use crate::tests::{assert_error, device, project, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn texts_have_the_same_limits_in_rust_and_in_sql() {
        for (kind, limit) in [
            ("actor", limits::ACTOR),
            ("worker", limits::WORKER),
            ("cron", limits::CRON),
            ("failure", limits::FAILURE),
        ] {
            assert_eq!(text(&format!("SELECT nebula.text_limit('{kind}')")), limit.to_string(), "{kind}");
        }
    }

    #[pg_test]
    fn texts_that_are_too_long_are_refused_by_name() {
        let project = project("10.0.0.0/24");
        let one = device(1);
        let long = "repeat('x', 100000)";
        for (call, argument) in [
            (format!("nebula.allocate_ip('{project}', '{one}', {long})"), "allocated_by"),
            (format!("nebula.allocate_ips('{project}', '{{{one}}}', {long})"), "allocated_by"),
            (format!("nebula.allocate_dual('{project}', '{one}', {long})"), "allocated_by"),
            (format!("nebula.release_ip('{one}', {long})"), "released_by"),
            (format!("nebula.claim_jobs({long}, '{{a}}')"), "worker"),
            (format!("nebula.reclaim_job(1, 1, {long})"), "worker"),
            ("nebula.next_tick(repeat('0,', 200) || '0 * * * *', 'UTC', now())".into(), "cron"),
            (format!("nebula.next_tick('@daily', {long}, now())"), "time_zone"),
            (format!("nebula.add_rule('{project}', 'inbound', note => {long})"), "note"),
            (format!("nebula.add_rule('{project}', 'inbound', added_by => {long})"), "who did it"),
            (format!("nebula.create_enrolment('{project}', created_by => {long})"), "created_by"),
            (format!("nebula.exclude_addresses('{project}', 'x', '10.0.0.9', reason => {long})"), "reason"),
            (format!("nebula.create_account('anna', '$argon2id$' || {long})"), "password_hash"),
        ] {
            assert_error(&format!("SELECT {call}"), "22023", &[argument, "bytes"]);
        }
        for call in [
            format!("nebula.create_project({long})"),
            format!("nebula.populate_pool('{project}', '10.0.1.0/24', {long})"),
            format!("nebula.exclude_addresses('{project}', {long}, '10.0.0.9')"),
            format!("nebula.schedule_job({long}, '@daily', 'a')"),
            format!("nebula.create_enrolment('{project}', name => {long})"),
            format!("nebula.set_device_groups('{one}', ARRAY[{long}])"),
            format!("nebula.create_account({long}, '$argon2id$')"),
        ] {
            assert_error(&format!("SELECT {call}"), "22023", &["not a valid"]);
        }
        let by_hand = format!(
            "INSERT INTO nebula.firewall_rule (project_id, direction, note) VALUES ('{project}', 'inbound', {long})"
        );
        assert!(crate::tests::error_of(&by_hand).starts_with("23514"));
    }

    #[pg_test]
    fn documents_that_become_part_of_a_row_are_limited_as_payloads_are() {
        let project = project("10.0.0.0/24");
        run(&format!(
            "INSERT INTO nebula.content (content_id, project_id, size, sha256, content_type, storage_key)
             VALUES ('{}', '{project}', 7, sha256('film'), 'video/mp4', 'files/x/original')",
            device(1)
        ));
        run("SELECT nebula.enqueue_job('transcode', '{}')");
        let job = text("SELECT job_id || ', ' || attempt FROM nebula.claim_jobs('w', '{transcode}')");
        let job = format!("{job}, '{}'", device(1));
        let large = "jsonb_build_object('x', repeat('x', 2000000))";
        for call in [
            format!("nebula.plan_renditions({job}, {large})"),
            format!(
                "nebula.add_rendition({job}, 'web', 'files/x/web', 1, sha256('w'), 'video/mp4', {large})"
            ),
            format!("nebula.record_state('disk', 'disk-low', {large})"),
        ] {
            assert_error(&format!("SELECT {call}"), "22023", &["bytes, more than 1048576"]);
        }
        run("SELECT nebula.refuse_call(NULL, NULL, repeat('ü', 100000), NULL, 0)");
        let reason = "SELECT length(detail ->> 'reason') FROM nebula.event WHERE action = 'refuse-call'";
        assert_eq!(text(reason), "500");
    }

    #[pg_test]
    fn the_reason_of_a_failure_is_cut_and_the_job_ends() {
        run("SELECT nebula.enqueue_job('cut', '{}')");
        let claimed = "SELECT job_id || ', ' || attempt FROM nebula.claim_jobs('w', '{cut}')";
        let reason = "repeat('ü', 100000)";
        let claim = text(claimed);
        assert_eq!(text(&format!("SELECT nebula.hand_back_job({claim}, {reason})")), "available");
        let claim = text(claimed);
        assert_eq!(text(&format!("SELECT nebula.fail_job({claim}, {reason}, false)")), "dead");
        let lengths = "SELECT string_agg(octet_length(e ->> 'error')::text, ' ')
                         FROM nebula.job_status, jsonb_array_elements(errors) e WHERE kind = 'cut'";
        assert_eq!(text(lengths), "10000 10000");
    }

    #[pg_test]
    fn lengths_of_time_are_longer_than_zero_and_at_most_100_years() {
        let project = project("10.0.0.0/24");
        let one = device(1);
        run(&format!("SELECT nebula.allocate_ip('{project}', '{one}')"));
        run("SELECT nebula.enqueue_job('a', '{}')");
        run("INSERT INTO nebula.account (username, password_hash) VALUES ('anna', '$argon2id$v=19$')");
        for span in ["-1 day", "0", "100 years 1 day", "250000 years"] {
            for call in [
                format!("nebula.allocate_ip('{project}', '{one}', lease => '{span}')"),
                format!("nebula.allocate_ips('{project}', '{{{one}}}', lease => '{span}')"),
                format!("nebula.allocate_dual('{project}', '{one}', lease => '{span}')"),
                format!("nebula.renew_lease('{one}', '{span}')"),
                format!("nebula.claim_jobs('w', '{{a}}', lease => '{span}')"),
                format!("nebula.reclaim_job(1, 1, 'w', '{span}')"),
                format!("nebula.postpone_job(1, 1, '{span}', 'later')"),
                format!("nebula.enqueue_job('a', '{{}}', unique_key => 'k', unique_for => '{span}')"),
                format!("nebula.open_session(account_id, sha256('x'), '{span}') FROM nebula.account"),
                format!("nebula.create_enrolment('{project}', lifetime => '{span}')"),
            ] {
                assert_error(&format!("SELECT {call}"), "22023", &[]);
            }
        }
        for span in ["-1 day", "100 years 1 day"] {
            assert_error(&format!("SELECT nebula.retain_jobs('a', '{span}')"), "22023", &["retention"]);
            assert_error(&format!("SELECT nebula.prune_jobs('{span}')"), "22023", &["older_than"]);
        }
        run(&format!("SELECT nebula.renew_lease('{one}', '100 years')"));
        for after in ["infinity", "-infinity", "12000-01-01", "4000-01-01 BC"] {
            assert_error(
                &format!("SELECT nebula.next_tick('@daily', 'UTC', '{after}')"),
                "22023",
                &["after"],
            );
        }
    }

    #[pg_test]
    fn lists_are_flat_and_options_are_objects() {
        let project = project("10.0.0.0/24");
        run(
            "INSERT INTO nebula.account (username, password_hash, role) VALUES ('anna', '$argon2id$v=19$', 'admin')",
        );
        for call in [
            format!("nebula.set_thresholds('{project}', 'default', '{{{{80}},{{90}}}}')"),
            format!("nebula.set_thresholds('{project}', 'default', '{{80,NULL}}')"),
            format!("nebula.add_rule('{project}', 'inbound', remote_groups => '{{{{a}},{{b}}}}')"),
            format!("nebula.add_rule('{project}', 'inbound', remote_groups => '{{a,NULL}}')"),
            format!("nebula.add_rule('{project}', 'sideways')"),
            format!("nebula.add_rule('{project}', 'inbound', protocol => NULL)"),
            format!("nebula.add_rule('{project}', 'inbound', port_first => 70000)"),
            format!("nebula.add_rule('{project}', 'inbound', port_first => 80, port_last => 22)"),
            format!("nebula.add_rule('{project}', 'inbound', port_last => 22)"),
            format!("nebula.add_rule('{project}', 'inbound', protocol => 'icmp', port_first => 1)"),
            format!(
                "nebula.add_rule('{project}', 'inbound', for_group => 'a', for_device => '{}')",
                device(1)
            ),
            format!("nebula.set_device_groups('{}', '{{{{a}},{{b}}}}')", device(1)),
            format!("nebula.create_enrolment('{project}', groups => '{{{{a}},{{b}}}}')"),
        ] {
            assert!(
                ["22023", "P0002"].contains(&&*crate::tests::attempt(&format!("SELECT {call}"))[0]),
                "{call}"
            );
            assert_ne!(crate::tests::attempt(&format!("SELECT {call}"))[2], "", "{call}");
        }
        for changes in [
            "NULL",
            "'[]'",
            "'[\"mtu\"]'",
            "'\"mtu\"'",
            "'{\"mtuu\": 1}'",
            "'{\"mtu\": \"1400\"}'",
            "'{\"mtu\": 1400.5}'",
            "'{\"mtu\": 100}'",
            "'{\"mtu\": 0}'",
            "'{\"mtu\": 1e12}'",
            "'{\"certificateVersions\": 0}'",
            "'{\"certificateVersions\": [3]}'",
            "'{\"certificateVersions\": []}'",
            "'{\"certificateVersions\": [1,1]}'",
            "'{\"cipher\": \"rot13\"}'",
            "'{\"punchy\": 1}'",
            "'{\"dnsPort\": 70000}'",
            "'{\"dnsDomain\": \"Home.arpa\"}'",
            "'{\"dnsDomain\": \"home.arpa.\"}'",
            "'{\"dnsDomain\": \"printer.local\"}'",
            "'{\"dnsDomain\": \"~.\"}'",
            "'{\"dnsDomain\": 53}'",
            "'{\"inbound\": \"ajar\"}'",
            "'{\"syncHashers\": -1}'",
            "'{\"lifetimeSeconds\": 1}'",
            "'{\"lifetimeSeconds\": 400000000}'",
        ] {
            let call = format!(
                "SELECT nebula.set_project_options(account_id, '{project}', {changes}) FROM nebula.account"
            );
            assert_error(&call, "22023", &["option"]);
        }
        for changes in [
            "{}",
            "{\"version\": 7, \"mtu\": null}",
            "{\"mtu\": 1400}",
            "{\"certificateVersions\": 1}",
            "{\"certificateVersions\": [2, 1]}",
            "{\"syncOrder\": \"\"}",
            "{\"dnsDomain\": \"home.arpa\"}",
            "{\"dnsDomain\": \"\"}",
            "{\"lifetimeSeconds\": 311040000}",
        ] {
            run(&format!(
                "SELECT nebula.set_project_options(account_id, '{project}', '{changes}') FROM nebula.account"
            ));
        }
    }

    #[pg_test]
    fn ipv6_has_an_mtu_of_1280_wherever_one_is_set() {
        let project = project("10.0.0.0/24");
        run(
            "INSERT INTO nebula.account (username, password_hash, role) VALUES ('anna', '$argon2id$v=19$', 'admin')",
        );
        let option = |mtu: u32| {
            format!(
                "SELECT nebula.set_project_options(account_id, '{project}', '{{\"mtu\": {mtu}}}') FROM nebula.account"
            )
        };
        let six = format!("SELECT nebula.populate_pool('{project}', 'fd00::/64', 'six')");
        run(&option(1279));
        assert_error(&six, "22023", &["1279", "fd00::/64"]);
        run(&option(1280));
        run(&six);
        assert_error(&option(1279), "22023", &["1279", "\"six\""]);
        run(&format!("SELECT nebula.allocate_dual('{project}', '{}')", device(1)));
        crate::tests::register(&project, 1, "host");
        let route = |network: &str, mtu: u32| {
            format!("SELECT nebula.add_route('{project}', '{network}', '{}', mtu => {mtu})", device(1))
        };
        assert_error(&route("fd77::/64", 1279), "22023", &["1279"]);
        assert_error(&route("192.168.7.0/24", 499), "22023", &["499"]);
        assert_error(&route("192.168.7.0/24", 9002), "22023", &["9002"]);
        run(&route("fd77::/64", 1280));
        run(&route("192.168.7.0/24", 500));
    }

    #[pg_test]
    fn names_are_the_same_letters_in_every_locale() {
        // By code points, since the test database may have no encoding.
        if text("SELECT current_setting('server_encoding')") != "UTF8" {
            return;
        }
        for (name, is_name, is_label) in [
            ("Küche.pi_4", true, true),
            ("u\u{308}ber", true, true),
            ("台所", true, true),
            ("𝒳1", true, true),
            ("a b", false, true),
            (" a", false, false),
            ("_a", false, false),
            ("", false, false),
            ("a\u{A0}b", false, false),
            ("a\u{202E}b", false, false),
            ("a\u{200B}", false, false),
            ("a\u{85}", false, false),
            ("a\nb", false, false),
            ("a\n", false, false),
            ("€", false, false),
            (&"ü".repeat(63), true, true),
            (&"ü".repeat(64), false, false),
        ] {
            let both =
                text(&format!("SELECT nebula.is_name($n${name}$n$) || ' ' || nebula.is_label($n${name}$n$)"));
            assert_eq!(both, format!("{is_name} {is_label}"), "{name:?}");
            let c = text(&format!("SELECT nebula.is_name($n${name}$n$ COLLATE \"C\")"));
            assert_eq!(c, is_name.to_string(), "{name:?} in another locale");
        }
    }
}
