//! Values that JSON or a calendar cannot write: no row has one, however it was written.

use pgrx::prelude::*;

/// Columns that may have one, each with its reason.
const EXEMPT: &[(&str, &str)] = &[
    ("job_waiting.run_at", "a job for infinity waits until it is given a time"),
    ("job_running.run_at", "copied from job_waiting"),
    ("job_finished.run_at", "copied from job_waiting"),
];

/// Times, lengths of time and fractions of tables.
const COLUMNS: &str = "
    SELECT c.oid AS relation, c.relname || '.' || a.attname AS name, a.attname AS column_name,
           format_type(a.atttypid, NULL) AS type
      FROM pg_class c
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = 'nebula'::regnamespace
       AND c.relkind IN ('r', 'p')
       AND a.attgenerated = ''
       AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype, 'interval'::regtype,
                          'real'::regtype, 'double precision'::regtype, 'numeric'::regtype)";

#[pg_schema]
mod tests {
    use super::{COLUMNS, EXEMPT};
    use crate::tests::{attempt, certify, device, one, project, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn every_time_and_fraction_of_a_table_has_bounds_or_a_reason() {
        let unbounded: Vec<String> = one(&format!(
            "SELECT array_agg(k.name ORDER BY k.name)
               FROM ({COLUMNS}) k
              WHERE NOT EXISTS (SELECT
                                  FROM pg_constraint n
                                 WHERE n.conrelid = k.relation
                                   AND n.contype = 'c'
                                   AND n.conname ~ '_value_check$'
                                   AND pg_get_constraintdef(n.oid) ~ ('\\y' || k.column_name || '\\y'))"
        ));
        let mut exempt: Vec<String> = EXEMPT.iter().map(|(name, _)| (*name).to_owned()).collect();
        exempt.sort();
        let unbounded: Vec<String> =
            unbounded.into_iter().filter(|name| !name.starts_with("job_finished_")).collect();
        assert_eq!(unbounded, exempt);
    }

    /// One such row would fail every list that it is in.
    #[pg_test]
    fn a_list_in_a_row_has_neither_lists_nor_nothing_in_it() {
        let columns: Vec<String> =
            one("SELECT array_agg(format('%s %I %s', c.oid::regclass, a.attname, t.typelem::regtype))
               FROM pg_class c
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               JOIN pg_type t ON t.oid = a.atttypid AND t.typcategory = 'A'
              WHERE c.relnamespace = 'nebula'::regnamespace AND c.relkind IN ('r', 'p')
                AND NOT c.relispartition");
        assert!(columns.len() > 20, "{columns:?}");
        for column in columns {
            let [table, name, element] = column.splitn(3, ' ').collect::<Vec<_>>().try_into().expect("three");
            let rule: String = one(&format!(
                "SELECT (regexp_match(pg_get_constraintdef(oid), '^CHECK \\((.*)\\)$'))[1] FROM pg_constraint
                  WHERE conrelid = '{table}'::regclass AND conname = split_part('{table}', '.', 2) || '_list_check'"
            ));
            let rule = |value: &str| {
                let row = format!("SELECT (jsonb_populate_record(NULL::{table}, '{{}}')).*");
                let spoilt = format!("SELECT r.*, {value} AS spoilt FROM ({row}) r");
                let rule = rule.replace(&format!("({name}"), "(spoilt");
                text(&format!("SELECT {rule} FROM ({spoilt}) x"))
            };
            let array = |text: &str| format!("{text}::{element}[]");
            let some = match element {
                "text" => "a",
                "inet" | "cidr" => "10.0.0.0/8",
                _ => "1",
            };
            assert_eq!(rule(&array(&format!("'{{{some},{some}}}'"))), "true", "{column}");
            for wrong in [format!("'{{{some},NULL}}'"), format!("'{{{{{some}}},{{{some}}}}}'")] {
                assert_eq!(rule(&array(&wrong)), "false", "{column}: {wrong}");
            }
        }
    }

    #[pg_test]
    fn a_row_written_by_hand_cannot_have_a_value_that_lists_cannot_write() {
        let project = project("10.0.0.0/24");
        certify(&project, 1, "10.0.0.1");
        let one_device = device(1);
        for made in [
            format!("SELECT nebula.allocate_ip('{project}', '{one_device}')"),
            "SELECT nebula.register_node('box', 'box.test:51820')".into(),
            "SELECT nebula.create_account('anna', '$argon2id$v=19$')".into(),
            format!("SELECT nebula.create_enrolment('{project}')"),
            format!("SELECT nebula.create_peer('{project}', NULL, encode(sha256('a'), 'base64'))"),
            format!("SELECT nebula.add_rule('{project}', 'inbound')"),
            format!("SELECT nebula.exclude_addresses('{project}', 'printers', '10.0.0.99')"),
            "SELECT nebula.enqueue_job('t', '{}'), nebula.enqueue_job('u', '{}')".into(),
            "SELECT nebula.claim_jobs('w', '{u}')".into(),
            "SELECT nebula.schedule_job('nightly', '@daily', 't'), nebula.retain_jobs('t', '1 day')".into(),
        ] {
            run(&made);
        }
        let columns: Vec<String> =
            one(&format!("SELECT array_agg(k.name || ' ' || k.type ORDER BY k.name) FROM ({COLUMNS}) k"));
        let mut tried = 0;
        for column in columns {
            let (name, kind) = column.split_once(' ').expect("name and type");
            let (table, field) = name.split_once('.').expect("table and column");
            let has_row: bool = one(&format!("SELECT EXISTS (SELECT FROM nebula.{table})"));
            if !has_row || EXEMPT.iter().any(|(exempt, _)| *exempt == name) {
                continue;
            }
            let wrong: &[&str] = match kind {
                "interval" => &["178000000 years", "-1 day"],
                "timestamp with time zone" => &["infinity", "-infinity", "12000-01-01", "4000-01-01 BC"],
                _ => &["NaN", "Infinity"],
            };
            for value in wrong {
                let [sqlstate, message, _] =
                    attempt(&format!("UPDATE nebula.{table} SET {field} = '{value}'"));
                assert_eq!(sqlstate, "23514", "{name} = {value}: {message}");
                tried += 1;
            }
        }
        assert!(tried > 100, "the rows have times: {tried}");
        assert_eq!(
            text("SELECT nebula.enqueue_job('later', '{}', run_at => 'infinity') IS NOT NULL"),
            "true"
        );
    }
}
