//! Networks and addresses in arguments: one rule for all functions that take them.

use pgrx::prelude::*;

/// Parameters that take a network or an address, as `function.parameter`, with a call. `{}` is a value with a prefix
/// length and bits of a host.
const CALLS: &[(&str, &str)] = &[
    ("create_project.cidr", "create_project('other', '{}')"),
    ("populate_pool.cidr", "populate_pool(:project, '{}', 'other')"),
    ("extend_pool.cidr", "extend_pool(:project, 'default', '{}')"),
    ("shrink_pool.cidr", "shrink_pool(:project, 'default', '{}')"),
    ("allocate_ip.address", "allocate_ip(:project, gen_random_uuid(), address => '{}')"),
    ("release_ip.address", "release_ip(:device, address => '{}')"),
    ("exclude_addresses.first", "exclude_addresses(:project, 'printers', '{}')"),
    ("exclude_addresses.first", "exclude_addresses(:project, 'printers', '{}', '10.0.0.99')"),
    ("exclude_addresses.last", "exclude_addresses(:project, 'printers', '10.0.0.20', '{}')"),
    ("end_quarantine.address", "end_quarantine(:project, '{}', 'returned')"),
    ("register_node.cidr", "register_node('n', 'n.test:51820', cidr => '{}')"),
    ("add_interface.dns", "add_interface(:node, 'wg1', 51821, dns => '{{}}')"),
    ("add_interface.cidr", "add_interface(:node, 'wg1', 51821, cidr => '{}')"),
    ("create_peer.address", "create_peer(:project, NULL, :key, address => '{}')"),
    ("create_peer.networks", "create_peer(:project, NULL, :key, reach => 'listed', networks => '{{}}')"),
    ("update_peer.networks", "update_peer(:peer, reach => 'listed', networks => '{{}}')"),
    ("create_enrolment.address", "create_enrolment(:project, address => '{}')"),
    ("add_rule.remote_cidr", "add_rule(:project, 'inbound', remote_cidr => '{}')"),
    ("add_rule.local_cidr", "add_rule(:project, 'inbound', local_cidr => '{}')"),
    ("add_route.network", "add_route(:project, '{}', :device)"),
    ("drop_route.network", "drop_route(:project, '{}')"),
];

#[pg_schema]
mod tests {
    use super::CALLS;
    use crate::tests::{attempt, device, one, project, register, run, text};
    use pgrx::prelude::*;

    #[pg_test]
    fn bits_of_a_host_are_refused_by_every_function_with_a_network() {
        let project = project("10.0.0.0/24");
        register(&project, 1, "host");
        let node = text("SELECT nebula.register_node('box', 'box.test:51820')");
        run(&format!("UPDATE nebula.node SET project_id = '{project}'"));
        run(&format!("SELECT nebula.create_peer('{project}', NULL, encode(sha256('a'), 'base64'))"));
        let peer = text("SELECT peer_id FROM nebula.peer");
        let mut tried = Vec::new();
        for (parameter, call) in CALLS {
            tried.push((*parameter).to_owned());
            let call = call
                .replace(":project", &format!("'{project}'"))
                .replace(":device", &format!("'{}'", device(1)))
                .replace(":node", &format!("'{node}'"))
                .replace(":peer", &format!("'{peer}'"))
                .replace(":key", "encode(sha256('b'), 'base64')")
                .replace("{}", "10.0.0.9/24");
            let [sqlstate, message, hint] = attempt(&format!("SELECT nebula.{call}"));
            assert_eq!(sqlstate, "22023", "{parameter}: {message}");
            assert!(message.contains("10.0.0.9/24"), "{parameter}: {message}");
            assert!(hint.contains("10.0.0.9"), "{parameter}: no value in the hint {hint:?}");
        }
        let parameters: Vec<String> = one(
            "SELECT array_agg(p.proname || '.' || a.name)
               FROM pg_proc p
              CROSS JOIN LATERAL unnest(p.proargnames, p.proargmodes, coalesce(p.proallargtypes, p.proargtypes))
                         AS a(name, mode, type)
              WHERE p.pronamespace = 'nebula'::regnamespace
                AND coalesce(a.mode, 'i') = 'i'
                AND a.type IN ('inet'::regtype, 'cidr'::regtype, 'inet[]'::regtype, 'cidr[]'::regtype)
                AND a.name <> 'client'
                AND obj_description(p.oid) !~ '^(Internal|For the gateway|For the worker|Trigger):'",
        );
        for parameter in parameters {
            assert!(tried.contains(&parameter), "no call in CALLS for {parameter}");
        }
    }
}
