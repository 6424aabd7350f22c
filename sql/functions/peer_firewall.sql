-- Traffic that a node forwards between its peers and the overlay: the firewall rules of the project, as nebula applies
-- them to devices. A rule between groups becomes one between the addresses of their members. nebula cannot tell a
-- peer's groups, since a certificate names only those of the node's device, so devices let in all that comes from a
-- pool of peers, and the node decides.

CREATE FUNCTION nebula.forward_rule(
  p_from_peer boolean, p_sources jsonb, p_destinations jsonb, p_protocol text, p_first integer, p_last integer
) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('fromPeer', p_from_peer, 'sources', coalesce(p_sources, '[]'),
                            'destinations', coalesce(p_destinations, '[]'), 'protocol', p_protocol,
                            'portFirst', p_first, 'portLast', p_last)
$$;
COMMENT ON FUNCTION nebula.forward_rule(boolean, jsonb, jsonb, text, integer, integer) IS
  'Internal: what a node lets through, as the API writes it';

-- Peers and devices that no rule tells apart are one class, so that a rule costs as much as there are classes, and its
-- sides are compared by them.
CREATE FUNCTION nebula.firewall_classes(p_project_id uuid, p_interface_id uuid)
RETURNS TABLE (class text, of_peers boolean, groups text[], device_id uuid, addresses inet[])
LANGUAGE sql STABLE AS $$
  SELECT 'peers ' || e.groups::text, true, e.groups, NULL::uuid, array_agg(a.ip)
    FROM (SELECT e.peer_id, e.groups
            FROM nebula.peer e
           WHERE e.project_id = p_project_id
             AND e.groups <> '{}'
             AND EXISTS (SELECT
                           FROM nebula.firewall_rule r
                          WHERE r.project_id = p_project_id
                            AND (r.for_group IS NOT NULL OR r.remote_groups <> '{}'))
          OFFSET 0) e
   CROSS JOIN LATERAL (SELECT
                         FROM nebula.placement p
                        WHERE p.peer_id = e.peer_id
                          AND p.interface_id = p_interface_id
                          AND p.wanted = 'present'
                        LIMIT 1) p
   CROSS JOIN LATERAL (SELECT a.ip
                         FROM nebula.allocation a
                        WHERE a.device_id = e.peer_id
                          AND a.released_at IS NULL
                       OFFSET 0) a
   GROUP BY e.groups
   UNION ALL
  SELECT 'devices ' || k.groups::text || coalesce(' ' || k.named, ''), false, k.groups, k.named, array_agg(k.ip)
    FROM (SELECT d.groups, n.device_id AS named, a.ip
            FROM nebula.device d
            JOIN nebula.allocation a ON a.device_id = d.device_id AND a.released_at IS NULL
            -- A device that a rule names is a class of its own.
            LEFT JOIN (SELECT r.for_device AS device_id
                         FROM nebula.firewall_rule r
                        WHERE r.project_id = p_project_id
                        UNION
                       SELECT r.remote_device FROM nebula.firewall_rule r WHERE r.project_id = p_project_id) n
              ON n.device_id = d.device_id
           WHERE d.project_id = p_project_id
             AND d.revoked_at IS NULL
             AND (n.device_id IS NOT NULL OR d.groups <> '{}')) k
   GROUP BY k.groups, k.named
$$;
COMMENT ON FUNCTION nebula.firewall_classes(uuid, uuid) IS
  'Internal: the peers of an interface and the devices of its project that firewall rules may speak of, by groups, '
  'with their addresses';

