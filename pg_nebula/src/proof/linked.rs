use pgrx::prelude::*;

/// Rows of linked tables are written below SQL where that is the same, and with SQL where it is not.
#[pg_schema]
mod tests {
    use super::super::{allocate, device, law, project, run, text};
    use crate::link::is_written_below;
    use pgrx::prelude::*;

    /// A table of the application with devices 1 to 4, linked once it is `altered`.
    fn table(altered: &str) {
        run(
            "CREATE TABLE public.user_devices (id uuid PRIMARY KEY, nebula_ip inet, note text DEFAULT 'as it was')",
        );
        run(altered);
        for number in 1..=4 {
            run(&format!("INSERT INTO public.user_devices (id) VALUES ('{}')", device(number)));
        }
        run("SELECT nebula.link_device_table('public.user_devices')");
    }

    fn shown(number: u32) -> String {
        text(&format!("SELECT host(nebula_ip) FROM public.user_devices WHERE id = '{}'", device(number)))
    }

    fn release(number: u32) {
        run(&format!("SELECT nebula.release_ip('{}')", device(number)));
    }

    fn batch(project: &str) {
        let devices: Vec<String> = (2..=4).map(|number| format!("'{}'", device(number))).collect();
        run(&format!("SELECT nebula.allocate_ips('{project}', ARRAY[{}]::uuid[])", devices.join(", ")));
    }

