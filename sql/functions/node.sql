-- Nodes as administrators and the gateway handle them: who speaks for one, and how it is. Choosing one is in node.rs.

CREATE FUNCTION nebula.require_node(node_id uuid) RETURNS nebula.node
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  known nebula.node;
BEGIN
  SELECT n.* INTO known FROM nebula.node n WHERE n.node_id = require_node.node_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no node %', require_node.node_id
      USING ERRCODE = 'P0002', HINT = 'List nodes: nebulactl node ls, or SELECT node_id, name FROM nebula.node.';
  END IF;
  RETURN known;
END $$;
COMMENT ON FUNCTION nebula.require_node(uuid) IS 'The node. Errors: P0002 no such node';

CREATE FUNCTION nebula.node_heartbeat(node_id uuid, health jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  UPDATE nebula.node n SET health = node_heartbeat.health, seen_at = now() WHERE n.node_id = node_heartbeat.node_id;
  IF NOT FOUND THEN
    PERFORM nebula.require_node(node_heartbeat.node_id);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.node_heartbeat(uuid, jsonb) IS
  'A node reports: it is alive, and how it is. One that has reported once takes no peers while it is silent. Errors: P0002 no such node';

CREATE FUNCTION nebula.tie_node(node_id uuid, device_id uuid, tied_by text DEFAULT NULL, client inet DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  known   nebula.node := nebula.require_node(tie_node.node_id);
  speaker nebula.device;
  other   text;
BEGIN
  IF tie_node.device_id IS NOT DISTINCT FROM known.device_id THEN
    RETURN;
  END IF;
  IF tie_node.device_id IS NOT NULL THEN
    speaker := nebula.require_device(tie_node.device_id);
    SELECT n.name INTO other FROM nebula.node n WHERE n.device_id = tie_node.device_id;
    IF FOUND THEN
      RAISE EXCEPTION 'device "%" speaks for node "%"', speaker.name, other
        USING ERRCODE = '23505', HINT = 'Untie that node first.';
    END IF;
  END IF;
  -- What another agent reported says nothing of the new one, nor of a node that nobody speaks for.
  UPDATE nebula.node n SET device_id = tie_node.device_id, health = NULL, seen_at = NULL WHERE n.node_id = known.node_id;
  PERFORM nebula.record_event(speaker.project_id, coalesce(tie_node.tied_by, session_user::text),
    CASE WHEN tie_node.device_id IS NULL THEN 'untie' ELSE 'tie' END, 'node', known.node_id::text, tie_node.client,
    jsonb_build_object('name', known.name, 'device', coalesce(tie_node.device_id, known.device_id)));
END $$;
COMMENT ON FUNCTION nebula.tie_node(uuid, uuid, text, inet) IS
  'Lets the agent of a device speak for a node; null: nobody does any more. Once the node has a secret, that agent must sign every call with it. '
  'For administrators. Errors: P0002 no such node or device, 55000 revoked, 23505 the device speaks for another node';

CREATE FUNCTION nebula.list_nodes(actor uuid)
RETURNS TABLE (node_id uuid, name text, endpoint text, weight integer, max_peers integer, active_peers integer, cidr text, capabilities text[],
               score double precision, eligible boolean, reason text, device_id uuid, device text, secrets bigint, seen_at timestamptz, health jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM nebula.require_admin(list_nodes.actor);
  RETURN QUERY
    SELECT s.node_id, s.name, s.endpoint, s.weight, s.max_peers, s.active_peers, s.cidr::text, s.capabilities,
           s.score, s.eligible, s.reason, n.device_id, s.device, s.secrets, s.seen_at, s.health
      FROM nebula.node_status s JOIN nebula.node n USING (node_id)
     ORDER BY s.name;
END $$;
COMMENT ON FUNCTION nebula.list_nodes(uuid) IS 'Nodes by name. Errors: 42501 not an administrator';

CREATE FUNCTION nebula.register_node_for(
  actor uuid, name text, endpoint text, weight integer, max_peers integer, cidr text, capabilities text[]
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who  text := nebula.require_admin(register_node_for.actor);
  made uuid;
BEGIN
  made := nebula.register_node(register_node_for.name, register_node_for.endpoint, coalesce(register_node_for.weight, 100),
    coalesce(register_node_for.max_peers, 100), register_node_for.cidr::inet, coalesce(register_node_for.capabilities, '{}'));
  PERFORM nebula.record_event(NULL, who, 'register', 'node', made::text, NULL, jsonb_build_object('name', register_node_for.name));
  RETURN made;
END $$;
COMMENT ON FUNCTION nebula.register_node_for(uuid, text, text, integer, integer, text, text[]) IS
  'register_node for an administrator. Errors: 42501 not an administrator, the rest as register_node';

CREATE FUNCTION nebula.tie_node_for(actor uuid, node_id uuid, device_id uuid, client inet DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.tie_node(tie_node_for.node_id, tie_node_for.device_id, nebula.require_admin(tie_node_for.actor), tie_node_for.client);
END $$;
COMMENT ON FUNCTION nebula.tie_node_for(uuid, uuid, uuid, inet) IS
  'tie_node for an administrator. Errors: 42501 not an administrator, the rest as tie_node';
