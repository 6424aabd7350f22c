-- The configuration of a project. Every change of what its devices must run increments config_version in the same
-- transaction; triggers do it, so plain UPDATEs count too. A new ordinary host changes nothing for the others and
-- increments nothing. Functions that run in every request are PL/pgSQL, which caches plans for the session; a
-- function in language sql is planned again for each statement that calls it.

CREATE FUNCTION nebula.tell_agents(
  p_project_id uuid, p_version bigint, p_device_id uuid DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM pg_notify('nebula_agent', json_build_object(
    'project', p_project_id, 'version', p_version, 'device', p_device_id)::text);
END $$;
COMMENT ON FUNCTION nebula.tell_agents(uuid, bigint, uuid) IS
  'Internal: notifies channel nebula_agent, which wakes agents of the project that run an older version, '
  'or the one device';

CREATE FUNCTION nebula.bump_configuration(p_project_id uuid DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  UPDATE nebula.project p
     SET config_version = p.config_version + 1
   WHERE p_project_id IS NULL OR p.project_id = p_project_id
$$;
COMMENT ON FUNCTION nebula.bump_configuration(uuid) IS
  'Internal: makes every agent of a project, or of all projects, fetch its configuration again';

CREATE FUNCTION nebula.project_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF NEW.config_version = OLD.config_version
     AND (NEW.name, NEW.cidr, NEW.certificate_versions, NEW.mtu, NEW.cipher, NEW.punchy, NEW.dns_port,
          NEW.dns_domain, NEW.inbound, NEW.outbound)
         IS DISTINCT FROM
         (OLD.name, OLD.cidr, OLD.certificate_versions, OLD.mtu, OLD.cipher, OLD.punchy, OLD.dns_port,
          OLD.dns_domain, OLD.inbound, OLD.outbound)
  THEN
    NEW.config_version := OLD.config_version + 1;
  END IF;
  IF NEW.config_version <> OLD.config_version THEN
    PERFORM nebula.tell_agents(NEW.project_id, NEW.config_version);
    -- Firewall rules and routes are part of what nodes enforce for their peers.
    PERFORM nebula.notify_node(n.node_id)
       FROM nebula.node n
      WHERE n.project_id = NEW.project_id
        AND n.device_id IS NOT NULL;
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION nebula.project_changed() IS 'Trigger: options of a project are part of its configuration';

CREATE TRIGGER project_changed BEFORE UPDATE ON nebula.project
  FOR EACH ROW EXECUTE FUNCTION nebula.project_changed();

CREATE FUNCTION nebula.rules_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.bump_configuration(p.project_id)
    FROM (SELECT DISTINCT unnest(ARRAY[OLD.project_id, NEW.project_id]) AS project_id) p
   WHERE p.project_id IS NOT NULL;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.rules_changed() IS
  'Trigger: firewall rules and routes are part of the configuration of their project';

-- Sessions cache which projects have rules that name devices or groups.
CREATE TRIGGER invalidate_named_devices AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nebula.firewall_rule
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.table_changed();
ALTER TABLE nebula.firewall_rule ENABLE ALWAYS TRIGGER invalidate_named_devices;
CREATE TRIGGER firewall_rule_changed AFTER INSERT OR UPDATE OR DELETE ON nebula.firewall_rule
  FOR EACH ROW EXECUTE FUNCTION nebula.rules_changed();
CREATE TRIGGER route_changed AFTER INSERT OR UPDATE OR DELETE ON nebula.route
  FOR EACH ROW EXECUTE FUNCTION nebula.rules_changed();

CREATE FUNCTION nebula.notify_firewalls(
  p_project_id uuid, p_device_ids uuid[], p_former_groups text[] DEFAULT '{}'
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_groups CONSTANT text[] := p_former_groups || ARRAY(SELECT g
                                                         FROM nebula.device d
                                                        CROSS JOIN unnest(d.groups) AS g
                                                        WHERE d.device_id = ANY (p_device_ids));
BEGIN
  IF EXISTS (SELECT
               FROM nebula.firewall_rule r
              WHERE r.project_id = p_project_id
                AND (r.for_group = ANY (v_groups)
                     OR r.remote_groups && v_groups
                     OR r.for_device = ANY (p_device_ids)
                     OR r.remote_device = ANY (p_device_ids)))
  THEN
    PERFORM nebula.notify_node(n.node_id)
       FROM nebula.node n
      WHERE n.project_id = p_project_id
        AND n.device_id IS NOT NULL;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.notify_firewalls(uuid, uuid[], text[]) IS
  'Internal: wakes the agents of the nodes of a project if a firewall rule names these devices or their present or '
  'former groups, because nodes enforce such a rule by the addresses of the devices. Raises no version: only the nodes '
  'have to know';

CREATE FUNCTION nebula.device_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  -- Lighthouses, relays and devices with routes are part of the configuration of every member; any other device only
  -- if a firewall rule refers to its name.
  IF (OLD.role IN ('lighthouse', 'relay') OR NEW.role IN ('lighthouse', 'relay'))
     AND (OLD.role, OLD.endpoints, OLD.revoked_at IS NULL)
         IS DISTINCT FROM (NEW.role, NEW.endpoints, NEW.revoked_at IS NULL)
     OR TG_OP = 'UPDATE'
        AND (OLD.revoked_at IS NULL) <> (NEW.revoked_at IS NULL)
        AND EXISTS (SELECT FROM nebula.route r WHERE r.device_id = NEW.device_id)
     OR TG_OP = 'UPDATE'
        AND OLD.name <> NEW.name
        AND EXISTS (SELECT FROM nebula.firewall_rule r WHERE r.remote_device = NEW.device_id)
  THEN
    PERFORM nebula.bump_configuration(coalesce(NEW.project_id, OLD.project_id));
  END IF;
  -- Its certificate contains name and groups: let its agent fetch a new one.
  IF TG_OP = 'UPDATE' AND (OLD.name, OLD.groups) IS DISTINCT FROM (NEW.name, NEW.groups) THEN
    PERFORM nebula.tell_agents(NEW.project_id, 0, NEW.device_id);
  END IF;
  IF TG_OP = 'UPDATE'
     AND (OLD.groups, OLD.revoked_at IS NULL) IS DISTINCT FROM (NEW.groups, NEW.revoked_at IS NULL)
  THEN
    PERFORM nebula.notify_firewalls(NEW.project_id, ARRAY[NEW.device_id], OLD.groups);
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.device_changed() IS
  'Trigger: lighthouses and relays are part of the configuration of every device';

-- Registering an ordinary host fires no trigger.
CREATE TRIGGER device_added AFTER INSERT ON nebula.device
  FOR EACH ROW WHEN (NEW.role <> 'host') EXECUTE FUNCTION nebula.device_changed();
CREATE TRIGGER device_removed AFTER DELETE ON nebula.device
  FOR EACH ROW WHEN (OLD.role <> 'host') EXECUTE FUNCTION nebula.device_changed();
CREATE TRIGGER device_changed AFTER UPDATE OF role, endpoints, revoked_at, name, groups ON nebula.device
  FOR EACH ROW EXECUTE FUNCTION nebula.device_changed();

-- Functions in Rust.
COMMENT ON FUNCTION nebula.table_changed() IS
  'Trigger: invalidates what sessions have cached of the table when this transaction commits';

-- Every allocation and release checks whether the device is a static host: one that the configurations of other devices
-- name. Sessions cache the set of static hosts; these triggers invalidate the cache.
CREATE TRIGGER invalidate_static_hosts_insert AFTER INSERT ON nebula.device
  FOR EACH ROW WHEN (NEW.role <> 'host') EXECUTE FUNCTION nebula.table_changed();
CREATE TRIGGER invalidate_static_hosts_delete AFTER DELETE ON nebula.device
  FOR EACH ROW WHEN (OLD.role <> 'host') EXECUTE FUNCTION nebula.table_changed();
CREATE TRIGGER invalidate_static_hosts_update AFTER UPDATE OF device_id, role, revoked_at ON nebula.device
  FOR EACH ROW WHEN (OLD.role <> 'host' OR NEW.role <> 'host') EXECUTE FUNCTION nebula.table_changed();
CREATE TRIGGER invalidate_static_hosts AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nebula.route
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.table_changed();
ALTER TABLE nebula.device ENABLE ALWAYS TRIGGER invalidate_static_hosts_insert;
ALTER TABLE nebula.device ENABLE ALWAYS TRIGGER invalidate_static_hosts_delete;
ALTER TABLE nebula.device ENABLE ALWAYS TRIGGER invalidate_static_hosts_update;
ALTER TABLE nebula.route ENABLE ALWAYS TRIGGER invalidate_static_hosts;

-- Internal functions, here and in other files, are called only by functions of this schema and run with their search
-- path and privileges. They have neither SECURITY DEFINER nor SET: switching both costs as much as the function does.

CREATE FUNCTION nebula.device_networks(p_device_id uuid) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT coalesce(
                   array_agg(format('%s/%s', host(a.ip), masklen(CASE WHEN a.ip <<= p.cidr THEN p.cidr ELSE l.cidr END))
                             ORDER BY family(a.ip)),
                   '{}')
            FROM nebula.allocation a
            JOIN nebula.project p USING (project_id)
            JOIN nebula.pool l USING (pool_id)
           WHERE a.device_id = p_device_id
             AND a.released_at IS NULL);
END $$;
COMMENT ON FUNCTION nebula.device_networks(uuid) IS
  'Internal: the addresses a device holds with the prefix length of the overlay, IPv4 first, as its '
  'certificate must name them';

CREATE FUNCTION nebula.device_unsafe_networks(p_device_id uuid) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
    SELECT coalesce(array_agg(r.network::text ORDER BY r.network), '{}')
      FROM (SELECT o.network
              FROM nebula.route o
             WHERE o.device_id = p_device_id
             UNION
            -- All pools of peers of its project, so that a peer that moves to another node needs no new certificate. A
            -- certificate may name a network only beside an address of the same family.
            SELECT l.cidr
              FROM nebula.node n
              JOIN nebula.pool l USING (project_id)
             WHERE n.device_id = p_device_id
               AND l.purpose = 'peer'
               AND EXISTS (SELECT
                             FROM nebula.allocation a
                            WHERE a.device_id = p_device_id
                              AND a.released_at IS NULL
                              AND family(a.ip) = family(l.cidr))) r
  );
END $$;
COMMENT ON FUNCTION nebula.device_unsafe_networks(uuid) IS
  'Internal: networks behind a device, which its certificate must name: routes, and for the device of a node '
  'the pools of peers';

-- The result depends on config_version only, so a gateway caches it by that version: every change of its inputs
-- increments the version. The one exception is time: the blocklist omits certificates that have expired by now.
CREATE FUNCTION nebula.project_configuration(p_project_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_project(p_project_id);
  RETURN (SELECT jsonb_build_object(
                   'version', p.config_version, 'projectId', p.project_id, 'project', p.name,
                   'cidr', p.cidr, 'certificateVersions', p.certificate_versions, 'mtu', p.mtu,
                   'cipher', p.cipher, 'punchy', p.punchy, 'dnsPort', p.dns_port,
                   'dnsDomain', p.dns_domain,
                   'inboundOpen', p.inbound = 'open', 'outboundOpen', p.outbound = 'open',
                   'staticHosts',
                     (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                                  'deviceId', l.device_id,
                                                  'lighthouse', l.role = 'lighthouse', 'ip', l.ip,
                                                  'endpoints', l.endpoints
                                                )),
                                      '[]')
                        FROM nebula.project_lighthouses(p.project_id) l),
                   'blocklist',
                     (SELECT coalesce(jsonb_agg(encode(f.fingerprint, 'hex') ORDER BY f.fingerprint), '[]')
                        FROM (SELECT c.fingerprint, c.alternate_fingerprint
                                FROM nebula.certificate c
                               WHERE c.project_id = p.project_id
                                 AND c.revoked_at IS NOT NULL
                                 AND c.not_after > clock_timestamp()
                              UNION
                              SELECT s.fingerprint, s.alternate_fingerprint
                                FROM nebula.foreign_certificates(p.project_id) s) c
                       CROSS JOIN LATERAL (
                                    VALUES (c.fingerprint), (c.alternate_fingerprint)
                                  ) AS f(fingerprint)
                       WHERE f.fingerprint IS NOT NULL),
                   'routes',
                     (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                                  'deviceId', r.device_id, 'network', r.network,
                                                  'via', host(a.ip), 'mtu', r.mtu,
                                                  'metric', r.metric
                                                ) ORDER BY r.network),
                                      '[]')
                        FROM (SELECT o.device_id, o.network, o.mtu, o.metric
                                FROM nebula.route o
                               WHERE o.project_id = p.project_id
                               UNION ALL
                              SELECT e.device_id, e.network, NULL, NULL
                                FROM nebula.peer_routes(p.project_id) e) r
                        JOIN nebula.device v ON v.device_id = r.device_id AND v.revoked_at IS NULL
                        JOIN nebula.allocation a ON a.device_id = r.device_id
                             AND a.released_at IS NULL
                             AND family(a.ip) = family(r.network)),
                   'peerPools',
                     (SELECT coalesce(jsonb_agg(l.cidr ORDER BY l.cidr), '[]')
                        FROM nebula.pool l
                       WHERE l.project_id = p.project_id
                         AND l.purpose = 'peer'),
                   'trust',
                     (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                                  'fingerprint', encode(t.fingerprint, 'hex'),
                                                  'signs', t.signs, 'signs_responses', t.signs_responses, 'pem', t.pem
                                                ) ORDER BY t.signs DESC),
                                      '[]')
                        FROM nebula.project_trust(p.project_id) t)
                 )
            FROM nebula.project p
           WHERE p.project_id = p_project_id);
