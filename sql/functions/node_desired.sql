-- The desired state of an interface of a node. Each report is answered with it, mostly when nothing has changed, so it
-- reads only the peers that a partial index names: with groups, or with a reach beyond the overlay.

-- Members may lend a peer the way to the internet (member_reach), never to what is private behind the node. A peer of
-- an administrator or of a user of SQL reaches both, and whatever networks are listed. A peer whose account was deleted
-- counts as one of a member.
CREATE FUNCTION nebula.reach_outside(p_project_id uuid, p_interface_id uuid, p_overlay cidr[]) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (
    WITH beyond AS (
      SELECT a.ip, e.destinations
        FROM (SELECT e.peer_id,
                     CASE
                       WHEN e.reach = 'listed'
                       THEN ARRAY(SELECT w
                                    FROM unnest(e.networks) w
                                   WHERE NOT EXISTS (SELECT FROM unnest(p_overlay) o WHERE w <<= o))
                       WHEN e.made_by_sql OR nebula.role_of(e.creator_id) = 'admin' THEN '{0.0.0.0/0,::/0}'
                     END AS destinations
                FROM nebula.peer e
               WHERE e.project_id = p_project_id
                 AND e.reach <> 'overlay'
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
       WHERE e.destinations IS DISTINCT FROM '{}'
    )
    SELECT jsonb_build_object(
             'internet', (SELECT coalesce(jsonb_agg(host(b.ip) ORDER BY b.ip), '[]')
                            FROM beyond b
                           WHERE b.destinations IS NULL),
             'networks', (SELECT coalesce(jsonb_agg(jsonb_build_object('sources', g.sources, 'destinations',
                                                                       g.destinations) ORDER BY g.destinations), '[]')
                            FROM (SELECT b.destinations, jsonb_agg(host(b.ip) ORDER BY b.ip) AS sources
                                    FROM beyond b
                                   WHERE b.destinations IS NOT NULL
                                   GROUP BY b.destinations) g))
  );
END $$;
COMMENT ON FUNCTION nebula.reach_outside(uuid, uuid, cidr[]) IS
  'Internal: which peers of an interface may leave the overlay through the node, as the API writes it: to all that is '
  'public (internet), or to certain networks, private ones too (networks)';

CREATE FUNCTION nebula.desired_interface(p_node nebula.node, p_interface nebula.node_interface, p_base bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_overlay CONSTANT cidr[] := nebula.overlay_networks(p_node.project_id);
BEGIN
  RETURN jsonb_build_object(
    'interfaceId', p_interface.interface_id, 'name', p_interface.name, 'listenPort', p_interface.listen_port,
    'addresses', (SELECT coalesce(jsonb_agg(format('%s/%s', host(l.gateway), masklen(l.cidr))
                                            ORDER BY family(l.cidr), l.pool_id), '[]')
                    FROM nebula.pool l
                   WHERE l.interface_id = p_interface.interface_id
                     AND l.project_id = p_node.project_id),
    'mtu', p_interface.mtu, 'generation', p_interface.generation, 'base', p_base,
    'peers', (SELECT coalesce(jsonb_agg(
                       CASE
                         WHEN p.wanted = 'present' THEN
                           jsonb_strip_nulls(jsonb_build_object(
                             'peerId', e.peer_id, 'publicKey', encode(e.public_key, 'base64'),
                             'presharedKey', encode(e.preshared_key, 'base64'),
                             'allowedIps', nebula.allowed_ips(e.peer_id), 'absent', false))
                         ELSE jsonb_build_object('peerId', e.peer_id, 'publicKey', encode(e.public_key, 'base64'),
                                                 'allowedIps', '[]'::jsonb, 'absent', true)
                       END ORDER BY p.generation, p.peer_id), '[]')
                FROM nebula.placement p
                JOIN nebula.peer e USING (peer_id)
               WHERE p.interface_id = p_interface.interface_id
                 AND e.project_id = p_node.project_id
                 AND p.generation > p_base),
    -- Its peers are all of one project, since a device is tied only to a node without peers of others.
    'wanted', (SELECT count(*)
                 FROM nebula.placement p
                WHERE p.interface_id = p_interface.interface_id
                  AND p_node.project_id IS NOT NULL
                  AND p.wanted = 'present'),
    'repair', p_node.repair, 'overlay', to_jsonb(v_overlay),
    'dns', (SELECT coalesce(jsonb_agg(host(d)), '[]') FROM unnest(p_interface.dns) d),
    'firewall', nebula.forward_rules(p_node.project_id, p_interface.interface_id)
  ) || nebula.reach_outside(p_node.project_id, p_interface.interface_id, v_overlay);
END $$;
COMMENT ON FUNCTION nebula.desired_interface(nebula.node, nebula.node_interface, bigint) IS
  'Internal: what an interface is to run, as the API writes it: the peers that have changed since generation base, or '
  'all (0)';
