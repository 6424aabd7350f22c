-- Traffic that a node forwards between its peers and the overlay: the firewall rules of the project, as nebula applies
-- them to devices. A rule between groups becomes one between the addresses of their members. nebula cannot tell a
-- peer's groups, since a certificate names only those of the node's device, so devices let in all that comes from a
-- pool of peers, and the node decides.

CREATE FUNCTION nebula.group_addresses(p_project_id uuid, p_groups text[], p_device_id uuid) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(SELECT host(a.ip)
                 FROM nebula.device d
                 JOIN nebula.allocation a ON a.device_id = d.device_id AND a.released_at IS NULL
                WHERE d.project_id = p_project_id
                  AND d.revoked_at IS NULL
                  AND d.groups @> p_groups
                  AND (p_device_id IS NULL OR d.device_id = p_device_id)
                ORDER BY a.ip);
END $$;
COMMENT ON FUNCTION nebula.group_addresses(uuid, text[], uuid) IS
  'Internal: addresses of the devices that are in all of these groups, or of one device';

CREATE FUNCTION nebula.peer_group_addresses(p_interface_id uuid, p_groups text[]) RETURNS text[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(SELECT host(a.ip)
                 FROM nebula.placement p
                 JOIN nebula.peer e USING (peer_id)
                 JOIN nebula.allocation a ON a.device_id = e.peer_id AND a.released_at IS NULL
                WHERE p.interface_id = p_interface_id
                  AND p.wanted = 'present'
                  AND e.groups @> p_groups
                ORDER BY a.ip);
END $$;
COMMENT ON FUNCTION nebula.peer_group_addresses(uuid, text[]) IS
  'Internal: addresses of the peers of an interface that are in all of these groups';

-- ends: the two sides of a rule, inside (for whom it is) and remote. Null: everything; empty: nobody, so no rule.
CREATE FUNCTION nebula.rule_sides(
  p_rule nebula.firewall_rule, p_interface_id uuid, p_peers_inside boolean, OUT inside text[], OUT remote text[]
)
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_peers_inside THEN
    inside := CASE
                WHEN p_rule.for_device IS NOT NULL THEN '{}'
                WHEN p_rule.for_group IS NOT NULL
                THEN nebula.peer_group_addresses(p_interface_id, ARRAY[p_rule.for_group])
              END;
    remote := CASE
                WHEN p_rule.remote_cidr IS NOT NULL THEN ARRAY[p_rule.remote_cidr::text]
                WHEN p_rule.remote_device IS NOT NULL
                THEN nebula.group_addresses(p_rule.project_id, '{}', p_rule.remote_device)
                WHEN p_rule.remote_groups <> '{}'
                THEN nebula.group_addresses(p_rule.project_id, p_rule.remote_groups, NULL)
              END;
    -- A network behind a device is nothing that a peer has.
    IF p_rule.local_cidr IS NOT NULL THEN
      inside := '{}';
    END IF;
  ELSE
    inside := CASE
                WHEN p_rule.local_cidr IS NOT NULL THEN ARRAY[p_rule.local_cidr::text]
                WHEN p_rule.for_device IS NOT NULL
                THEN nebula.group_addresses(p_rule.project_id, '{}', p_rule.for_device)
                WHEN p_rule.for_group IS NOT NULL
                THEN nebula.group_addresses(p_rule.project_id, ARRAY[p_rule.for_group], NULL)
              END;
    remote := CASE
                WHEN p_rule.remote_cidr IS NOT NULL THEN ARRAY[p_rule.remote_cidr::text]
                WHEN p_rule.remote_device IS NOT NULL THEN '{}'
                WHEN p_rule.remote_groups <> '{}'
                THEN nebula.peer_group_addresses(p_interface_id, p_rule.remote_groups)
              END;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.rule_sides(nebula.firewall_rule, uuid, boolean) IS
  'Internal: the addresses that a firewall rule is for and those it is about, where one side are peers of an '
  'interface and the other devices; null: all, empty: none';

CREATE FUNCTION nebula.peer_rules(p_project_id uuid, p_interface_id uuid, p_direction text, p_for_peers boolean)
RETURNS TABLE (rule nebula.firewall_rule, inside text[], remote text[])
LANGUAGE sql STABLE AS $$
  SELECT r, s.inside, s.remote
    FROM nebula.firewall_rule r
   CROSS JOIN LATERAL nebula.rule_sides(r, p_interface_id, p_for_peers) s
   WHERE r.project_id = p_project_id
     AND r.direction = p_direction
     AND s.inside IS DISTINCT FROM '{}'
     AND s.remote IS DISTINCT FROM '{}'
$$;
COMMENT ON FUNCTION nebula.peer_rules(uuid, uuid, text, boolean) IS
  'Internal: the rules of a direction with what rule_sides answers, but for those with an empty side';

CREATE FUNCTION nebula.forward_rule(
  p_from_peer boolean, p_sources text[], p_destinations text[], p_protocol text, p_first integer, p_last integer
) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
  SELECT jsonb_build_object('fromPeer', p_from_peer, 'sources', coalesce(p_sources, '{}'),
                            'destinations', coalesce(p_destinations, '{}'), 'protocol', p_protocol,
                            'portFirst', p_first, 'portLast', p_last)
$$;
COMMENT ON FUNCTION nebula.forward_rule(boolean, text[], text[], text, integer, integer) IS
  'Internal: what a node lets through, as the API writes it';

CREATE FUNCTION nebula.forward_rules(p_project_id uuid, p_interface_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_project nebula.project;
  v_rules   jsonb := '[]';
BEGIN
  SELECT p.*
    INTO v_project
    FROM nebula.project p
   WHERE p.project_id = p_project_id;
  -- From a peer to a device: the inbound rules of the device, unless it takes everything. Where outbound traffic is
  -- closed, the outbound rules for peers hold instead, if devices take everything, or else within what devices take.
  IF v_project.inbound = 'open' AND v_project.outbound = 'open' THEN
    v_rules := v_rules || nebula.forward_rule(true, NULL, NULL, 'any', NULL, NULL);
  ELSIF v_project.inbound = 'open' THEN
    v_rules := v_rules || (
      SELECT coalesce(jsonb_agg(nebula.forward_rule(true, r.inside, r.remote, (r.rule).protocol, (r.rule).port_first,
                                                    (r.rule).port_last)
                                ORDER BY (r.rule).rule_id), '[]')
        FROM nebula.peer_rules(p_project_id, p_interface_id, 'outbound', true) r);
  ELSE
    v_rules := v_rules || CASE
                            WHEN v_project.outbound = 'open'
                            THEN jsonb_build_array(nebula.forward_rule(true, NULL, NULL, 'icmp', NULL, NULL))
                            ELSE '[]'
                          END || (
      SELECT coalesce(jsonb_agg(nebula.forward_rule(true, r.remote, r.inside, (r.rule).protocol, (r.rule).port_first,
                                                    (r.rule).port_last)
                                ORDER BY (r.rule).rule_id), '[]')
        FROM nebula.peer_rules(p_project_id, p_interface_id, 'inbound', false) r
       -- Both directions closed: an outbound rule for the same peers has to allow the same.
       WHERE v_project.outbound = 'open'
          OR EXISTS (SELECT
                       FROM nebula.peer_rules(p_project_id, p_interface_id, 'outbound', true) o
                      WHERE (o.rule).protocol IN ('any', (r.rule).protocol)
                        AND ((o.rule).port_first IS NULL
                             OR (o.rule).port_first <= (r.rule).port_first
                                AND coalesce((o.rule).port_last, (o.rule).port_first)
                                    >= coalesce((r.rule).port_last, (r.rule).port_first))
                        AND (o.inside IS NULL OR r.remote <@ o.inside)
                        AND (o.remote IS NULL OR r.inside <@ o.remote)));
  END IF;
  -- From a device to a peer: the inbound rules for peers.
  IF v_project.inbound = 'open' THEN
    RETURN v_rules || nebula.forward_rule(false, NULL, NULL, 'any', NULL, NULL);
  END IF;
  RETURN v_rules || nebula.forward_rule(false, NULL, NULL, 'icmp', NULL, NULL) || (
    SELECT coalesce(jsonb_agg(nebula.forward_rule(false, r.remote, r.inside, (r.rule).protocol, (r.rule).port_first,
                                                  (r.rule).port_last)
                              ORDER BY (r.rule).rule_id), '[]')
      FROM nebula.peer_rules(p_project_id, p_interface_id, 'inbound', true) r);
END $$;
COMMENT ON FUNCTION nebula.forward_rules(uuid, uuid) IS
  'Internal: what a node lets through between the peers of an interface and the overlay, as the API writes it: the '
  'firewall rules of the project, or everything where it is open';
