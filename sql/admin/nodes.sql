-- Nodes: the device that reports for each, its last report, the age of its secrets (not the secrets), and the refused
-- calls of the device.
--   psql -f sql/admin/nodes.sql                      all
--   psql -v node=alpha -f sql/admin/nodes.sql        one node, by name
--   psql -v days=30 -f sql/admin/nodes.sql           refusals and retired secrets of the last 30 days instead of 7
\if :{?node}
\else
  \set node ''
\endif
\if :{?days}
\else
  \set days 7
\endif
\pset footer off
\pset null '-'

SELECT s.name AS node, s.endpoint, s.project, s.device,
       s.state AS health, coalesce(s.reason, 'takes peers') AS state, s.active_peers || '/' || s.max_peers AS peers,
       date_trunc('second', now() - s.seen_at) AS "last pulse, ago",
       round((s.health ->> 'load')::numeric, 2) || '/' || (s.health ->> 'processors') AS load
  FROM nebula.node_status s
 WHERE :'node' IN ('', s.name)
 ORDER BY s.name;

SELECT n.name AS node, k.key_id AS secret, k.made_by AS "made by",
       date_trunc('second', now() - k.made_at) AS age,
       date_trunc('second', now() - k.used_at) AS "last used, ago",
       coalesce('retired ' || to_char(k.retired_at, 'YYYY-MM-DD HH24:MI'), 'good') AS state
  FROM nebula.node_secret k
  JOIN nebula.node n USING (node_id)
 WHERE :'node' IN ('', n.name)
   AND coalesce(k.retired_at, now()) > now() - make_interval(days => :days)
 ORDER BY n.name, k.retired_at DESC NULLS FIRST, k.made_at DESC;

-- A row may stand for several calls: equal refusals are recorded once a minute.
SELECT n.name AS node, d.name AS device,
       count(*) + sum(coalesce((e.detail ->> 'earlier')::bigint, 0)) AS refused,
       to_char(max(e.at), 'YYYY-MM-DD HH24:MI') AS last, e.client AS "from", e.detail ->> 'reason' AS reason
  FROM nebula.node n
  JOIN nebula.device d USING (device_id)
  JOIN nebula.event e ON e.subject = 'device'
       AND e.subject_id = d.device_id::text
       AND e.action = 'refuse-call'
 WHERE :'node' IN ('', n.name)
   AND e.at > now() - make_interval(days => :days)
 GROUP BY n.name, d.name, e.client, e.detail ->> 'reason'
 ORDER BY max(e.at) DESC
 LIMIT 20;
