-- The picture of a network: who talks to whom, from what agents report of their tunnels.

-- Rates are kept with the report, so that a picture needs one report of each agent.
CREATE FUNCTION nebula.with_rates(p_before jsonb, p_report jsonb, p_seconds double precision) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = nebula, pg_temp AS $$
  SELECT CASE
           WHEN jsonb_typeof(p_report -> 'peers') IS DISTINCT FROM 'array' THEN p_report
           ELSE jsonb_set(p_report, '{peers}', coalesce((
             SELECT jsonb_agg(jsonb_strip_nulls(n.peer || jsonb_build_object('bytesPerSecond', CASE
                      -- Counters begin again with the agent.
                      WHEN p_seconds BETWEEN 1 AND 600
                        AND (n.peer ->> 'receivedBytes')::numeric >= (o.peer ->> 'receivedBytes')::numeric
                        AND (n.peer ->> 'sentBytes')::numeric >= (o.peer ->> 'sentBytes')::numeric
                      THEN round(((n.peer ->> 'receivedBytes')::numeric - (o.peer ->> 'receivedBytes')::numeric
                                  + (n.peer ->> 'sentBytes')::numeric - (o.peer ->> 'sentBytes')::numeric)
                                 / p_seconds::numeric)
                    END)))
               FROM jsonb_array_elements(p_report -> 'peers') AS n(peer)
               LEFT JOIN (SELECT DISTINCT ON (k.peer ->> 'address') k.peer
                            FROM jsonb_array_elements(CASE jsonb_typeof(p_before -> 'peers')
                                                        WHEN 'array' THEN p_before -> 'peers'
                                                        ELSE '[]'
                                                      END) AS k(peer)) o
                 ON o.peer ->> 'address' = n.peer ->> 'address'), '[]'))
         END
$$;
COMMENT ON FUNCTION nebula.with_rates(jsonb, jsonb, double precision) IS
  'Internal: the report of an agent with the rate of each tunnel since the report before it';

-- Addresses are compared as text, because a device may report anything.
CREATE FUNCTION nebula.tunnels(p_project_id uuid)
RETURNS TABLE (one uuid, other uuid, rate numeric, relayed boolean, handshake_seconds numeric, one_sided boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
  SELECT least(s.reporter, s.remote), greatest(s.reporter, s.remote), coalesce(max(s.rate), 0),
         coalesce(bool_or(s.relayed), false), max(s.age), count(DISTINCT s.reporter) = 1
    FROM (SELECT g.device_id AS reporter, a.device_id AS remote, (p.peer ->> 'bytesPerSecond')::numeric AS rate,
                 p.peer ->> 'remote' LIKE 'relay %' AS relayed, (p.peer ->> 'handshakeSecondsAgo')::numeric AS age
            FROM nebula.agent g
           CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(g.report -> 'peers')
                                                     WHEN 'array' THEN g.report -> 'peers'
                                                     ELSE '[]'
                                                   END) AS p(peer)
            JOIN (SELECT host(k.ip) AS address, k.device_id
                    FROM nebula.allocation k
                   WHERE k.project_id = p_project_id
                     AND k.released_at IS NULL) a ON a.address = p.peer ->> 'address'
           WHERE g.project_id = p_project_id
             AND g.reported_at > now() - interval '3 minutes'
             AND a.device_id <> g.device_id) s
   GROUP BY 1, 2
$$;
COMMENT ON FUNCTION nebula.tunnels(uuid) IS
  'Internal: tunnels between devices of a project as their agents reported them in the last three minutes. Both ends '
  'report a tunnel: the higher rate and the older handshake count. Rates are bytes a second in both directions';