-- Null: everything; empty: nobody, so there is no rule.
CREATE FUNCTION nebula.forward_rules(p_project_id uuid, p_interface_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_project nebula.project;
  v_rules   jsonb;
BEGIN
  SELECT p.*
    INTO v_project
    FROM nebula.project p
   WHERE p.project_id = p_project_id;
  IF v_project.inbound = 'open' AND v_project.outbound = 'open' THEN
    RETURN jsonb_build_array(nebula.forward_rule(true, NULL, NULL, 'any', NULL, NULL),
                             nebula.forward_rule(false, NULL, NULL, 'any', NULL, NULL));
  END IF;
  WITH class AS MATERIALIZED (
    SELECT c.* FROM nebula.firewall_classes(p_project_id, p_interface_id) c
  ), rule AS MATERIALIZED (
    -- Each rule twice: inside, the side that it is for, are peers and the other side are devices, and the reverse.
    SELECT r.rule_id, r.direction, r.protocol, r.port_first, r.port_last, f.peers_inside, s.inside, s.remote
      FROM nebula.firewall_rule r
     CROSS JOIN (VALUES (true), (false)) AS f(peers_inside)
     CROSS JOIN LATERAL (
       SELECT CASE
                -- A peer is no device, and a network behind a device is nothing that a peer has.
                WHEN f.peers_inside AND (r.for_device IS NOT NULL OR r.local_cidr IS NOT NULL) THEN '{}'
                WHEN r.local_cidr IS NOT NULL THEN ARRAY[r.local_cidr::text]
                WHEN r.for_device IS NOT NULL OR r.for_group IS NOT NULL
                THEN ARRAY(SELECT c.class
                             FROM class c
                            WHERE c.of_peers = f.peers_inside
                              AND (r.for_device IS NULL OR c.device_id = r.for_device)
                              AND (r.for_group IS NULL OR r.for_group = ANY (c.groups)))
              END AS inside,
              CASE
                WHEN r.remote_cidr IS NOT NULL THEN ARRAY[r.remote_cidr::text]
                WHEN r.remote_device IS NOT NULL OR r.remote_groups <> '{}'
                THEN ARRAY(SELECT c.class
                             FROM class c
                            WHERE c.of_peers <> f.peers_inside
                              AND (r.remote_device IS NULL OR c.device_id = r.remote_device)
                              AND c.groups @> r.remote_groups)
              END AS remote) s
     WHERE r.project_id = p_project_id
       AND s.inside IS DISTINCT FROM '{}'
       AND s.remote IS DISTINCT FROM '{}'
  ), allowed AS (
    -- From a peer to a device: the inbound rules of the device, unless it takes everything. Where outbound traffic is
    -- closed, the outbound rules for peers hold instead, if devices take everything, or else within what devices take.
    SELECT true AS from_peer, r.rule_id, r.remote AS sources, r.inside AS destinations, r.protocol, r.port_first,
           r.port_last
      FROM rule r
     WHERE v_project.inbound <> 'open'
       AND r.direction = 'inbound'
       AND NOT r.peers_inside
       -- Both directions closed: an outbound rule for the same peers has to allow the same.
       AND (v_project.outbound = 'open'
            OR EXISTS (SELECT
                         FROM rule o
                        WHERE o.direction = 'outbound'
                          AND o.peers_inside
                          AND o.protocol IN ('any', r.protocol)
                          AND (o.port_first IS NULL
                               OR o.port_first <= r.port_first
                                  AND coalesce(o.port_last, o.port_first) >= coalesce(r.port_last, r.port_first))
                          AND (o.inside IS NULL OR r.remote <@ o.inside)
                          AND (o.remote IS NULL OR r.inside <@ o.remote)))
     UNION ALL
    SELECT true, r.rule_id, r.inside, r.remote, r.protocol, r.port_first, r.port_last
      FROM rule r
     WHERE v_project.inbound = 'open'
       AND r.direction = 'outbound'
       AND r.peers_inside
     UNION ALL
    SELECT true, 0, NULL, NULL, 'icmp', NULL, NULL
     WHERE v_project.inbound <> 'open'
       AND v_project.outbound = 'open'
     UNION ALL
    -- From a device to a peer: the inbound rules for peers.
    SELECT false, r.rule_id, r.remote, r.inside, r.protocol, r.port_first, r.port_last
      FROM rule r
     WHERE v_project.inbound <> 'open'
       AND r.direction = 'inbound'
       AND r.peers_inside
     UNION ALL
    SELECT false, 0, NULL, NULL, CASE v_project.inbound WHEN 'open' THEN 'any' ELSE 'icmp' END, NULL, NULL
  ), side AS (
    -- Each set of classes is written out once, however many rules name it. What is no class is a network.
    SELECT k.classes,
           (SELECT jsonb_agg(coalesce(host(a.ip), m.class) ORDER BY a.ip, m.class)
              FROM unnest(k.classes) AS m(class)
              LEFT JOIN class c USING (class)
              LEFT JOIN LATERAL unnest(c.addresses) AS a(ip) ON true) AS addresses
      FROM (SELECT w.sources AS classes FROM allowed w
             UNION
            SELECT w.destinations FROM allowed w) k
     WHERE k.classes IS NOT NULL
  )
  SELECT jsonb_agg(nebula.forward_rule(w.from_peer, s.addresses, d.addresses, w.protocol, w.port_first, w.port_last)
                   ORDER BY w.from_peer DESC, w.rule_id)
    INTO v_rules
    FROM allowed w
    LEFT JOIN side s ON s.classes = w.sources
    LEFT JOIN side d ON d.classes = w.destinations;
  RETURN v_rules;
END $$;
COMMENT ON FUNCTION nebula.forward_rules(uuid, uuid) IS
  'Internal: what a node lets through between the peers of an interface and the overlay, as the API writes it: the '
  'firewall rules of the project, or everything where it is open';
