//! The record of events: who did what in which request, how long it is kept, and who sees it.

use pgrx::prelude::*;

use super::proof::{of_gateway, set_up};
use super::*;

/// Columns of the last event of this action.
fn event(action: &str, columns: &str) -> String {
    text(&format!(
        "SELECT {columns} FROM nebula.event WHERE action = '{action}' ORDER BY event_id DESC LIMIT 1"
    ))
}

/// An account that sees no project yet.
fn account(name: &str) -> String {
    text(&format!("SELECT nebula.create_account('{name}', '$argon2id$', 'member')"))
}

/// Writes an event in a project.
fn record(project: &str, actor: &str, action: &str, subject: &str) {
    run(&format!("SELECT nebula.record_event('{project}', '{actor}', '{action}', 'device', '{subject}')"));
}

/// Actions that an account sees with this filter, in the order of the answer.
fn seen(account: &str, filter: &str) -> String {
    text(&format!(
        "SELECT coalesce(string_agg(action, ' '), '') FROM nebula.list_events('{account}',
           jsonb_populate_record(NULL::nebula.event_filter, '{filter}'))"
    ))
}

#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn an_event_names_the_account_the_request_and_the_client_of_its_statement() {
        let set = set_up();
        let project = text("SELECT project_id FROM nebula.project");
        let token = set.of_session();
        let call = |request: &str, network: &str| {
            run(&format!(
                "SELECT nebula.add_rule_for(nebula.actor('{token}{request}'),
                   '{{\"projectId\": \"{project}\", \"direction\": \"inbound\", \"protocol\": \"any\", \"remoteCidr\": \"{network}\"}}')"
            ));
        };
        let who = "concat_ws(' ', actor, actor_kind, actor_id, coalesce(request_id, '-'), coalesce(host(client), '-'))";
        call(" request-1 192.0.2.7", "10.1.0.0/16");
        assert_eq!(event("create", who), format!("anna account {} request-1 192.0.2.7", set.account));
        // Each statement brings its own, also in one transaction.
        call(" request-2 2001:db8::1", "10.2.0.0/16");
        assert_eq!(event("create", who), format!("anna account {} request-2 2001:db8::1", set.account));
        call("", "10.3.0.0/16");
        assert_eq!(event("create", "request_id"), "null");
    }

    #[pg_test]
    fn a_function_that_knows_only_the_login_records_the_account_that_acts() {
        let set = set_up();
        let project = text("SELECT project_id FROM nebula.project");
        register(&project, 1, "host");
        let token = set.of_session();
        let device = device(1);
        run(&format!("SELECT nebula.set_device_groups_for(nebula.actor('{token}'), '{device}', '{{web}}')"));
        assert_eq!(event("set-groups", "actor || ' ' || actor_kind"), "anna account");
        assert_eq!(
            event("set-groups", "detail"),
            r#"{"after": {"groups": ["web"]}, "before": {"groups": []}}"#
        );
        run(&format!("SELECT nebula.actor('{}')", of_gateway()));
        run(&format!("SELECT nebula.set_device_groups('{device}', '{{}}')"));
        assert_eq!(event("set-groups", "actor = session_user AND actor_kind = 'login'"), "true");
    }

    #[pg_test]
    fn parts_of_the_system_are_no_accounts_and_who_signs_in_is_one() {
        let set = set_up();
        let project = text("SELECT project_id FROM nebula.project");
        run(&format!("SELECT nebula.actor('{}')", of_gateway()));
        for (actor, kind) in [
            ("agent", "agent"),
            ("gateway", "gateway"),
            ("maintenance", "system"),
            ("anna", "account"),
            ("postgres", "login"),
        ] {
            record(&project, actor, "try", "x");
            assert_eq!(event("try", "actor_kind"), kind, "{actor}");
        }
        record(&project, "anna", "try", "x");
        assert_eq!(event("try", "actor_id"), set.account);
    }

    #[pg_test]
    fn devices_that_register_in_one_statement_keep_their_requests_apart() {
        set_up();
        let project = text("SELECT project_id FROM nebula.project");
        run(&format!("SELECT nebula.populate_pool('{project}', '10.0.0.0/24')"));
        let accounts = [account("ben"), account("eva")];
        for name in ["ben", "eva"] {
            run(&format!("SELECT nebula.add_member('{project}', '{name}', 'member')"));
        }
        let devices = (1..=4).map(|number: u32| {
            let account = &accounts[usize::from(number % 2 == 1)];
            format!(
                "ROW('{}', '{account}', 'd{number}', 'host', '{{}}', '25519', sha256('{number}'), '192.0.2.{number}',
                     'request-{number}')",
                device(number)
            )
        });
        let devices = devices.collect::<Vec<_>>().join(", ");
        run(&format!(
            "SELECT nebula.register_devices(NULL, '{project}', ARRAY[{devices}]::nebula.new_device[])"
        ));
        assert_eq!(
            text(
                "SELECT string_agg(concat_ws(' ', actor, detail ->> 'name', host(client), request_id), ', '
                                   ORDER BY request_id)
                   FROM nebula.event WHERE action = 'register' AND actor_id IN
                        (SELECT account_id FROM nebula.account WHERE username = actor)"
            ),
            "eva d1 192.0.2.1 request-1, ben d2 192.0.2.2 request-2, \
             eva d3 192.0.2.3 request-3, ben d4 192.0.2.4 request-4"
        );
    }

    #[pg_test]
    fn events_are_written_directly_into_the_segment_that_is_current() {
        let project = project("10.0.0.0/24");
        run("SELECT nebula.switch_event_segment(5)");
        record(&project, "anna", "first", "x");
        run("SELECT nebula.switch_event_segment(6)");
        record(&project, "anna", "second", "x");
        run("SET nebula.direct_writes = off");
        record(&project, "anna", "third", "x");
        assert_eq!(
            text("SELECT string_agg(action || ' ' || tableoid::regclass, ', ' ORDER BY event_id) FROM nebula.event
                   WHERE subject_id = 'x'"),
            "first nebula.event_5, second nebula.event_6, third nebula.event_6"
        );
    }

    #[pg_test]
    fn old_events_go_by_segments_and_what_is_younger_stays() {
        let project = project("10.0.0.0/24");
        run("SET nebula.event_retention = '140d'");
        let age = |days: i32| {
            run(&format!("UPDATE nebula.event SET at = now() - interval '{days} days' WHERE subject_id = 'x' AND segment =
                            (SELECT last_value FROM nebula.event_segment_seq);
                          UPDATE nebula.event_segment SET opened_at = now() - interval '{days} days' WHERE segment =
                            (SELECT last_value FROM nebula.event_segment_seq)"));
        };
        let current = || text("SELECT last_value FROM nebula.event_segment_seq");
        run("SELECT nebula.maintain_events()");
        let first = current();
        record(&project, "anna", "first", "x");
        run("SELECT nebula.maintain_events()");
        assert_eq!(current(), first, "a fourteenth of the time has not passed");
        age(11);
        run("SELECT nebula.maintain_events()");
        assert_ne!(current(), first);
        record(&project, "anna", "second", "x");
        age(139);
        run(&format!("UPDATE nebula.event SET at = now() - interval '141 days' WHERE segment = {first}"));
        run("SET nebula.event_retention = 0");
        run("SELECT nebula.maintain_events()");
        let left = || text("SELECT string_agg(action, ' ') FROM nebula.event WHERE subject_id = 'x'");
        assert_eq!(left(), "first second", "zero keeps all");
        run("SET nebula.event_retention = '140d'");
        run("SELECT nebula.maintain_events()");
        assert_eq!(left(), "second");
    }

    #[pg_test]
    fn accounts_see_events_of_their_projects_and_operators_all() {
        let operator = set_up().account;
        let [mine, other] =
            ["mine", "other"].map(|name| text(&format!("SELECT nebula.create_project('{name}')")));
        let (viewer, stranger) = (account("ben"), account("eva"));
        run(&format!("SELECT nebula.add_member('{mine}', 'ben', 'viewer')"));
        run("DELETE FROM nebula.event");
        record(&mine, "ben", "one", "x");
        record(&other, "eva", "two", "x");
        record(&mine, "eva", "three", "y");
        run("SELECT nebula.record_event(NULL, 'eva', 'four', 'account', 'x')");
        assert_eq!(seen(&viewer, "{}"), "three one");
        assert_eq!(seen(&stranger, "{}"), "");
        assert_eq!(seen(&operator, "{}"), "four three two one");
        assert_eq!(seen(&viewer, &format!(r#"{{"project_id": "{other}"}}"#)), "");
        assert_eq!(seen(&operator, &format!(r#"{{"project_id": "{other}"}}"#)), "two");
        assert_eq!(seen(&operator, r#"{"actor": "eva"}"#), "four three two");
        assert_eq!(seen(&operator, r#"{"subject": "device", "subject_id": "x"}"#), "two one");
        assert_eq!(seen(&operator, r#"{"action": "three"}"#), "three");
        run("UPDATE nebula.event SET at = at - interval '3 days' WHERE action IN ('one', 'two')");
        let from = text("SELECT now() - interval '2 days'");
        assert_eq!(seen(&operator, &format!(r#"{{"since": "{from}"}}"#)), "four three");
        assert_eq!(seen(&operator, &format!(r#"{{"until": "{from}"}}"#)), "two one");
        let two = text("SELECT event_id FROM nebula.event WHERE action = 'two'");
        assert_eq!(seen(&operator, &format!(r#"{{"before": {two}}}"#)), "one");
        assert_eq!(seen(&operator, &format!(r#"{{"after": {two}}}"#)), "four three");
        assert_eq!(seen(&viewer, &format!(r#"{{"event_ids": [{two}]}}"#)), "");
    }

    #[pg_test]
    fn addresses_and_requests_are_shown_to_administrators_and_to_those_who_did_it() {
        let set = set_up();
        let project = text("SELECT project_id FROM nebula.project");
        let (viewer, admin) = (account("ben"), account("eva"));
        run(&format!(
            "SELECT nebula.add_member('{project}', 'ben', 'viewer'), nebula.add_member('{project}', 'eva', 'admin')"
        ));
        run(&format!("SELECT nebula.actor('{} request-1 192.0.2.7')", set.of_session()));
        record(&project, "anna", "try", "x");
        run(&format!("UPDATE nebula.event SET actor_id = '{}' WHERE action = 'try'", set.account));
        let origin = |account: &str| {
            text(&format!(
                "SELECT coalesce(host(client) || ' ' || request_id, 'hidden')
                   FROM nebula.list_events('{account}', ROW(NULL, 'device', 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL))"
            ))
        };
        assert_eq!(origin(&viewer), "hidden");
        assert_eq!(origin(&admin), "192.0.2.7 request-1");
        assert_eq!(origin(&set.account), "192.0.2.7 request-1");
        run(&format!("UPDATE nebula.event SET actor_id = '{viewer}' WHERE action = 'try'"));
        assert_eq!(origin(&viewer), "192.0.2.7 request-1");
    }

    #[pg_test]
    fn times_are_found_by_identifiers_that_have_gaps() {
        let operator = set_up().account;
        run("DELETE FROM nebula.event");
        run("INSERT INTO nebula.event (event_id, at, actor, action, subject, subject_id)
             OVERRIDING SYSTEM VALUE
             SELECT n * 1000 + 100000, now() - interval '10 days' * (100 - n), 'anna', 'n' || n, 'device', 'x'
               FROM generate_series(1, 99) n");
        let shown = seen(
            &operator,
            &format!(
                r#"{{"since": "{}", "until": "{}"}}"#,
                text("SELECT now() - interval '510 days'"),
                text("SELECT now() - interval '485 days'")
            ),
        );
        assert_eq!(shown, "n51 n50 n49");
        let near = |days: i32| text(&format!("SELECT nebula.event_near(now() - interval '{days} days')"));
        assert_eq!((near(505).as_str(), near(2000).as_str(), near(0).as_str()), ("149000", "1", "199000"));
    }
}
