-- Changes of nodes that are registered: values, state, removal, and the node that is this server itself.

CREATE FUNCTION nebula.update_node_by(p_node_id uuid, p_changes jsonb, p_by text, p_client inet) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_known  nebula.node := nebula.require_node(p_node_id);
  v_before jsonb;
  v_name   text;
  v_max    integer;
BEGIN
  PERFORM nebula.lock_for_change('{}', ARRAY[p_node_id]);
  -- The row as it is now: another call may have written it before this one had the lock.
  v_known := nebula.require_node(p_node_id);
  v_before := (SELECT nebula.show_node(s) FROM nebula.node_status s WHERE s.node_id = p_node_id);
  PERFORM nebula.check_node_changes(v_known, p_changes);
  v_name := coalesce(p_changes ->> 'name', v_known.name);
  v_max := coalesce((p_changes ->> 'maxPeers')::integer, v_known.max_peers);
  IF EXISTS (SELECT FROM nebula.node n WHERE n.name = v_name AND n.node_id <> v_known.node_id) THEN
    RAISE EXCEPTION 'another node is named "%"', v_name
      USING ERRCODE = '23505', HINT = 'Choose another name.';
  END IF;
  IF v_max < v_known.active_peers THEN
    RAISE EXCEPTION 'node "%" hosts more peers than %', v_name, v_max
      USING ERRCODE = '55000', HINT = 'Move peers away first.';
  END IF;
  UPDATE nebula.node n
     SET name = v_name,
         endpoint = coalesce(p_changes ->> 'endpoint', n.endpoint),
         weight = coalesce((p_changes ->> 'weight')::integer, n.weight),
         max_peers = v_max,
         soft_max_peers = CASE
                            WHEN p_changes ? 'softMaxPeers' THEN nullif((p_changes ->> 'softMaxPeers')::integer, 0)
                            ELSE n.soft_max_peers
                          END,
         capabilities = CASE
                          WHEN p_changes ? 'capabilities'
                          THEN ARRAY(SELECT jsonb_array_elements_text(p_changes -> 'capabilities'))
                          ELSE n.capabilities
                        END,
         labels = coalesce(p_changes -> 'labels', n.labels),
         repair = coalesce((p_changes ->> 'repair')::boolean, n.repair),
         desired_state = coalesce(p_changes ->> 'desiredState', n.desired_state)
   WHERE n.node_id = v_known.node_id;
  PERFORM nebula.notify_node(v_known.node_id);
  PERFORM nebula.record_event(v_known.project_id, p_by, 'update', 'node', v_known.node_id::text, p_client,
                              jsonb_build_object('name', v_name) || nebula.changed_values(
                                v_before,
                                (SELECT nebula.show_node(s) FROM nebula.node_status s WHERE s.node_id = p_node_id),
                                p_changes));
EXCEPTION
  WHEN unique_violation THEN
    RAISE EXCEPTION 'another node is named "%"', v_name
      USING ERRCODE = '23505', HINT = 'Choose another name.';
END $$;
COMMENT ON FUNCTION nebula.update_node_by(uuid, jsonb, text, inet) IS
  'Internal: changes a node, with the changes as the API writes them. Errors: P0002 no such node, 22023 malformed, '
  '23505 name taken, 55000 hosts more peers than maxPeers';

