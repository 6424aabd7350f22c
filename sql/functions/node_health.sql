-- Health of nodes, by the age of their last report; and the notification of their agents.

CREATE FUNCTION nebula.announce_nodes(p_node_ids uuid[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM pg_notify('nebula_node', n.node_id::text)
     FROM unnest(p_node_ids) AS n(node_id);
  PERFORM pg_notify('nebula_node', n.node_id::text)
     FROM nebula.node n
    WHERE p_node_ids IS NULL;
  -- Watchers read the list of peers again.
  PERFORM nebula.notify_event(n.project_id, 'peer', '', 'change')
     FROM nebula.node n
    WHERE p_node_ids IS NULL OR n.node_id = ANY (p_node_ids)
    GROUP BY n.project_id;
END $$;
COMMENT ON FUNCTION nebula.announce_nodes(uuid[]) IS
  'Internal: notifies channels nebula_node and nebula_event that what is wanted of these nodes, or of all (null), '
  'or what they have applied, has changed';

CREATE FUNCTION nebula.node_late_after() RETURNS interval
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN coalesce(nullif(current_setting('nebula.node_late_after', true), ''), '90s')::interval;
END $$;
COMMENT ON FUNCTION nebula.node_late_after() IS
  'Internal: age of the last report of a node from which on it counts as late and takes no peers';

CREATE FUNCTION nebula.node_health(p_seen_at timestamptz) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_lost CONSTANT interval := coalesce(nullif(current_setting('nebula.node_lost_after', true), ''), '10min')::interval;
BEGIN
  RETURN CASE
           WHEN p_seen_at IS NULL THEN 'unknown'
           WHEN p_seen_at < clock_timestamp() - v_lost THEN 'lost'
           WHEN p_seen_at < clock_timestamp() - nebula.node_late_after() THEN 'late'
           ELSE 'healthy'
         END;
END $$;
COMMENT ON FUNCTION nebula.node_health(timestamptz) IS
  'Internal: healthy, late or lost, by the time of the last report; unknown: it never reported';
