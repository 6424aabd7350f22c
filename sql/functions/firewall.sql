-- Firewall rules, set by administrators. Every rule allows something and none denies, so their order does not matter.

CREATE FUNCTION nebula.check_rule(
  p_direction text, p_protocol text, p_port_first integer, p_port_last integer, p_subjects integer, p_remotes integer
) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_fault text;
  v_hint  text;
BEGIN
  CASE
    WHEN p_direction IS NULL OR p_direction NOT IN ('inbound', 'outbound') THEN
      v_fault := format('a rule cannot have the direction %L', left(p_direction, 80));
      v_hint := 'Give inbound or outbound, as seen by the devices it is for.';
    WHEN p_protocol IS NULL OR p_protocol NOT IN ('any', 'tcp', 'udp', 'icmp') THEN
      v_fault := format('a rule cannot have the protocol %L', left(p_protocol, 80));
      v_hint := 'Give any, tcp, udp or icmp.';
    WHEN p_port_first NOT BETWEEN 1 AND 65535 OR p_port_last NOT BETWEEN 1 AND 65535 OR p_port_last < p_port_first THEN
      v_fault := format('there are no ports %s', concat_ws(' to ', p_port_first, p_port_last));
      v_hint := 'Ports go from 1 to 65535, the first one before the last one; none for all.';
    WHEN p_port_first IS NULL AND p_port_last IS NOT NULL THEN
      v_fault := format('a rule with the last port %s has no first one', p_port_last);
      v_hint := 'Give the first port, too; it can be the same.';
    WHEN p_protocol = 'icmp' AND p_port_first IS NOT NULL THEN
      v_fault := 'icmp has no ports';
      v_hint := 'Leave out the ports.';
    WHEN p_subjects > 1 THEN
      v_fault := 'a rule cannot be for a group and for a device';
      v_hint := 'Make two rules.';
    WHEN p_remotes > 1 THEN
      v_fault := 'a rule can name groups, a network or a device, not several of them';
      v_hint := 'Make a rule for each; every rule allows something.';
    ELSE
      RETURN;
  END CASE;
  RAISE EXCEPTION '%', v_fault USING ERRCODE = '22023', HINT = v_hint;
END $$;
COMMENT ON FUNCTION nebula.check_rule(text, text, integer, integer, integer, integer) IS
  'Internal: refuses a firewall rule that nebula has not: with so many of group and device that it is for, and so many '
  'kinds of remote. Errors: 22023';