CREATE FUNCTION nebula.update_node(
  node_id uuid,
  name text DEFAULT NULL,
  endpoint text DEFAULT NULL,
  weight integer DEFAULT NULL,
  max_peers integer DEFAULT NULL,
  soft_max_peers integer DEFAULT NULL,
  capabilities text[] DEFAULT NULL,
  labels jsonb DEFAULT NULL,
  repair boolean DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.update_node_by(
           update_node.node_id,
           jsonb_strip_nulls(jsonb_build_object(
                               'name', update_node.name, 'endpoint', update_node.endpoint,
                               'weight', update_node.weight, 'maxPeers', update_node.max_peers,
                               'softMaxPeers', update_node.soft_max_peers,
                               'capabilities', to_jsonb(update_node.capabilities), 'labels', update_node.labels,
                               'repair', update_node.repair)),
           session_user::text, inet_client_addr()
         )
$$;
COMMENT ON FUNCTION nebula.update_node(uuid, text, text, integer, integer, integer, text[], jsonb, boolean) IS
  'Changes a node; null leaves a value as it is, soft_max_peers 0 removes it. repair: whether its agent mends what '
  'differs on its interfaces. Errors: P0002 no such node, 22023 malformed, 23505 name taken, 55000 hosts more peers';

CREATE FUNCTION nebula.set_node_state(node_id uuid, state text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.update_node_by(set_node_state.node_id, jsonb_build_object('desiredState', set_node_state.state),
                            session_user::text, inet_client_addr())
$$;
COMMENT ON FUNCTION nebula.set_node_state(uuid, text) IS
  'active: takes new peers; draining, disabled: does not. Its peers stay (drain_node moves them). Errors: P0002 no '
  'such node, 22023 no such state';

-- The row of the node goes with its interfaces; what its agent has applied is then up to the operator.
CREATE FUNCTION nebula.remove_node_by(p_node_id uuid, p_force boolean, p_by text, p_client inet) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
  v_known nebula.node := nebula.require_node(p_node_id);
  v_next  uuid;
BEGIN
  PERFORM nebula.lock_for_change('{}', ARRAY[p_node_id], 'all');
  v_known := nebula.require_node(p_node_id);
  FOR v_next IN
    SELECT i.interface_id FROM nebula.node_interface i WHERE i.node_id = v_known.node_id ORDER BY i.interface_id
  LOOP
    PERFORM nebula.drop_interface_by(v_next, p_force, p_by, p_client);
  END LOOP;
  PERFORM nebula.notify_node(v_known.node_id);
  DELETE FROM nebula.node n WHERE n.node_id = v_known.node_id;
  PERFORM nebula.record_event(v_known.project_id, p_by, 'remove', 'node', v_known.node_id::text, p_client,
                              jsonb_build_object('name', v_known.name, 'force', p_force));
END $$;
COMMENT ON FUNCTION nebula.remove_node_by(uuid, boolean, text, inet) IS
  'Internal: removes a node. Errors: as remove_node';

CREATE FUNCTION nebula.remove_node(node_id uuid, force boolean DEFAULT false) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.remove_node_by(remove_node.node_id, coalesce(remove_node.force, false), session_user::text,
                         inet_client_addr())
$$;
COMMENT ON FUNCTION nebula.remove_node(uuid, boolean) IS
  'Removes a node and its interfaces. force: also one that hosts peers, or has not confirmed that they are gone: '
  'they are removed, and their addresses can be given out again, so the node must be switched off for good. '
  'Errors: P0002 no such node, 55000 hosts peers, 55P03 busy';

CREATE FUNCTION nebula.set_local_device_by(p_project_id uuid, p_device_id uuid, p_by text, p_client inet) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
  v_device  nebula.device;
  v_node_id uuid;
BEGIN
  PERFORM nebula.require_project(p_project_id);
  IF p_device_id IS NOT NULL THEN
    v_device := nebula.require_device(p_device_id);
    IF v_device.project_id <> p_project_id THEN
      RAISE EXCEPTION 'device "%" is of another project', v_device.name
        USING ERRCODE = '55000', HINT = 'Enrol this server as a device of the project.';
    END IF;
  END IF;
  v_node_id := nebula.local_node(p_project_id);
  PERFORM nebula.interface_for_peers(v_node_id);
  PERFORM nebula.tie_node(v_node_id, p_device_id, p_by, p_client);
  RETURN v_node_id;
END $$;
COMMENT ON FUNCTION nebula.set_local_device_by(uuid, uuid, text, inet) IS
  'Internal: what set_local_device does. Errors: as tie_node';

CREATE FUNCTION nebula.set_local_device(project_id uuid, device_id uuid) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.set_local_device_by(set_local_device.project_id, set_local_device.device_id, session_user::text,
                               inet_client_addr())
$$;
COMMENT ON FUNCTION nebula.set_local_device(uuid, uuid) IS
  'Says which device of a project is this server itself: its agent serves the peers that no other node is chosen '
  'for; null: none does. Answers the node, which update_node gives an endpoint. Errors: P0002 no such project or '
  'device, 55000 of another project or revoked, 23505 the device represents another node';
