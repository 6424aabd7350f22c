use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{allocate, assert_error, assert_invariants, device, project, run, text};
    use pgrx::prelude::*;

    /// A table of the application with devices 1 to 4.
    fn table() {
        run(
            "CREATE TABLE public.user_devices (id uuid PRIMARY KEY, nebula_ip inet, nebula_last_seen timestamptz)",
        );
        for number in 1..=4 {
            run(&format!("INSERT INTO public.user_devices VALUES ('{}')", device(number)));
        }
    }

    fn shown(number: u32) -> String {
        text(&format!("SELECT nebula_ip FROM public.user_devices WHERE id = '{}'", device(number)))
    }

    #[pg_test]
    fn a_linked_table_shows_what_is_held() {
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
        run(
            "UPDATE public.user_devices SET nebula_ip = '1.1.1.1'; ALTER TABLE public.user_devices ALTER nebula_ip SET NOT NULL",
        );
        assert_error(&link("'public.user_devices'"), "22023", &["null"]);
    }

    #[pg_test]
    fn a_dropped_or_altered_table_never_breaks_the_allocator() {
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

    /// Whoever owns the table can put a trigger on it, which must not run as the owner of the extension.
    #[pg_test]
    fn triggers_of_a_linked_table_run_as_its_owner() {
        let project = project("10.0.0.0/24");
        table();
        run("CREATE ROLE app; GRANT CREATE ON SCHEMA public TO app; ALTER TABLE public.user_devices OWNER TO app;
             CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS $f$
             BEGIN PERFORM set_config('proof.spy', current_user, false); RETURN NEW; END $f$;
             CREATE TRIGGER spy BEFORE UPDATE ON public.user_devices FOR EACH ROW EXECUTE FUNCTION public.spy();
             SELECT nebula.link_device_table('public.user_devices')");
        allocate(&project, 1);
        assert_eq!(text("SELECT current_setting('proof.spy')"), "app");
        assert_eq!(text("SELECT current_user = session_user"), "true");
        assert_invariants();
    }
}
