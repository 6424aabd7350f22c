-- Devices of a project, for the preview of firewall rules.

CREATE FUNCTION nebula.access_members(
  p_actor nebula.proven_account, p_project_id uuid, p_draft jsonb
) RETURNS TABLE (device_id uuid, name text, groups text[], addresses text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_permission(p_actor, p_project_id, 'project.read');
  PERFORM nebula.check_rule(r.rule ->> 'direction', r.rule ->> 'protocol', (r.rule ->> 'portFirst')::integer,
                            (r.rule ->> 'portLast')::integer,
                            num_nonnulls(r.rule ->> 'forGroup', r.rule ->> 'forDevice'),
                            num_nonnulls(r.rule ->> 'remoteCidr', r.rule ->> 'remoteDevice',
                                         nullif(r.rule -> 'remoteGroups', '[]')))
     FROM jsonb_array_elements(p_draft) AS r(rule);
  PERFORM nebula.check_host_bits(nebula.read_inet('remoteCidr', r.rule ->> 'remoteCidr')),
          nebula.check_host_bits(nebula.read_inet('localCidr', r.rule ->> 'localCidr'))
     FROM jsonb_array_elements(p_draft) AS r(rule);
  RETURN QUERY
    SELECT d.device_id, d.name, array_remove(d.groups, NULL), array_agg(host(a.ip) ORDER BY family(a.ip))
      FROM nebula.device d
      JOIN nebula.allocation a ON a.device_id = d.device_id AND a.released_at IS NULL
     WHERE d.project_id = p_project_id
       AND d.revoked_at IS NULL
     GROUP BY d.device_id
     ORDER BY d.name;
END $$;
COMMENT ON FUNCTION nebula.access_members(nebula.proven_account, uuid, jsonb) IS
  'For the gateway: devices of a project that have an address and were not revoked, for the preview of these rules, '
  'which are checked. Errors: 28000, P0002 no such project, 42501 not a member, 22023 a malformed rule';
