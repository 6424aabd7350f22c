-- Firewall rules, by administrators. Adding one needs no order: each only allows.

CREATE FUNCTION nebula.add_rule(
  project_id uuid, direction text, for_group text DEFAULT NULL, for_device uuid DEFAULT NULL, protocol text DEFAULT 'any',
  port_first integer DEFAULT NULL, port_last integer DEFAULT NULL, remote_groups text[] DEFAULT '{}', remote_cidr inet DEFAULT NULL,
  remote_device uuid DEFAULT NULL, local_cidr inet DEFAULT NULL, note text DEFAULT '', added_by text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  stranger uuid;
  made     nebula.firewall_rule;
BEGIN
  PERFORM nebula.require_project(add_rule.project_id);
  SELECT n INTO stranger FROM unnest(ARRAY[add_rule.for_device, add_rule.remote_device]) n
   WHERE n IS NOT NULL AND NOT EXISTS (SELECT FROM nebula.device d WHERE d.device_id = n AND d.project_id = add_rule.project_id);
  IF FOUND THEN
    RAISE EXCEPTION 'there is no device % in project %', stranger, add_rule.project_id
      USING ERRCODE = 'P0002', HINT = 'List devices: SELECT device_id, name FROM nebula.device_status.';
  END IF;
  INSERT INTO nebula.firewall_rule AS r (project_id, direction, for_group, for_device, protocol, port_first, port_last, remote_groups,
                                         remote_cidr, remote_device, local_cidr, note)
  VALUES (add_rule.project_id, add_rule.direction, add_rule.for_group, add_rule.for_device, add_rule.protocol, add_rule.port_first,
          add_rule.port_last, add_rule.remote_groups, add_rule.remote_cidr::cidr, add_rule.remote_device, add_rule.local_cidr::cidr,
          coalesce(add_rule.note, ''))
  RETURNING r.* INTO made;
  PERFORM nebula.record_event(made.project_id, coalesce(add_rule.added_by, session_user::text), 'create', 'rule', made.rule_id::text,
    inet_client_addr(), jsonb_strip_nulls(to_jsonb(made) - '{rule_id,project_id,created_at}'::text[]));
  RETURN made.rule_id;
END $$;
COMMENT ON FUNCTION nebula.add_rule(uuid, text, text, uuid, text, integer, integer, text[], inet, uuid, inet, text, text) IS
  'Allows something: to devices of a group, to one device, or to all; from anybody, groups, a network or a device. It counts where the project is '
  'closed. For administrators. Errors: P0002 no such project or device, 23514 malformed rule';

CREATE FUNCTION nebula.drop_rule(rule_id bigint, dropped_by text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  gone nebula.firewall_rule;
BEGIN
  DELETE FROM nebula.firewall_rule r WHERE r.rule_id = drop_rule.rule_id RETURNING r.* INTO gone;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no firewall rule %', drop_rule.rule_id
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT * FROM nebula.firewall_rule.';
  END IF;
  PERFORM nebula.record_event(gone.project_id, coalesce(drop_rule.dropped_by, session_user::text), 'drop', 'rule', gone.rule_id::text);
END $$;
COMMENT ON FUNCTION nebula.drop_rule(bigint, text) IS 'Takes a firewall rule back. For administrators. Errors: P0002 no such rule';

CREATE FUNCTION nebula.list_rules(actor uuid, project_id uuid DEFAULT NULL) RETURNS SETOF jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT jsonb_build_object(
           'ruleId', r.rule_id, 'projectId', r.project_id, 'direction', r.direction, 'forGroup', r.for_group, 'forDevice', r.for_device,
           'protocol', r.protocol, 'portFirst', r.port_first, 'portLast', r.port_last, 'remoteGroups', r.remote_groups,
           'remoteCidr', r.remote_cidr, 'remoteDevice', r.remote_device, 'localCidr', r.local_cidr, 'note', r.note)
    FROM nebula.firewall_rule r
   WHERE r.project_id IN (SELECT nebula.visible_projects(list_rules.actor))
     AND (list_rules.project_id IS NULL OR r.project_id = list_rules.project_id)
   ORDER BY r.project_id, r.rule_id
$$;
COMMENT ON FUNCTION nebula.list_rules(uuid, uuid) IS 'Firewall rules of the projects the account sees, as the API writes them';

CREATE FUNCTION nebula.add_rule_for(actor uuid, rule jsonb) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.add_rule(
    (rule ->> 'projectId')::uuid, rule ->> 'direction', rule ->> 'forGroup', (rule ->> 'forDevice')::uuid, rule ->> 'protocol',
    (rule ->> 'portFirst')::integer, (rule ->> 'portLast')::integer,
    ARRAY(SELECT jsonb_array_elements_text(coalesce(rule -> 'remoteGroups', '[]'))),
    (rule ->> 'remoteCidr')::inet, (rule ->> 'remoteDevice')::uuid, (rule ->> 'localCidr')::inet, rule ->> 'note',
    nebula.require_admin(add_rule_for.actor))
$$;
COMMENT ON FUNCTION nebula.add_rule_for(uuid, jsonb) IS
  'add_rule for an administrator, with a rule as the API writes it. Errors: 42501 not an administrator, the rest as add_rule';

CREATE FUNCTION nebula.drop_rule_for(actor uuid, rule_id bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.drop_rule(drop_rule_for.rule_id, nebula.require_admin(drop_rule_for.actor))
$$;
COMMENT ON FUNCTION nebula.drop_rule_for(uuid, bigint) IS
  'drop_rule for an administrator. Errors: 42501 not an administrator, P0002 no such rule';
