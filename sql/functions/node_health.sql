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

CREATE FUNCTION nebula.lock_node_of(p_device_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM
    FROM nebula.node n
   WHERE n.device_id = p_device_id
     FOR NO KEY UPDATE;
END $$;
COMMENT ON FUNCTION nebula.lock_node_of(uuid) IS
  'Internal: locks the node that a device represents, if it does. Called before the row of its agent is locked';

-- Stored, not looked up: selection reads an index of nodes alone.
CREATE FUNCTION nebula.device_ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  UPDATE nebula.node n
     SET device_gone = CASE TG_OP WHEN 'DELETE' THEN 'removed' ELSE 'revoked' END
   WHERE n.device_id = OLD.device_id;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
COMMENT ON FUNCTION nebula.device_ended() IS
  'Trigger: a node whose device is revoked or deleted takes no peers from then on';

CREATE TRIGGER device_revoked AFTER UPDATE OF revoked_at ON nebula.device
  FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
  EXECUTE FUNCTION nebula.device_ended();
-- Before: the foreign key then sets device_id to null.
CREATE TRIGGER device_deleted BEFORE DELETE ON nebula.device
  FOR EACH ROW EXECUTE FUNCTION nebula.device_ended();

-- The gateway reads these values as numbers; what it cannot read would hide all nodes.
CREATE FUNCTION nebula.check_health(p_health jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  v_wrong text;
BEGIN
  IF jsonb_typeof(p_health) IS DISTINCT FROM 'object' OR pg_column_size(p_health) > 4096 THEN
    RAISE EXCEPTION 'the health of a node must be a JSON object of at most 4096 bytes'
      USING ERRCODE = '22023', HINT = 'For example {"load": 0.5, "processors": 4}, or {} for none.';
  END IF;
  SELECT h.key
    INTO v_wrong
    FROM jsonb_each(p_health) h
   WHERE h.key IN ('load', 'processors', 'memoryBytes', 'memoryAvailableBytes', 'diskBytes', 'diskFreeBytes')
     AND (CASE
            WHEN jsonb_typeof(h.value) = 'number' THEN
              h.value::numeric BETWEEN 0 AND CASE h.key WHEN 'load' THEN 1e9 WHEN 'processors' THEN 1e6 ELSE 9e18 END
              AND (h.key = 'load' OR h.value::numeric = trunc(h.value::numeric))
          END) IS NOT TRUE
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the health of a node cannot have % %', v_wrong, left((p_health -> v_wrong)::text, 80)
      USING ERRCODE = '22023', HINT = 'Give load as a number from 0, the others as whole numbers from 0.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_health(jsonb) IS
  'Internal: refuses a report of health that is no small JSON object, or has values that are none. Errors: 22023';
