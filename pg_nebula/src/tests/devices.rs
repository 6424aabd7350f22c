//! Names, keys and addresses that devices get.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{assert_error, device, project, run, text};
    use pgrx::prelude::*;

    /// An administrator.
    fn account() -> String {
        run(
            "INSERT INTO nebula.account (username, password_hash, role) VALUES ('anna', '$argon2id$v=19$', 'admin')",
        );
        text("SELECT account_id FROM nebula.account WHERE username = 'anna'")
    }

    fn registration(project: &str, actor: &str, number: u32, name: &str, key: &str) -> String {
        format!(
            "SELECT nebula.register_devices(NULL, '{project}', ARRAY[ROW('{}', '{actor}', '{name}', 'host', '{{}}',
                    '25519', sha256('{key}'), '192.0.2.1', NULL)::nebula.new_device])",
            device(number)
        )
    }

    fn insert(project: &str, number: u32, name: &str, key: &str) {
        run(&format!(
            "INSERT INTO nebula.device (device_id, project_id, name, role, endpoints, curve, public_key)
             VALUES ('{}', '{project}', '{name}', 'host', '{{}}', '25519', sha256('{key}'))",
            device(number)
        ));
    }

    #[pg_test]
    fn devices_that_share_a_name_or_a_key_since_an_earlier_release_renew_and_are_reported() {
        let (project, anna) = (project("10.0.0.0/24"), account());
        insert(&project, 1, "Laptop", "one");
        insert(&project, 2, "laptop", "two");
        insert(&project, 3, "tv", "same");
        insert(&project, 4, "radio", "same");
        let problems = "SELECT string_agg(d.name || ' ' || c.problem, ', ' ORDER BY d.name COLLATE \"C\")
                          FROM nebula.check_pool() c JOIN nebula.device d USING (device_id)";
        assert_eq!(text(problems), "Laptop name-shared, laptop name-shared, radio key-shared, tv key-shared");
        for (number, name, key) in
            [(1, "Laptop", "one"), (2, "laptop", "two"), (3, "tv", "same"), (4, "radio", "same")]
        {
            run(&registration(&project, &anna, number, name, key));
        }
        // A new key for a device of a shared name, and a new name for one of a shared key.
        run(&registration(&project, &anna, 2, "laptop", "three"));
        run(&registration(&project, &anna, 4, "wireless", "same"));
        for (number, name, key) in
            [(1, "LAPTOP", "one"), (5, "TV", "five"), (5, "phone", "same"), (4, "Tv", "same")]
        {
            assert_error(&registration(&project, &anna, number, name, key), "23505", &[]);
        }
        run(&registration(&project, &anna, 1, "notebook", "one"));
        run(&registration(&project, &anna, 4, "wireless", "own"));
        assert_eq!(text(problems), "null");
    }

    #[pg_test]
    fn a_second_code_is_refused_by_what_the_first_one_reserves() {
        let project = project("10.0.0.0/24");
        run(&format!("SELECT nebula.create_enrolment('{project}', name => 'nas', address => '10.0.0.9')"));
        let call = |name: &str, address: &str| {
            format!("SELECT nebula.create_enrolment('{project}', name => '{name}', address => '{address}')")
        };
        assert_error(&call("tv", "10.0.0.9"), "23505", &["address 10.0.0.9"]);
        assert_error(&call("NAS", "10.0.0.8"), "23505", &["name \"nas\""]);
    }

    #[pg_test]
    fn a_code_that_nobody_could_use_is_refused_when_it_is_made() {
        let (project, anna) = (project("10.0.0.0/24"), account());
        run(&registration(&project, &anna, 1, "nas", "one"));
        let named = |name: &str| format!("SELECT nebula.create_enrolment('{project}', name => '{name}')");
        assert_error(&named("NAS"), "23505", &["device \"nas\""]);
        run(&format!("SELECT nebula.revoke_device('{}')", device(1)));
        run(&named("NAS"));
        let lighthouse = format!("nebula.create_enrolment('{project}', role => 'lighthouse'");
        assert_error(&format!("SELECT {lighthouse})"), "22023", &["needs an endpoint"]);
        run(&format!("SELECT {lighthouse}, endpoints => '{{192.0.2.10:4242}}')"));
    }

    #[pg_test]
    fn a_device_joins_with_the_family_that_has_room_and_gets_the_other_address_later() {
        let (project, anna) = (project("10.0.0.0/30"), account());
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00::/126', 'six')"));
        let held = |number: u32| {
            text(&format!(
                "SELECT string_agg(host(ip), ' ' ORDER BY family(ip)) FROM nebula.allocation WHERE device_id = '{}'",
                device(number)
            ))
        };
        for number in 1..=3 {
            run(&registration(&project, &anna, number, &format!("d{number}"), &number.to_string()));
        }
        assert_eq!([held(1), held(2)], ["10.0.0.1 fd00::1", "10.0.0.2 fd00::2"]);
        assert_eq!(held(3), "fd00::3", "IPv4 is full");
        let code = format!("nebula.create_enrolment('{project}', name => 'd4')");
        let enrol = |code: &str| {
            format!(
                "SELECT nebula.register_by_code(NULL, sha256('{code}'), '{project}', '{}', 'd4', '{{}}', '25519', sha256('4'))",
                device(4)
            )
        };
        let code = text(&format!("SELECT replace(code, '-', '') FROM {code}"));
        assert_error(&enrol(&code), "53400", &[]);
        run(&format!("SELECT nebula.release_ip('{}')", device(2)));
        run(&registration(&project, &anna, 3, "d3", "3"));
        assert_eq!(held(3), "10.0.0.2 fd00::3");
        run(&enrol(&code));
        assert_eq!(held(4), "fd00::2");
    }

    #[pg_test]
    fn a_database_without_files_calls_no_object_unknown() {
        let project = project("10.0.0.0/24");
        let unknown = "SELECT count(*) FROM nebula.unknown_objects(NULL, '{files/a, files/b}')";
        assert_error(unknown, "57P03", &["which objects"]);
        run(&format!(
            "WITH c AS (
               INSERT INTO nebula.content (content_id, project_id, size, content_type, storage_key, sha256)
               VALUES (gen_random_uuid(), '{project}', 1, 'text/plain', 'files/a', sha256('a'))
               RETURNING content_id, project_id)
             INSERT INTO nebula.file (file_id, project_id, name, content_id)
             SELECT content_id, project_id, 'a', content_id FROM c"
        ));
        assert_eq!(text(unknown), "1");
        run("INSERT INTO nebula.restore_progress (relation) VALUES ('nebula.file')");
        assert_error(unknown, "57P03", &["which objects"]);
    }
}