CREATE FUNCTION nebula.network_points(p_project_id uuid)
RETURNS TABLE (device_id uuid, name text, kind text, place text, state text, attention boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
  SELECT d.device_id, d.name, k.kind,
         CASE WHEN k.kind = 'device' THEN 'group:' || coalesce(d.groups[1], '') ELSE 'device:' || d.device_id END,
         CASE
           WHEN s.seen_at > now() - interval '2 minutes' THEN 'online'
           WHEN s.seen_at > now() - interval '10 minutes' THEN 'late'
           ELSE 'silent'
         END,
         g.refused_version > g.acknowledged_version IS TRUE
    FROM nebula.device d
    LEFT JOIN nebula.agent g ON g.device_id = d.device_id
   CROSS JOIN LATERAL (SELECT greatest(d.last_seen_at, g.reported_at) AS seen_at) s
   CROSS JOIN LATERAL (SELECT CASE
                                WHEN d.role <> 'host' THEN d.role
                                WHEN EXISTS (SELECT FROM nebula.node n WHERE n.device_id = d.device_id) THEN 'node'
                                ELSE 'device'
                              END AS kind) k
   WHERE d.project_id = p_project_id
     AND d.revoked_at IS NULL
$$;
COMMENT ON FUNCTION nebula.network_points(uuid) IS
  'Internal: devices of a project and where they are in its picture: lighthouses, relays and nodes by themselves, all '
  'others in their first group';

CREATE FUNCTION nebula.network(
  p_actor nebula.proven_account, p_project_id uuid, p_focus uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
BEGIN
  PERFORM nebula.require_permission(p_actor, p_project_id, 'project.read');
  RETURN (
    WITH point AS MATERIALIZED (SELECT * FROM nebula.network_points(p_project_id)),
    tunnel AS MATERIALIZED (
      SELECT t.*
        FROM nebula.tunnels(p_project_id) t
       WHERE p_focus IS NULL OR p_focus IN (t.one, t.other)
    ),
    link AS (
      SELECT least(o.place, e.place) AS place, greatest(o.place, e.place) AS other_place, sum(t.rate) AS rate,
             count(*) AS n, count(*) FILTER (WHERE t.relayed) AS relayed
        FROM tunnel t
        JOIN point o ON o.device_id = t.one
        JOIN point e ON e.device_id = t.other
       WHERE p_focus IS NULL
       GROUP BY 1, 2
    )
    SELECT jsonb_build_object(
      'projectId', p_project_id, 'asOf', now(),
      'anchors', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                    'id', p.place, 'deviceId', p.device_id, 'name', p.name, 'kind', p.kind,
                                    'state', p.state, 'attention', p.attention) ORDER BY p.kind, p.name), '[]')
                    FROM point p
                   WHERE p.kind <> 'device'),
      'groups', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                   'id', g.place, 'name', substr(g.place, 7), 'devices', g.n, 'online', g.online,
                                   'attention', g.attention) ORDER BY g.place), '[]')
                   FROM (SELECT p.place, count(*) AS n, count(*) FILTER (WHERE p.state = 'online') AS online,
                                count(*) FILTER (WHERE p.attention) AS attention
                           FROM point p
                          WHERE p.kind = 'device'
                          GROUP BY p.place) g),
      'bundles', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                    'from', l.place, 'to', l.other_place, 'bytesPerSecond', l.rate, 'tunnels', l.n,
                                    'relayed', l.relayed) ORDER BY l.rate DESC, l.place, l.other_place), '[]')
                    FROM (SELECT * FROM link ORDER BY rate DESC, n DESC LIMIT 400) l),
      'partners', (SELECT coalesce(jsonb_agg(jsonb_build_object(
                                     'deviceId', f.device_id, 'name', f.name, 'kind', f.kind, 'state', f.state,
                                     'bytesPerSecond', f.rate, 'relayed', f.relayed,
                                     'handshakeSecondsAgo', f.handshake_seconds, 'oneSided', f.one_sided)
                                   ORDER BY f.rate DESC, f.name), '[]')
                     FROM (SELECT p.*, t.rate, t.relayed, t.handshake_seconds, t.one_sided
                             FROM tunnel t
                             JOIN point p ON p.device_id = CASE WHEN t.one = p_focus THEN t.other ELSE t.one END
                            WHERE p_focus IS NOT NULL
                            ORDER BY t.rate DESC, p.name
                            LIMIT 60) f),
      'tunnels', (SELECT count(*) FROM tunnel)));
END $$;
COMMENT ON FUNCTION nebula.network(nebula.proven_account, uuid, uuid) IS
  'For the gateway: the picture of a project as the API writes it: lighthouses, relays and nodes, groups of devices, '
  'and at most 400 bundles of tunnels between them; with a device in focus its 60 busiest partners instead. Errors: '
  '28000, P0002 no such project, 42501 not a member';
