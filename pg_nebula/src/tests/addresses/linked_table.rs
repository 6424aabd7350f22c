use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, device, error_of, project, run, text};
    use pgrx::prelude::*;

    /// A table of the application with devices 1 to 4.
    fn table() {
        run("CREATE TABLE public.user_devices (id uuid PRIMARY KEY, nebula_ip inet,
                                                nebula_last_seen timestamptz)");
        for number in 1..=4 {
            run(&format!("INSERT INTO public.user_devices VALUES ('{}')", device(number)));
        }
    }

    fn shown(number: u32) -> String {
        text(&format!("SELECT nebula_ip FROM public.user_devices WHERE id = '{}'", device(number)))
    }

    #[pg_test]
    fn a_linked_table_follows_allocations_and_releases() {
        let project = project("10.0.0.0/24");
        allocate(&project, 1);
        table();
        run("UPDATE public.user_devices SET nebula_ip = '9.9.9.9'");
        run("SELECT nebula.link_device_table('public.user_devices')");
        assert_eq!((shown(1), shown(2)), ("10.0.0.1/32".into(), "null".into()));
        allocate(&project, 2);
        run(&format!(
            "SELECT nebula.allocate_ips('{project}', ARRAY['{}', '{}', '{}']::uuid[])",
            device(3),
            device(4),
            device(5)
        ));
        assert_eq!(
            (shown(2), shown(3), shown(4)),
            ("10.0.0.2/32".into(), "10.0.0.3/32".into(), "10.0.0.4/32".into())
        );
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        assert_eq!(shown(1), "null");
        run(&format!("SELECT nebula.touch_device('{}')", device(1)));
        assert_eq!(
            text(&format!(
                "SELECT nebula_last_seen = now() FROM public.user_devices WHERE id = '{}'",
                device(1)
            )),
            "true"
        );
        assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0");
        run("SELECT nebula.unlink_device_table('public.user_devices')");
        run(&format!("SELECT nebula.release_ip('{}')", device(2)));
        assert_eq!(shown(2), "10.0.0.2/32");
        assert_error("SELECT nebula.unlink_device_table('public.user_devices')", "P0002", &["user_devices"]);
        assert_invariants();
    }

    #[pg_test]
    fn of_two_addresses_the_ipv4_one_is_shown() {
        let project = project("10.0.0.0/24");
        run(&format!("SELECT nebula.populate_pool('{project}', 'fd00::/64', 'six')"));
        table();
        run("SELECT nebula.link_device_table('public.user_devices')");
        run(&format!("SELECT nebula.allocate_ip('{project}', '{}', family => 6)", device(1)));
        assert_eq!(shown(1), "fd00::1/128");
        run(&format!("SELECT nebula.allocate_dual('{project}', '{}')", device(1)));
        assert_eq!(shown(1), "10.0.0.1/32");
        run(&format!("SELECT nebula.release_ip('{}', address => '10.0.0.1')", device(1)));
        assert_eq!(shown(1), "fd00::1/128");
        assert_invariants();
    }

    #[pg_test]
    fn a_table_that_cannot_be_linked_is_refused() {
        table();
        let link = |rest: &str| format!("SELECT nebula.link_device_table({rest})");
        assert_error(&link("'public.user_devices', 'device'"), "22023", &["user_devices", "device"]);
        assert_error(&link("'public.user_devices', 'id', 'address'"), "22023", &["address", "inet"]);
        assert_error(
            &link("'public.user_devices', 'id', 'nebula_last_seen'"),
            "22023",
            &["nebula_last_seen", "inet"],
        );
        assert_error(&link("'nebula.device'"), "22023", &["device"]);
        run("ALTER TABLE public.user_devices DROP CONSTRAINT user_devices_pkey");
        assert_error(&link("'public.user_devices'"), "22023", &["index"]);
        run("ALTER TABLE public.user_devices ADD PRIMARY KEY (id), ALTER nebula_ip SET DEFAULT '1.1.1.1'");
        run("UPDATE public.user_devices SET nebula_ip = '1.1.1.1';
             ALTER TABLE public.user_devices ALTER nebula_ip SET NOT NULL");
        assert_error(&link("'public.user_devices'"), "22023", &["null"]);
    }

    #[pg_test]
    fn a_dropped_or_altered_table_never_makes_allocations_fail() {
        let project = project("10.0.0.0/24");
        table();
        run("SELECT nebula.link_device_table('public.user_devices')");
        allocate(&project, 1);
        run("ALTER TABLE public.user_devices RENAME nebula_ip TO address");
        assert_eq!(allocate(&project, 2), "10.0.0.2/32");
        assert_eq!(text("SELECT problem FROM nebula.check_pool()"), "link-broken");
        run("ALTER TABLE public.user_devices RENAME address TO nebula_ip");
        assert_eq!(
            text("SELECT problem || ' ' || host(ip) FROM nebula.check_pool()"),
            "link-differs 10.0.0.2"
        );
        run("SELECT nebula.check_pool(repair => true)");
        assert_eq!(shown(2), "10.0.0.2/32");
        allocate(&project, 3);
        assert_eq!(shown(3), "10.0.0.3/32");
        run("ALTER TABLE public.user_devices RENAME TO devices");
        run(&format!("SELECT nebula.release_ip('{}')", device(3)));
        assert_eq!(text(&format!("SELECT nebula_ip FROM public.devices WHERE id = '{}'", device(3))), "null");
        run("DROP TABLE public.devices");
        assert_eq!(allocate(&project, 3), "10.0.0.3/32");
        run(&format!("SELECT nebula.release_ip('{}')", device(1)));
        run("SELECT nebula.check_pool(repair => true)");
        assert_eq!(text("SELECT count(*) FROM nebula.linked_table"), "0");
        assert_invariants();
    }

    /// The table's owner can create a trigger on it, which must not run as the owner of the extension.
    #[pg_test]
    fn triggers_of_a_linked_table_run_as_its_owner() {
        let project = project("10.0.0.0/24");
        table();
        run("CREATE ROLE app; GRANT CREATE ON SCHEMA public TO app;
             ALTER TABLE public.user_devices OWNER TO app;
             CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS $f$
             BEGIN PERFORM set_config('proof.spy', current_user, false); RETURN NEW; END $f$;
             CREATE TRIGGER spy BEFORE UPDATE ON public.user_devices FOR EACH ROW
               EXECUTE FUNCTION public.spy();
             SELECT nebula.link_device_table('public.user_devices')");
        allocate(&project, 1);
        assert_eq!(text("SELECT current_setting('proof.spy')"), "app");
        assert_eq!(text("SELECT current_user = session_user"), "true");
        assert_invariants();
    }

    /// A table of the application with devices 1 to 4 and columns of its own, linked once it is `altered`.
    fn linked_table(altered: &str) {
        run("CREATE TABLE public.user_devices (id uuid PRIMARY KEY, nebula_ip inet,
                                                note text DEFAULT 'unchanged')");
        run(altered);
        for number in 1..=4 {
            run(&format!("INSERT INTO public.user_devices (id) VALUES ('{}')", device(number)));
        }
        run("SELECT nebula.link_device_table('public.user_devices')");
    }

    fn allocation(project: &str, number: u32) -> String {
        format!("SELECT nebula.allocate_ip('{project}', '{}')", device(number))
    }

    fn release(number: u32) {
        run(&format!("SELECT nebula.release_ip('{}')", device(number)));
    }

    #[pg_test]
    fn tables_of_any_kind_follow_and_keep_their_other_columns() {
        let project = project("10.0.0.0/24");
        run("CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$");
        for altered in [
            "",
            "CREATE UNIQUE INDEX ON public.user_devices ((host(nebula_ip))) INCLUDE (note)
               WHERE nebula_ip IS NOT NULL",
            "ALTER TABLE public.user_devices ADD CHECK (family(nebula_ip) = 4)",
            "ALTER TABLE public.user_devices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             CREATE POLICY nobody ON public.user_devices AS RESTRICTIVE FOR UPDATE USING (false)",
            "CREATE TRIGGER keep BEFORE UPDATE ON public.user_devices FOR EACH ROW
               EXECUTE FUNCTION public.keep()",
            "CREATE CONSTRAINT TRIGGER keep AFTER UPDATE ON public.user_devices DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW EXECUTE FUNCTION public.keep()",
            "CREATE RULE also AS ON UPDATE TO public.user_devices DO ALSO SELECT 1",
            "ALTER TABLE public.user_devices ADD address text GENERATED ALWAYS AS (host(nebula_ip)) STORED",
            "ALTER TABLE public.user_devices ADD dropped text DEFAULT 'x', ADD late int NOT NULL DEFAULT 7;
             ALTER TABLE public.user_devices DROP COLUMN dropped",
            "ALTER TABLE public.user_devices DROP CONSTRAINT user_devices_pkey;
             CREATE INDEX ON public.user_devices (id)",
            "DROP TABLE public.user_devices;
             CREATE TABLE public.user_devices (id uuid PRIMARY KEY, nebula_ip inet,
                                               note text DEFAULT 'unchanged') PARTITION BY HASH (id);
             CREATE TABLE public.part PARTITION OF public.user_devices
               FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        ] {
            linked_table(altered);
            allocate(&project, 1);
            let devices: Vec<String> = (2..=4).map(|number| format!("'{}'", device(number))).collect();
            run(&format!("SELECT nebula.allocate_ips('{project}', ARRAY[{}]::uuid[])", devices.join(", ")));
            assert_eq!(text("SELECT count(nebula_ip) FROM public.user_devices"), "4", "{altered}");
            release(2);
            assert_eq!(shown(2), "null", "{altered}");
            assert_eq!(text("SELECT count(*) FROM nebula.check_pool()"), "0", "{altered}");
            assert_eq!(
                text("SELECT string_agg(DISTINCT note, ' ') FROM public.user_devices"),
                "unchanged",
                "{altered}"
            );
            for number in [1, 3, 4] {
                release(number);
            }
            run("SET CONSTRAINTS ALL IMMEDIATE; SELECT nebula.unlink_device_table('public.user_devices');
                 DROP TABLE public.user_devices CASCADE");
        }
        assert_invariants();
    }

    #[pg_test]
    fn a_dropped_column_and_a_toasted_value_stay() {
        let project = project("10.0.0.0/24");
        linked_table(
            "ALTER TABLE public.user_devices ADD wide text, ADD dropped text, ALTER wide
               SET STORAGE EXTERNAL",
        );
        run("UPDATE public.user_devices SET wide = repeat('x', 20000), dropped = repeat('y', 20000);
             ALTER TABLE public.user_devices DROP COLUMN dropped, ADD late int DEFAULT 7");
        allocate(&project, 1);
        release(1);
        let unchanged =
            "SELECT count(*) FROM public.user_devices WHERE wide = repeat('x', 20000) AND late = 7";
        assert_eq!(text(unchanged), "4");
        assert_invariants();
    }

    #[pg_test]
    fn triggers_fire_as_soon_as_they_exist() {
        let project = project("10.0.0.0/24");
        linked_table("");
        allocate(&project, 1);
        run("CREATE TABLE public.fired (word text);
             CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN INSERT INTO public.fired VALUES (TG_LEVEL || host(NEW.nebula_ip)); RETURN NEW; END $$;
             CREATE TRIGGER a BEFORE UPDATE OF nebula_ip ON public.user_devices
               FOR EACH ROW EXECUTE FUNCTION public.fire();
             CREATE TRIGGER b AFTER UPDATE ON public.user_devices FOR EACH STATEMENT
               EXECUTE FUNCTION public.fire()");
        allocate(&project, 2);
        release(1);
        run("ALTER TABLE public.user_devices DISABLE TRIGGER b");
        allocate(&project, 3);
        run("DROP TRIGGER a ON public.user_devices");
        allocate(&project, 4);
        let fired = "SELECT string_agg(coalesce(word, 'null'), ' ' ORDER BY ctid) FROM public.fired";
        assert_eq!(text(fired), "ROW10.0.0.2 null null null ROW10.0.0.1");
        assert_eq!(
            (shown(1), shown(2), shown(3)),
            ("null".into(), "10.0.0.2/32".into(), "10.0.0.1/32".into())
        );
        assert_invariants();
    }

    #[pg_test]
    fn errors_of_constraints_reach_the_caller_and_undo_the_allocation() {
        let project = project("10.0.0.0/24");
        linked_table(
            "ALTER TABLE public.user_devices ADD CONSTRAINT low CHECK (nebula_ip < '10.0.0.3');
             CREATE UNIQUE INDEX by_ip ON public.user_devices (nebula_ip)",
        );
        run(&format!("UPDATE public.user_devices SET nebula_ip = '10.0.0.2' WHERE id = '{}'", device(4)));
        allocate(&project, 1);
        assert_eq!(
            error_of(&allocation(&project, 2)),
            "23505 duplicate key value violates unique constraint \"by_ip\""
        );
        run(&format!("UPDATE public.user_devices SET nebula_ip = NULL WHERE id = '{}'", device(4)));
        allocate(&project, 2);
        assert_eq!(
            error_of(&allocation(&project, 3)),
            "23514 new row for relation \"user_devices\" violates check constraint \"low\""
        );
        assert_eq!(text("SELECT count(*) FROM nebula.allocation"), "2");
        assert_invariants();
    }

    #[pg_test]
    fn foreign_keys_from_and_to_a_linked_table_hold() {
        let project = project("10.0.0.0/24");
        run("CREATE TABLE public.owner (id int PRIMARY KEY)");
        linked_table(
            "ALTER TABLE public.user_devices ADD owner int
               REFERENCES public.owner DEFERRABLE INITIALLY DEFERRED",
        );
        run(&format!("INSERT INTO public.user_devices (id, owner) VALUES ('{}', 5)", device(5)));
        allocate(&project, 5);
        let checked = error_of("SET CONSTRAINTS ALL IMMEDIATE");
        assert!(checked.starts_with("23503 "), "{checked}");
        run("INSERT INTO public.owner VALUES (5); SET CONSTRAINTS ALL IMMEDIATE;
             CREATE UNIQUE INDEX ON public.user_devices (nebula_ip);
             CREATE TABLE public.use (ip inet REFERENCES public.user_devices (nebula_ip) ON UPDATE CASCADE);
             INSERT INTO public.use VALUES ('10.0.0.1')");
        release(5);
        assert_eq!(text("SELECT ip FROM public.use"), "null");
        assert_invariants();
    }

    #[pg_test]
    fn an_owner_without_the_privilege_to_update_the_table_is_refused() {
        let project = project("10.0.0.0/24");
        run("CREATE ROLE app; GRANT CREATE ON SCHEMA public TO app");
        linked_table("ALTER TABLE public.user_devices OWNER TO app");
        allocate(&project, 1);
        run("REVOKE UPDATE ON public.user_devices FROM app");
        assert_eq!(error_of(&allocation(&project, 2)), "42501 permission denied for table user_devices");
        run("GRANT UPDATE (nebula_ip) ON public.user_devices TO app");
        allocate(&project, 2);
        assert_eq!(shown(2), "10.0.0.2/32");
        assert_invariants();
    }

    /// A CHECK may call a function, which must run as the table's owner, and may allocate an address itself.
    #[pg_test]
    fn functions_of_a_constraint_run_as_the_owner_of_the_table() {
        let project = project("10.0.0.0/24");
        run(&format!(
            "CREATE ROLE app; GRANT CREATE ON SCHEMA public TO app; CREATE TABLE public.called (word text);
             GRANT ALL ON public.called TO app; GRANT USAGE ON SCHEMA nebula TO app;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA nebula TO app;
             CREATE FUNCTION public.call(address inet) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
               IF address = '10.0.0.2' THEN
                 INSERT INTO public.called VALUES (current_user || ' ' || current_setting('search_path'));
                 PERFORM nebula.allocate_ip('{project}', '{}');
               END IF;
               RETURN true; END $$",
            device(2)
        ));
        linked_table(
            "ALTER TABLE public.user_devices ADD CHECK (public.call(nebula_ip));
             ALTER TABLE public.user_devices OWNER TO app",
        );
        allocate(&project, 3);
        run("SET LOCAL search_path = pg_temp, public");
        allocate(&project, 1);
        assert_eq!(text("SELECT DISTINCT word FROM public.called"), "app nebula, pg_temp");
        assert_eq!((shown(1), shown(2)), ("10.0.0.2/32".into(), "10.0.0.3/32".into()));
        assert_invariants();
    }

    #[pg_test]
    fn a_published_table_without_replica_identity_refuses_the_update() {
        let project = project("10.0.0.0/24");
        linked_table(
            "ALTER TABLE public.user_devices DROP CONSTRAINT user_devices_pkey;
             CREATE UNIQUE INDEX ON public.user_devices (id)",
        );
        allocate(&project, 1);
        run("CREATE PUBLICATION everything FOR TABLE public.user_devices");
        let error = error_of(&allocation(&project, 2));
        assert!(error.starts_with("55000 cannot update table \"user_devices\""), "{error}");
        run("ALTER TABLE public.user_devices REPLICA IDENTITY FULL");
        allocate(&project, 2);
        assert_eq!(shown(2), "10.0.0.2/32");
        assert_invariants();
    }

    #[pg_test]
    fn a_device_with_only_an_ipv6_address_shows_that() {
        let project = project("fd00::/64");
        linked_table("");
        allocate(&project, 1);
        let devices: Vec<String> = (2..=3).map(|number| format!("'{}'", device(number))).collect();
        run(&format!("SELECT nebula.allocate_ips('{project}', ARRAY[{}]::uuid[])", devices.join(", ")));
        assert_eq!(
            (shown(1), shown(2), shown(3)),
            ("fd00::1/128".into(), "fd00::2/128".into(), "fd00::3/128".into())
        );
        release(1);
        assert_eq!(shown(1), "null");
        assert_invariants();
    }
}