CREATE FUNCTION nebula.add_rule(
  project_id uuid,
  direction text,
  for_group text DEFAULT NULL,
  for_device uuid DEFAULT NULL,
  protocol text DEFAULT 'any',
  port_first integer DEFAULT NULL,
  port_last integer DEFAULT NULL,
  remote_groups text[] DEFAULT '{}',
  remote_cidr inet DEFAULT NULL,
  remote_device uuid DEFAULT NULL,
  local_cidr inet DEFAULT NULL,
  note text DEFAULT '',
  added_by text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id    CONSTANT uuid := project_id;
  v_direction     CONSTANT text := direction;
  v_for_group     CONSTANT text := for_group;
  v_for_device    CONSTANT uuid := for_device;
  v_protocol      CONSTANT text := protocol;
  v_port_first    CONSTANT integer := port_first;
  v_port_last     CONSTANT integer := port_last;
  v_remote_groups CONSTANT text[] := remote_groups;
  v_remote_cidr   CONSTANT inet := remote_cidr;
  v_remote_device CONSTANT uuid := remote_device;
  v_local_cidr    CONSTANT inet := local_cidr;
  v_note          CONSTANT text := note;
  v_added_by      CONSTANT text := added_by;
  v_foreign       uuid;
  v_wide          inet;
  v_made          nebula.firewall_rule;
BEGIN
  PERFORM nebula.require_project(v_project_id);
  SELECT n
    INTO v_foreign
    FROM unnest(ARRAY[v_for_device, v_remote_device]) n
   WHERE n IS NOT NULL
     AND NOT EXISTS (SELECT FROM nebula.device d WHERE d.device_id = n AND d.project_id = v_project_id);
  IF FOUND THEN
    RAISE EXCEPTION 'there is no device % in project %', v_foreign, v_project_id
      USING ERRCODE = 'P0002', HINT = 'List devices: SELECT device_id, name FROM nebula.device_status.';
  END IF;
  PERFORM nebula.check_rule(v_direction, v_protocol, v_port_first, v_port_last,
                            num_nonnulls(v_for_group, v_for_device),
                            num_nonnulls(v_remote_cidr, v_remote_device, nullif(v_remote_groups, '{}')));
  IF v_remote_groups IS NULL THEN
    RAISE EXCEPTION 'remote_groups must not be null'
      USING ERRCODE = '22023', HINT = 'Give a list of groups, for everybody ''{}''.';
  END IF;
  PERFORM nebula.check_groups(v_remote_groups);
  PERFORM nebula.check_groups(ARRAY[v_for_group]) WHERE v_for_group IS NOT NULL;
  PERFORM nebula.check_host_bits(v_remote_cidr), nebula.check_host_bits(v_local_cidr);
  PERFORM nebula.check_text('note', v_note, 'note');
  PERFORM nebula.check_device_name(d.name)
     FROM nebula.device d
    WHERE d.device_id = v_remote_device;
  -- nebula takes a network with the address 0.0.0.0 for every device.
  SELECT n
    INTO v_wide
    FROM unnest(ARRAY[v_remote_cidr, v_local_cidr]) WITH ORDINALITY AS g(n, place)
   WHERE n && '0.0.0.0/8' AND (masklen(n) > 0 OR place = 1)
      OR family(n) = 6 AND masklen(n) = 0 AND place = 1;
  IF FOUND THEN
    RAISE EXCEPTION 'nebula takes % for every device', v_wide
      USING ERRCODE = '22023', HINT = 'A rule for every device is one without groups, network and device.';
  END IF;
  -- Of two calls at the same time, the later one sees the rule of the earlier one.
  PERFORM
    FROM nebula.project p
   WHERE p.project_id = v_project_id
     FOR NO KEY UPDATE;
  SELECT r.*
    INTO v_made
    FROM nebula.firewall_rule r
   WHERE r.project_id = v_project_id
     AND (r.direction, r.protocol) = (v_direction, v_protocol)
     AND (r.for_group, r.for_device, r.port_first, nullif(r.port_last, r.port_first), r.remote_cidr,
          r.remote_device, r.local_cidr)
         IS NOT DISTINCT FROM
         (v_for_group, v_for_device, v_port_first, nullif(v_port_last, v_port_first), v_remote_cidr::cidr,
          v_remote_device, v_local_cidr::cidr)
     AND r.remote_groups @> v_remote_groups
     AND v_remote_groups @> r.remote_groups
   ORDER BY r.rule_id
   LIMIT 1;
  IF FOUND THEN
    RETURN v_made.rule_id;
  END IF;
  INSERT INTO nebula.firewall_rule AS r (project_id, direction, for_group, for_device, protocol, port_first,
                                         port_last, remote_groups, remote_cidr, remote_device, local_cidr,
                                         note)
  VALUES (v_project_id, v_direction, v_for_group, v_for_device, v_protocol, v_port_first, v_port_last,
          v_remote_groups, v_remote_cidr::cidr, v_remote_device, v_local_cidr::cidr, coalesce(v_note, ''))
  RETURNING r.* INTO v_made;
  PERFORM nebula.record_event(
            v_made.project_id, coalesce(v_added_by, session_user::text), 'create', 'rule',
            v_made.rule_id::text, inet_client_addr(),
            jsonb_strip_nulls(to_jsonb(v_made) - '{rule_id,project_id,created_at}'::text[])
          );
  RETURN v_made.rule_id;
END $$;
COMMENT ON FUNCTION nebula.add_rule(
  uuid, text, text, uuid, text, integer, integer, text[], inet, uuid, inet, text, text
) IS
  'Adds a firewall rule, or returns the one that allows the same already. Devices: of for_group, '
  'for_device, or all. Remote: in all of remote_groups, in '
  'remote_cidr, remote_device, or any. Rules matter in the directions in which the project is closed. For '
  'administrators. Errors: P0002 no such project or device, 22023 malformed, or a group, device or network that '
  'means every device';

CREATE FUNCTION nebula.drop_rule(rule_id bigint, dropped_by text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_rule_id    CONSTANT bigint := rule_id;
  v_dropped_by CONSTANT text := dropped_by;
  v_gone       nebula.firewall_rule;
BEGIN
  DELETE FROM nebula.firewall_rule r
   WHERE r.rule_id = v_rule_id
  RETURNING r.* INTO v_gone;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no firewall rule %', v_rule_id
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT * FROM nebula.firewall_rule.';
  END IF;
  PERFORM nebula.record_event(v_gone.project_id, coalesce(v_dropped_by, session_user::text), 'drop', 'rule',
                              v_gone.rule_id::text);
END $$;
COMMENT ON FUNCTION nebula.drop_rule(bigint, text) IS
  'Removes a firewall rule. For administrators. Errors: P0002 no such rule';

CREATE FUNCTION nebula.list_rules(p_actor nebula.proven_account, p_project_id uuid DEFAULT NULL) RETURNS SETOF jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT jsonb_build_object(
           'ruleId', r.rule_id, 'projectId', r.project_id, 'direction', r.direction,
           'forGroup', r.for_group, 'forDevice', r.for_device, 'protocol', r.protocol,
           'portFirst', r.port_first, 'portLast', r.port_last, 'remoteGroups', r.remote_groups,
           'remoteCidr', r.remote_cidr, 'remoteDevice', r.remote_device, 'localCidr', r.local_cidr,
           'note', r.note
         )
    FROM nebula.firewall_rule r
   WHERE r.project_id IN (SELECT nebula.visible_projects(p_actor))
     AND (p_project_id IS NULL OR r.project_id = p_project_id)
   ORDER BY r.project_id, r.rule_id
$$;
COMMENT ON FUNCTION nebula.list_rules(nebula.proven_account, uuid) IS
  'For the gateway: firewall rules of the projects the account sees, as the API writes them';

CREATE FUNCTION nebula.add_rule_for(p_actor nebula.proven_account, p_rule jsonb) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.add_rule((p_rule ->> 'projectId')::uuid, p_rule ->> 'direction', p_rule ->> 'forGroup',
                         (p_rule ->> 'forDevice')::uuid, p_rule ->> 'protocol',
                         (p_rule ->> 'portFirst')::integer, (p_rule ->> 'portLast')::integer,
                         ARRAY(SELECT jsonb_array_elements_text(coalesce(p_rule -> 'remoteGroups', '[]'))),
                         nebula.read_inet('remoteCidr', p_rule ->> 'remoteCidr'), (p_rule ->> 'remoteDevice')::uuid,
                         nebula.read_inet('localCidr', p_rule ->> 'localCidr'), p_rule ->> 'note',
                         nebula.require_permission(p_actor, (p_rule ->> 'projectId')::uuid, 'network.write'))
$$;
COMMENT ON FUNCTION nebula.add_rule_for(nebula.proven_account, jsonb) IS
  'For the gateway: add_rule for an administrator, with a rule as the API writes it. Errors: 42501 not '
  'an administrator, the rest as add_rule';

CREATE FUNCTION nebula.drop_rule_for(p_actor nebula.proven_account, p_rule_id bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.drop_rule(
           p_rule_id,
           nebula.require_permission(p_actor,
                                     (SELECT r.project_id
                                        FROM nebula.firewall_rule r
                                       WHERE r.rule_id = p_rule_id
                                         AND r.project_id IN (SELECT nebula.visible_projects(p_actor))),
                                     'network.write'))
$$;
COMMENT ON FUNCTION nebula.drop_rule_for(nebula.proven_account, bigint) IS
  'For the gateway: drop_rule for an administrator. Errors: 42501 not an administrator, P0002 no such '
  'rule';
