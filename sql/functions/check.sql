-- The consistency check: what should never differ, and does.

CREATE FUNCTION nebula.check_pool(project_id uuid DEFAULT NULL, repair boolean DEFAULT false)
RETURNS TABLE (pool_id integer, ip inet, device_id uuid, problem text, detail text, repaired boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  only_project CONSTANT uuid := check_pool.project_id;
  mend         CONSTANT boolean := coalesce(check_pool.repair, false);
BEGIN
  PERFORM nebula.require_project(only_project) WHERE only_project IS NOT NULL;
  -- Rows that no allocation makes: outside their pool, reserved, or of no pool. Only people know what was meant.
  RETURN QUERY
    SELECT a.pool_id, a.ip, a.device_id, 'misplaced',
           CASE WHEN p.pool_id IS NULL THEN format('project %s has no pool %s', a.project_id, a.pool_id)
                WHEN r.first IS NULL THEN format('not given out by pool "%s" (%s)', p.name, p.cidr)
                ELSE format('excluded by "%s"', v.label) END, false
      FROM nebula.allocation a
      LEFT JOIN nebula.pool p ON p.pool_id = a.pool_id AND p.project_id = a.project_id
      LEFT JOIN LATERAL (SELECT r.first FROM nebula.assignable_range(p.cidr) r
                          WHERE a.ip BETWEEN r.first AND r.last AND p.gateway IS DISTINCT FROM a.ip) r ON true
      LEFT JOIN nebula.reservation v ON v.pool_id = a.pool_id AND NOT v.for_group AND a.ip BETWEEN v.first_ip AND v.last_ip
     WHERE (only_project IS NULL OR a.project_id = only_project) AND (r.first IS NULL OR v.label IS NOT NULL);

  -- A valid certificate names an address that another device holds. Nothing here can take a certificate back.
  RETURN QUERY
    SELECT a.pool_id, a.ip, c.device_id, 'certificate-conflict',
           format('named by a certificate until %s, but held by device %s', c.not_after, a.device_id), false
      FROM nebula.certificate c
     CROSS JOIN LATERAL unnest(c.networks) AS n(address)
      JOIN nebula.allocation a ON a.project_id = c.project_id AND a.ip = host(n.address)::inet
     WHERE c.revoked_everywhere_at IS NULL AND c.not_after > clock_timestamp() AND a.device_id <> c.device_id
       AND (only_project IS NULL OR c.project_id = only_project);

  -- A valid certificate names an address that is free, or in quarantine for too short a time. Ended by an administrator
  -- on record, that is as wanted.
  RETURN QUERY
    WITH short AS (
      SELECT p.pool_id, c.project_id, host(n.address)::inet AS ip, c.device_id, max(c.not_after) AS until
        FROM nebula.certificate c
       CROSS JOIN LATERAL unnest(c.networks) AS n(address)
        JOIN nebula.pool p ON p.project_id = c.project_id AND host(n.address)::inet <<= p.cidr
        LEFT JOIN nebula.allocation a ON a.project_id = c.project_id AND a.ip = host(n.address)::inet
       WHERE c.revoked_everywhere_at IS NULL AND c.not_after > clock_timestamp()
         AND (a.ip IS NULL OR a.device_id = c.device_id AND a.quarantined_until < c.not_after)
         AND (only_project IS NULL OR c.project_id = only_project)
         AND NOT EXISTS (SELECT FROM nebula.event e
                          WHERE e.subject = 'device' AND e.subject_id = c.device_id::text AND e.action = 'end-quarantine'
                            AND e.detail ->> 'ip' = host(n.address) AND e.at >= c.issued_at)
       GROUP BY p.pool_id, c.project_id, host(n.address)::inet, c.device_id
    ), mended AS (
      INSERT INTO nebula.allocation AS a (project_id, pool_id, ip, device_id, released_at, quarantined_until, allocated_by)
      SELECT s.project_id, s.pool_id, s.ip, s.device_id, now(), s.until, 'check_pool' FROM short s WHERE mend
      ON CONFLICT ON CONSTRAINT allocation_pkey DO UPDATE SET quarantined_until = EXCLUDED.quarantined_until
       WHERE a.released_at IS NOT NULL AND a.device_id = EXCLUDED.device_id
      RETURNING a.project_id, a.ip
    )
    SELECT s.pool_id, s.ip, s.device_id, 'quarantine-missing', format('named by a certificate until %s', s.until), m.ip IS NOT NULL
      FROM short s LEFT JOIN mended m USING (project_id, ip);

  -- In quarantine, but no valid certificate of the device is left.
  RETURN QUERY
    WITH idle AS (
      SELECT a.project_id, a.pool_id, a.ip, a.device_id, a.quarantined_until FROM nebula.allocation a
       WHERE a.quarantined_until > clock_timestamp() AND (only_project IS NULL OR a.project_id = only_project)
         AND NOT EXISTS (SELECT FROM nebula.certificate c
                          WHERE c.device_id = a.device_id AND c.revoked_everywhere_at IS NULL AND c.not_after > clock_timestamp())
    ), mended AS (
      DELETE FROM nebula.allocation a USING idle i
       WHERE mend AND a.project_id = i.project_id AND a.ip = i.ip AND a.quarantined_until = i.quarantined_until
      RETURNING a.project_id, a.ip
    )
    SELECT i.pool_id, i.ip, i.device_id, 'quarantine-groundless', format('until %s, without a valid certificate', i.quarantined_until), m.ip IS NOT NULL
      FROM idle i LEFT JOIN mended m USING (project_id, ip);

  -- The map in shared memory, where it is read from before the rows are: free addresses that it hides, and rows it misses.
  RETURN QUERY
    SELECT d.pool_id, d.ip, NULL::uuid, d.problem, d.detail, d.repaired
      FROM (SELECT DISTINCT p.project_id FROM nebula.pool p WHERE only_project IS NULL OR p.project_id = only_project) p
     CROSS JOIN LATERAL nebula.map_differences(p.project_id, mend) d;

  -- Linked tables: gone, altered, or not showing what is held.
  RETURN QUERY
    SELECT NULL::integer, NULL::inet, NULL::uuid, 'link-broken',
           format('table %s, column "%s" or column "%s" is gone', l.target, l.id_column, l.ip_column), mend
      FROM nebula.linked_table l
     WHERE (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = l.target AND NOT a.attisdropped
               AND (a.attname = l.id_column AND a.atttypid = 'uuid'::regtype OR a.attname = l.ip_column AND a.atttypid = 'inet'::regtype)) <> 2;
  IF mend THEN
    DELETE FROM nebula.linked_table l
     WHERE (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = l.target AND NOT a.attisdropped
               AND (a.attname = l.id_column AND a.atttypid = 'uuid'::regtype OR a.attname = l.ip_column AND a.atttypid = 'inet'::regtype)) <> 2;
  END IF;
  RETURN QUERY
    SELECT NULL::integer, d.held, d.device_id, 'link-differs',
           format('table %s shows %s', d.target, coalesce(host(d.shown), 'nothing')), mend
      FROM nebula.link_differences() d;
  IF mend THEN
    PERFORM nebula.show_addresses(array_agg(d.device_id)) FROM nebula.link_differences() d HAVING count(*) > 0;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_pool(uuid, boolean) IS
  'Compares holdings with pools, certificates, quarantine, linked tables and the map in shared memory, of a project or of all; answers what differs, nothing when '
  'all is well. repair: mends what can be mended without deciding for people. Errors: P0002 no such project';
