//! Endpoints: where devices are reached on the underlay.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{assert_error, device, project, run, text};
    use pgrx::prelude::*;

    fn insert(project: &str, number: u32, role: &str, endpoints: &str) -> String {
        format!(
            "INSERT INTO nebula.device (device_id, project_id, name, role, endpoints, curve, public_key)
             VALUES ('{}', '{project}', 'd{number}', '{role}', '{endpoints}', '25519', sha256('{number}'))",
            device(number)
        )
    }

    fn update(number: u32, change: &str) -> String {
        format!("UPDATE nebula.device SET {change} WHERE device_id = '{}'", device(number))
    }

    #[pg_test]
    fn the_database_agrees_with_the_gateway_on_which_endpoints_no_other_device_can_use() {
        let cases = include_str!("../../../tests/fixtures/endpoints.txt");
        let cases: Vec<_> = cases
            .lines()
            .filter(|line| !line.starts_with('#') && line.is_ascii())
            .map(|line| line.split_once(" |").expect("endpoint | fault"))
            .collect();
        assert!(cases.len() > 50, "{}", cases.len());
        for (endpoint, wanted) in cases {
            let fault = format!("coalesce(nebula.endpoint_fault($e${endpoint}$e$), '')");
            assert_eq!(text(&format!("SELECT {fault}")), wanted.trim(), "{endpoint}");
        }
        assert_eq!(text(r"SELECT nebula.endpoint_fault(E'lh:1\n')"), "is not host:port");
    }

    #[pg_test]
    fn an_endpoint_that_no_other_device_can_use_is_refused_whoever_writes_it() {
        let project = project("10.0.0.0/24");
        for role in ["host", "relay", "lighthouse"] {
            for endpoints in [
                "{127.0.0.1:4242}",
                "{lh:1,1.2.3:4242}",
                "{[::ffff:192.0.2.1]:1}",
                "{NULL}",
                "{{lh:1},{lh:2}}",
            ] {
                assert_error(&insert(&project, 1, role, endpoints), "22023", &["endpoint"]);
            }
        }
        let many: Vec<_> = (1..18).map(|port| format!("lh:{port}")).collect();
        assert_error(
            &insert(&project, 1, "host", &format!("{{{}}}", many.join(","))),
            "22023",
            &["17 endpoints"],
        );
        run(&insert(&project, 1, "lighthouse", "{192.0.2.1:4242}"));
        assert_error(&update(1, "endpoints = '{0.0.0.0:4242}'"), "22023", &["0.0.0.0/8"]);
        assert_error(&update(1, "endpoints = '{10.0.0.9:4242}'"), "22023", &["10.0.0.9", "a pool"]);
        let code = |endpoint: &str| {
            format!(
                "SELECT nebula.create_enrolment('{project}', role => 'lighthouse', endpoints => '{{{endpoint}}}')"
            )
        };
        assert_error(&code("255.255.255.255:4242"), "22023", &["240.0.0.0/4"]);
        // The code may be for the time after the device that has the endpoint now.
        run(&code("192.0.2.1:4242"));
        assert_error("UPDATE nebula.enrolment SET endpoints = '{localhost:1}'", "22023", &["loopback"]);
    }

    #[pg_test]
    fn two_static_hosts_of_a_project_do_not_share_an_endpoint() {
        let project = project("10.0.0.0/24");
        run(&insert(&project, 1, "lighthouse", "{192.0.2.1:4242,LH.example.net:4242,[2001:db8::1]:4242}"));
        for same in ["192.0.2.1:4242", "lh.example.NET:4242", "[2001:db8:0::1]:4242"] {
            assert_error(&insert(&project, 2, "relay", &format!("{{{same}}}")), "23505", &["\"d1\""]);
        }
        // A host is not reached by its endpoints, and another port is another device behind the same router.
        run(&insert(&project, 2, "host", "{192.0.2.1:4242}"));
        run(&insert(&project, 3, "relay", "{192.0.2.1:4243}"));
        assert_error(&update(2, "role = 'relay'"), "23505", &["192.0.2.1:4242", "\"d1\""]);
        let other = text("SELECT nebula.create_project('other')");
        run(&insert(&other, 4, "lighthouse", "{192.0.2.1:4242}"));
        run(&update(1, "revoked_at = now()"));
        run(&update(2, "role = 'relay'"));
    }

    #[pg_test]
    fn endpoints_from_an_earlier_release_stay_until_they_change_and_are_reported() {
        let project = project("10.0.0.0/24");
        run("SET session_replication_role = replica");
        run(&insert(&project, 1, "lighthouse", "{127.0.0.1:4242,192.0.2.1:4242}"));
        run("SET session_replication_role = origin");
        assert_eq!(
            text("SELECT problem || ': ' || detail FROM nebula.check_pool()"),
            "endpoint-unusable: endpoint \"127.0.0.1:4242\" lies in 127.0.0.0/8, the loopback; configurations leave it out"
        );
        run(&update(1, "endpoints = endpoints || '{192.0.2.2:4242}'"));
        run(&update(1, "endpoints = endpoints, role = 'relay'"));
        assert_error(&update(1, "endpoints = endpoints || '{127.0.0.2:1}'"), "22023", &["127.0.0.2:1"]);
        run(&update(1, "endpoints = '{192.0.2.2:4242}'"));
        assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0");
    }

    #[pg_test]
    fn dns_and_nebula_do_not_share_a_port_of_a_lighthouse() {
        let project = project("10.0.0.0/24");
        run(
            "INSERT INTO nebula.account (username, password_hash, role) VALUES ('anna', '$argon2id$v=19$', 'admin')",
        );
        let option = |changes: &str| {
            format!(
                "SELECT nebula.set_project_options(account_id, '{project}', '{changes}') FROM nebula.account"
            )
        };
        run(&insert(&project, 1, "lighthouse", "{192.0.2.1:5353}"));
        for port in [4242, 5353] {
            assert_error(&option(&format!("{{\"dnsPort\": {port}}}")), "22023", &["DNS"]);
        }
        run(&option("{\"dnsPort\": 53}"));
        assert_error(&insert(&project, 2, "lighthouse", "{192.0.2.2:53}"), "22023", &["DNS"]);
        run(&insert(&project, 2, "relay", "{192.0.2.2:53}"));
    }
}