    /// What a statement comes to: its error, or nothing.
    fn said(statement: &str) -> String {
        run("CREATE OR REPLACE FUNCTION pg_temp.said(statement text) RETURNS text LANGUAGE plpgsql AS
               $$ BEGIN EXECUTE statement; RETURN ''; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM; END $$");
        text(&format!("SELECT pg_temp.said($q${statement}$q$)"))
    }

    fn allocation(project: &str, number: u32) -> String {
        format!("SELECT nebula.allocate_ip('{project}', '{}')", device(number))
    }

    /// One table after the other: which way it is written, and that it is right whichever that is.
    fn written(below: bool, alterations: &[&str]) {
        let project = project("10.0.0.0/24");
        for altered in alterations {
            table(altered);
            assert_eq!(is_written_below(), below, "{altered}");
            allocate(&project, 1);
            batch(&project);
            assert_eq!(text("SELECT count(nebula_ip) FROM public.user_devices"), "4", "{altered}");
            release(2);
            assert_eq!(shown(2), "null", "{altered}");
            assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0", "{altered}");
            assert_eq!(
                text("SELECT count(*) FROM public.user_devices WHERE note IS DISTINCT FROM 'as it was'"),
                "0",
                "{altered}"
            );
            for number in [1, 3, 4] {
                release(number);
            }
            run("SET CONSTRAINTS ALL IMMEDIATE; SELECT nebula.unlink_device_table('public.user_devices');
                 DROP TABLE public.user_devices CASCADE; DROP TABLE IF EXISTS public.owner CASCADE");
        }
        law();
    }

    #[pg_test]
    fn what_runs_only_constraints_and_indexes_is_written_below_sql() {
        run("CREATE FUNCTION public.seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$");
        written(true, &[
            "",
            "CREATE INDEX ON public.user_devices (nebula_ip)",
            "CREATE INDEX ON public.user_devices USING hash (nebula_ip)",
            "CREATE INDEX ON public.user_devices USING gist (nebula_ip inet_ops)",
            "CREATE INDEX ON public.user_devices USING brin (nebula_ip)",
            "CREATE UNIQUE INDEX ON public.user_devices ((host(nebula_ip))) INCLUDE (note) WHERE nebula_ip IS NOT NULL",
            "ALTER TABLE public.user_devices ADD CHECK (family(nebula_ip) = 4)",
            "ALTER TABLE public.user_devices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             CREATE POLICY nobody ON public.user_devices AS RESTRICTIVE FOR UPDATE USING (false)",
            "CREATE TABLE public.owner (id int PRIMARY KEY); INSERT INTO public.owner VALUES (1);
             ALTER TABLE public.user_devices ADD owner int DEFAULT 1 REFERENCES public.owner ON UPDATE CASCADE",
            "CREATE TABLE public.owner (device uuid REFERENCES public.user_devices ON UPDATE CASCADE)",
            "CREATE TRIGGER seen AFTER INSERT OR DELETE OR UPDATE OF note ON public.user_devices
               FOR EACH ROW EXECUTE FUNCTION public.seen()",
            "CREATE TRIGGER seen BEFORE UPDATE ON public.user_devices FOR EACH ROW EXECUTE FUNCTION public.seen();
             ALTER TABLE public.user_devices DISABLE TRIGGER seen",
            "ALTER TABLE public.user_devices ADD gone text DEFAULT 'was', ADD late int NOT NULL DEFAULT 7;
             ALTER TABLE public.user_devices DROP COLUMN gone",
            "ALTER TABLE public.user_devices DROP CONSTRAINT user_devices_pkey;
             CREATE UNIQUE INDEX ON public.user_devices (id) INCLUDE (note)",
        ]);
    }

    #[pg_test]
    fn what_runs_anything_else_is_left_to_sql() {
        run("CREATE FUNCTION public.seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$");
        written(false, &[
            "CREATE TRIGGER seen BEFORE UPDATE ON public.user_devices FOR EACH ROW EXECUTE FUNCTION public.seen()",
            "CREATE TRIGGER seen AFTER UPDATE OF nebula_ip ON public.user_devices
               FOR EACH STATEMENT EXECUTE FUNCTION public.seen()",
            "CREATE CONSTRAINT TRIGGER seen AFTER UPDATE ON public.user_devices DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW EXECUTE FUNCTION public.seen()",
            "CREATE RULE seen AS ON UPDATE TO public.user_devices DO ALSO SELECT 1",
            "ALTER TABLE public.user_devices ADD address text GENERATED ALWAYS AS (host(nebula_ip)) STORED",
            "CREATE TABLE public.owner () INHERITS (public.user_devices)",
            "ALTER TABLE public.user_devices DROP CONSTRAINT user_devices_pkey;
             CREATE INDEX ON public.user_devices (id)",
            "ALTER TABLE public.user_devices DROP CONSTRAINT user_devices_pkey, ADD PRIMARY KEY (id, note)",
            "ALTER TABLE public.user_devices DROP CONSTRAINT user_devices_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
            "ALTER TABLE public.user_devices ADD EXCLUDE USING gist (nebula_ip inet_ops WITH &&)",
            "DROP TABLE public.user_devices;
             CREATE TABLE public.user_devices (id uuid PRIMARY KEY, nebula_ip inet, note text DEFAULT 'as it was')
               PARTITION BY HASH (id);
             CREATE TABLE public.part PARTITION OF public.user_devices FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        ]);
    }

    #[pg_test]
    fn triggers_fire_from_the_moment_they_are_there() {
        let project = project("10.0.0.0/24");
        table("");
        allocate(&project, 1);
        run("CREATE TABLE public.heard (word text);
             CREATE FUNCTION public.hear() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO public.heard VALUES (TG_LEVEL || host(NEW.nebula_ip)); RETURN NEW; END $$;
             CREATE TRIGGER a BEFORE UPDATE OF nebula_ip ON public.user_devices
               FOR EACH ROW EXECUTE FUNCTION public.hear();
             CREATE TRIGGER b AFTER UPDATE ON public.user_devices FOR EACH STATEMENT EXECUTE FUNCTION public.hear()");
        allocate(&project, 2);
        release(1);
        run("ALTER TABLE public.user_devices DISABLE TRIGGER b");
        allocate(&project, 3);
        run("DROP TRIGGER a ON public.user_devices");
        allocate(&project, 4);
        let heard = "SELECT string_agg(coalesce(word, 'null'), ' ' ORDER BY ctid) FROM public.heard";
        assert_eq!(text(heard), "ROW10.0.0.2 null null null ROW10.0.0.1");
        assert_eq!((shown(1), shown(2), shown(3)), ("null".into(), "10.0.0.2".into(), "10.0.0.1".into()));
        law();
    }

    #[pg_test]
    fn a_constraint_says_what_it_says_in_sql() {
        let project = project("10.0.0.0/24");
        table(
            "ALTER TABLE public.user_devices ADD CONSTRAINT low CHECK (nebula_ip < '10.0.0.3');
             CREATE UNIQUE INDEX by_ip ON public.user_devices (nebula_ip)",
        );
        assert!(is_written_below());
        run(&format!("UPDATE public.user_devices SET nebula_ip = '10.0.0.2' WHERE id = '{}'", device(4)));
        let update = |number, ip: &str| {
            let id = device(number);
            said(&format!("UPDATE public.user_devices SET nebula_ip = '{ip}' WHERE id = '{id}'"))
        };
        assert_eq!(said(&allocation(&project, 1)), "");
        let double = said(&allocation(&project, 2));
        assert_eq!(double, "23505 duplicate key value violates unique constraint \"by_ip\"");
        assert_eq!(double, update(2, "10.0.0.2"));
        run(&format!("UPDATE public.user_devices SET nebula_ip = NULL WHERE id = '{}'", device(4)));
        assert_eq!(said(&allocation(&project, 2)), "");
        let high = said(&allocation(&project, 3));
        assert_eq!(high, "23514 new row for relation \"user_devices\" violates check constraint \"low\"");
        assert_eq!(high, update(3, "10.0.0.3"));
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "2");
        law();
    }

    #[pg_test]
    fn every_index_finds_the_row() {
        let project = project("10.0.0.0/24");
        table(
            "CREATE EXTENSION amcheck;
             CREATE INDEX by_ip ON public.user_devices (nebula_ip);
             CREATE INDEX by_host ON public.user_devices ((host(nebula_ip))) WHERE nebula_ip IS NOT NULL;
             CREATE INDEX by_note ON public.user_devices (note)",
        );
        allocate(&project, 1);
        batch(&project);
        release(3);
        allocate(&project, 3);
        release(4);
        for index in ["user_devices_pkey", "by_ip", "by_host", "by_note"] {
            run(&format!("SELECT bt_index_check('{index}', heapallindexed => true)"));
        }
        run("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off");
        let found = |condition: &str| text(&format!("SELECT id FROM public.user_devices WHERE {condition}"));
        assert_eq!(found("nebula_ip = '10.0.0.3'"), device(3));
        assert_eq!(found("host(nebula_ip) = '10.0.0.2' AND nebula_ip IS NOT NULL"), device(2));
        assert_eq!(found("nebula_ip IS NULL"), device(4));
        assert_eq!(text("SELECT count(*) FROM public.user_devices WHERE note = 'as it was'"), "4");
        law();
    }

    /// A row that is changed in the transaction that inserted it makes the check of the insert look away.
    #[pg_test]
    fn foreign_keys_hold() {
        let project = project("10.0.0.0/24");
        run("CREATE TABLE public.owner (id int PRIMARY KEY)");
        table(
            "ALTER TABLE public.user_devices ADD owner int REFERENCES public.owner DEFERRABLE INITIALLY DEFERRED",
        );
        assert!(is_written_below());
        run(&format!("INSERT INTO public.user_devices (id, owner) VALUES ('{}', 5)", device(5)));
        allocate(&project, 5);
        let checked = said("SET CONSTRAINTS ALL IMMEDIATE");
        assert!(checked.starts_with("23503 "), "{checked}");
        run("INSERT INTO public.owner VALUES (5)");
        assert_eq!(said("SET CONSTRAINTS ALL IMMEDIATE"), "");
        run("CREATE UNIQUE INDEX ON public.user_devices (nebula_ip);
             CREATE TABLE public.use (ip inet REFERENCES public.user_devices (nebula_ip) ON UPDATE CASCADE);
             INSERT INTO public.use VALUES ('10.0.0.1')");
        release(5);
        assert_eq!(text("SELECT ip FROM public.use"), "null");
        law();
    }

    #[pg_test]
    fn who_has_no_right_to_his_own_table_is_refused() {
        let project = project("10.0.0.0/24");
        run("CREATE ROLE app; GRANT CREATE ON SCHEMA public TO app");
        table("ALTER TABLE public.user_devices OWNER TO app");
        assert!(is_written_below());
        allocate(&project, 1);
        run("REVOKE UPDATE ON public.user_devices FROM app");
        assert_eq!(said(&allocation(&project, 2)), "42501 permission denied for table user_devices");
        run("GRANT UPDATE (nebula_ip) ON public.user_devices TO app");
        allocate(&project, 2);
        assert_eq!(shown(2), "10.0.0.2");
        law();
    }

    #[pg_test]
    fn subscribers_must_be_able_to_tell_rows_apart() {
        let project = project("10.0.0.0/24");
        table(
            "ALTER TABLE public.user_devices DROP CONSTRAINT user_devices_pkey;
             CREATE UNIQUE INDEX ON public.user_devices (id)",
        );
        assert!(is_written_below());
        allocate(&project, 1);
        run("CREATE PUBLICATION everything FOR TABLE public.user_devices");
        let refused = said(&allocation(&project, 2));
        assert!(refused.starts_with("55000 cannot update table \"user_devices\""), "{refused}");
        run("ALTER TABLE public.user_devices REPLICA IDENTITY FULL");
        allocate(&project, 2);
        assert_eq!(shown(2), "10.0.0.2");
        law();
    }

    /// Whatever runs for the table's owner runs as he, finds what the extension's functions find, and may end up here again.
    #[pg_test]
    fn functions_of_a_constraint_are_no_way_in() {
        let project = project("10.0.0.0/24");
        run(&format!(
            "CREATE ROLE app; GRANT CREATE ON SCHEMA public TO app; CREATE TABLE public.heard (word text);
             GRANT ALL ON public.heard TO app; GRANT USAGE ON SCHEMA nebula TO app;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA nebula TO app;
             CREATE FUNCTION public.hear(address inet) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
               IF address = '10.0.0.2' THEN
                 INSERT INTO public.heard VALUES (current_user || ' ' || current_setting('search_path'));
                 PERFORM nebula.allocate_ip('{project}', '{}');
               END IF;
               RETURN true; END $$",
            device(2)
        ));
        let by_query =
            "query_to_xml(format('SELECT public.hear(%L)', nebula_ip), true, false, '') IS NOT NULL";
        for (check, below) in [("public.hear(nebula_ip)", false), (by_query, true)] {
            run("TRUNCATE public.heard");
            table(&format!(
                "ALTER TABLE public.user_devices ADD CHECK ({check}); ALTER TABLE public.user_devices OWNER TO app"
            ));
            assert_eq!(is_written_below(), below, "{check}");
            // The first call of a session runs as the extension's owner.
            allocate(&project, 3);
            run("SET LOCAL search_path = pg_temp, public");
            allocate(&project, 1);
            assert_eq!(text("SELECT DISTINCT word FROM public.heard"), "app nebula, pg_temp", "{check}");
            assert_eq!((shown(1), shown(2)), ("10.0.0.2".into(), "10.0.0.3".into()), "{check}");
            for number in 1..=3 {
                release(number);
            }
            run("RESET search_path; SELECT nebula.unlink_device_table('public.user_devices');
                 DROP TABLE public.user_devices");
        }
        law();
    }

    #[pg_test]
    fn a_function_that_is_replaced_counts_as_it_is() {
        let project = project("10.0.0.0/24");
        let ok = |answer| {
            run(&format!(
                "CREATE OR REPLACE FUNCTION public.ok(inet) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT {answer}'"
            ));
        };
        ok("true");
        table("ALTER TABLE public.user_devices ADD CONSTRAINT fine CHECK (public.ok(nebula_ip))");
        allocate(&project, 1);
        ok("$1 IS NULL");
        let refused = said(&allocation(&project, 2));
        assert_eq!(refused, "23514 new row for relation \"user_devices\" violates check constraint \"fine\"");
        law();
    }

    /// What lies elsewhere, or was never written because the column came later, is there afterwards.
    #[pg_test]
    fn other_columns_stay() {
        let project = project("10.0.0.0/24");
        table(
            "ALTER TABLE public.user_devices ADD wide text, ADD gone text, ALTER wide SET STORAGE EXTERNAL",
        );
        run("UPDATE public.user_devices SET wide = repeat('x', 20000), gone = repeat('y', 20000);
             ALTER TABLE public.user_devices DROP COLUMN gone, ADD late int DEFAULT 7");
        assert!(is_written_below());
        allocate(&project, 1);
        release(1);
        let kept = "SELECT count(*) FROM public.user_devices WHERE wide = repeat('x', 20000) AND late = 7";
        assert_eq!(text(kept), "4");
        law();
    }
}