END $$;
COMMENT ON FUNCTION nebula.project_configuration(uuid) IS
  'Internal: the part of nebula.yml that all devices of a project share, their trusted authorities, '
  'and its version. Errors: P0002 no such project';

CREATE FUNCTION nebula.project_configuration_for(
  p_gateway nebula.proven_gateway, p_project_id uuid
) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN nebula.project_configuration(p_project_id);
END $$;
COMMENT ON FUNCTION nebula.project_configuration_for(nebula.proven_gateway, uuid) IS
  'For the gateway: project_configuration. Errors: P0002 no such project';

-- STABLE, hence one snapshot: version and content belong together. Two arrays instead of one of a composite type,
-- because registrations and reads of one configuration give no public keys.
-- Fixed plan (sql/README.md): one indexed subquery per device and table, with LIMIT 1, instead of joins.
CREATE FUNCTION nebula.device_configurations(
  p_gateway nebula.proven_gateway, p_device_ids uuid[], p_public_keys bytea[] DEFAULT NULL, p_known bigint DEFAULT NULL
) RETURNS TABLE (
  version bigint, name text, role text, endpoints text[], groups text[], networks text[],
  unsafe_networks text[], lifetime_seconds bigint, inbound jsonb, outbound jsonb, certificate text,
  project jsonb
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN QUERY
    SELECT p.config_version, d.name, d.role, d.endpoints, array_remove(d.groups, NULL),
           nebula.device_networks(d.device_id), nebula.device_unsafe_networks(d.device_id),
           extract(epoch FROM p.certificate_lifetime)::bigint,
           coalesce(r.inbound, '[]'), coalesce(r.outbound, '[]'), c.pem,
           CASE
             WHEN w.place = 1 AND p.config_version IS DISTINCT FROM p_known
             THEN nebula.project_configuration(p.project_id)
           END
      FROM unnest(p_device_ids, p_public_keys) WITH ORDINALITY AS w(device_id, public_key, place)
      LEFT JOIN LATERAL (SELECT k.* FROM nebula.device k WHERE k.device_id = w.device_id LIMIT 1) d ON true
      LEFT JOIN LATERAL (SELECT k.*
                           FROM nebula.project k
                          WHERE k.project_id = d.project_id
                          LIMIT 1) p ON true
      LEFT JOIN LATERAL (
                  SELECT jsonb_agg(f.rule ORDER BY f.rule_id) FILTER (WHERE f.direction = 'inbound') AS inbound,
                         jsonb_agg(f.rule ORDER BY f.rule_id) FILTER (WHERE f.direction = 'outbound') AS outbound
                    FROM (
                           SELECT l.rule_id, l.direction,
                                  jsonb_build_object(
                                    'ruleId', l.rule_id, 'protocol', l.protocol, 'portFirst', l.port_first,
                                    'portLast', l.port_last, 'groups', l.remote_groups,
                                    'cidr', l.remote_cidr, 'host', o.name, 'local', l.local_cidr
                                  ) AS rule
                             FROM nebula.firewall_rule l
                             LEFT JOIN nebula.device o ON o.device_id = l.remote_device
                            WHERE l.project_id = d.project_id
                              AND (l.for_device = d.device_id
                                   OR l.for_group = ANY (d.groups)
                                   OR num_nonnulls(l.for_device, l.for_group) = 0)
                              -- nebula before 1.10 takes an IPv6 network for a part of IPv4, often all of it. It reads
                              -- certificates of version 1 only.
                              AND NOT ((family(l.remote_cidr) = 6 OR family(l.local_cidr) = 6) IS TRUE
                                       AND 1 = ANY (p.certificate_versions)
                                       AND NOT EXISTS (SELECT
                                                         FROM nebula.agent a
                                                        WHERE a.device_id = d.device_id
                                                          AND a.nebula_version !~ '^v?1\.[0-9](\.|$)'))
                              -- nebula before 1.9 ignores local_cidr and would admit traffic to any network.
                              AND NOT (l.local_cidr IS NOT NULL
                                       AND EXISTS (SELECT
                                                     FROM nebula.agent a
                                                    WHERE a.device_id = d.device_id
                                                      AND a.nebula_version ~ '^v?1\.[0-8](\.|$)'))
                         ) f
                ) r ON true
      -- The certificates for this public key that were issued last.
      LEFT JOIN LATERAL (SELECT string_agg(k.pem, '' ORDER BY k.version) AS pem
                           FROM nebula.certificate k
                          WHERE w.public_key IS NOT NULL
                            AND k.device_id = d.device_id
                            AND k.public_key = w.public_key
                            AND k.issued_at = (SELECT max(m.issued_at)
                                                 FROM nebula.certificate m
                                                WHERE m.device_id = d.device_id
                                                  AND m.public_key = w.public_key)) c ON true
     ORDER BY w.place;
END $$;
COMMENT ON FUNCTION nebula.device_configurations(nebula.proven_gateway, uuid[], bytea[], bigint) IS
  'For the gateway: what nebula.yml and the certificate of each of several devices of a project are made '
  'from, in the order given, and the version of the project it belongs to; project, with the first: what '
  'project_configuration answers, unless known is that version. With a public key also the last '
  'certificates signed for that key. All null: no such device';

CREATE FUNCTION nebula.project_options(p_actor nebula.proven_account, p_project_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT jsonb_strip_nulls(
           jsonb_build_object(
             'version', p.config_version,
             'lifetimeSeconds', extract(epoch FROM p.certificate_lifetime)::bigint,
             'certificateVersions', p.certificate_versions, 'mtu', p.mtu, 'cipher', p.cipher,
             'punchy', p.punchy, 'dnsPort', p.dns_port, 'dnsDomain', p.dns_domain, 'inbound', p.inbound,
             'outbound', p.outbound, 'syncPendingKib', p.sync_pending_kib,
             'syncHashers', p.sync_hashers, 'syncWrites', p.sync_writes, 'syncOrder', p.sync_order,
             'syncConnections', p.sync_connections, 'memberReach', p.member_reach
           )
         )
    FROM nebula.require_member(p_actor, p_project_id), nebula.project p
   WHERE p.project_id = p_project_id
$$;
COMMENT ON FUNCTION nebula.project_options(nebula.proven_account, uuid) IS
  'For the gateway: options of a project as the API writes them. Errors: P0002 no such project, 42501 '
  'not a member';

CREATE FUNCTION nebula.set_project_options(p_actor nebula.proven_account, p_project_id uuid, p_changes jsonb)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who    text  := nebula.require_permission(p_actor, p_project_id, 'project.write');
  v_wanted jsonb;
  v_before jsonb;
  v_after  jsonb;
  v_old    record;
BEGIN
  PERFORM nebula.require_project(p_project_id);
  PERFORM nebula.check_project_options(CASE jsonb_typeof(p_changes)
                                         WHEN 'object' THEN jsonb_strip_nulls(p_changes) - 'version'
                                       END);
  v_wanted := jsonb_strip_nulls(p_changes) - 'version';
  IF jsonb_typeof(v_wanted -> 'certificateVersions') = 'number' THEN
    v_wanted := jsonb_set(v_wanted, '{certificateVersions}', jsonb_build_array(v_wanted -> 'certificateVersions'));
  END IF;
  -- Of options and a pool or a lighthouse that change at the same time, the later one sees the earlier one.
  PERFORM
     FROM nebula.project p
    WHERE p.project_id = p_project_id
      FOR NO KEY UPDATE;
  v_before := nebula.project_options(p_actor, p_project_id);
  PERFORM nebula.check_mtu(p_project_id, (v_wanted ->> 'mtu')::integer);
  PERFORM nebula.check_dns_port((v_wanted ->> 'dnsPort')::integer, d.endpoints)
     FROM (SELECT '{}'::text[] AS endpoints
            UNION ALL
           SELECT k.endpoints
             FROM nebula.device k
            WHERE k.project_id = p_project_id
              AND k.role = 'lighthouse'
              AND k.revoked_at IS NULL) d;
  IF v_wanted ? 'certificateVersions' AND NOT v_wanted -> 'certificateVersions' @> '1' THEN
    SELECT d.name, a.nebula_version
      INTO v_old
      FROM nebula.agent a
      JOIN nebula.device d USING (device_id)
     WHERE a.project_id = p_project_id
       AND d.revoked_at IS NULL
       AND a.nebula_version ~ '^v?1\.[0-9](\.|$)'
     ORDER BY d.name
     LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'device "%" runs nebula %, which reads certificates of version 1 only',
          v_old.name, v_old.nebula_version
        USING ERRCODE = '55000', HINT = 'Put nebula 1.10 or later on every device first, or keep [1,2].';
    END IF;
  END IF;
  UPDATE nebula.project p
     SET certificate_lifetime = CASE
           WHEN v_wanted ? 'lifetimeSeconds'
           THEN make_interval(secs => nullif((v_wanted ->> 'lifetimeSeconds')::bigint, 0))
           ELSE p.certificate_lifetime
         END,
         certificate_versions = CASE
           WHEN v_wanted ? 'certificateVersions'
           THEN ARRAY(SELECT v::smallint
                        FROM jsonb_array_elements_text(v_wanted -> 'certificateVersions') v
                       ORDER BY 1)
           ELSE p.certificate_versions
         END,
         mtu = coalesce((v_wanted ->> 'mtu')::integer, p.mtu),
         cipher = coalesce(v_wanted ->> 'cipher', p.cipher),
         punchy = coalesce((v_wanted ->> 'punchy')::boolean, p.punchy),
         dns_port = CASE WHEN v_wanted ? 'dnsPort' THEN nullif((v_wanted ->> 'dnsPort')::integer, 0)
                         ELSE p.dns_port END,
         dns_domain = CASE WHEN v_wanted ? 'dnsDomain' THEN nullif(v_wanted ->> 'dnsDomain', '') ELSE p.dns_domain END,
         inbound = coalesce(v_wanted ->> 'inbound', p.inbound),
         outbound = coalesce(v_wanted ->> 'outbound', p.outbound),
         sync_pending_kib = CASE
           WHEN v_wanted ? 'syncPendingKib' THEN nullif((v_wanted ->> 'syncPendingKib')::integer, 0)
           ELSE p.sync_pending_kib END,
         sync_hashers = CASE WHEN v_wanted ? 'syncHashers' THEN nullif((v_wanted ->> 'syncHashers')::integer, 0)
                             ELSE p.sync_hashers END,
         sync_writes = CASE WHEN v_wanted ? 'syncWrites' THEN nullif((v_wanted ->> 'syncWrites')::integer, 0)
                            ELSE p.sync_writes END,
         sync_order = CASE WHEN v_wanted ? 'syncOrder' THEN nullif(v_wanted ->> 'syncOrder', '') ELSE p.sync_order END,
         sync_connections = CASE
           WHEN v_wanted ? 'syncConnections' THEN nullif((v_wanted ->> 'syncConnections')::integer, 0)
           ELSE p.sync_connections END,
         member_reach = coalesce(v_wanted ->> 'memberReach', p.member_reach)
   WHERE p.project_id = p_project_id;
  v_after := nebula.project_options(p_actor, p_project_id);
  PERFORM nebula.record_event(p_project_id, v_who, 'configure', 'project', p_project_id::text, NULL,
                              nebula.changed_values(v_before, v_after, v_wanted));
  RETURN v_after;
END $$;
COMMENT ON FUNCTION nebula.set_project_options(nebula.proven_account, uuid, jsonb) IS
  'For the gateway: changes options of a project, written as the API writes them; answers all of them. '
  'Errors: 42501 not an administrator, P0002 no such project, 22023 a value that cannot be, 55000 without '
  'certificates of version 1 while a device needs them';
