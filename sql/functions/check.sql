-- The consistency check: compares tables, certificates and shared memory, which must agree.

CREATE FUNCTION nebula.check_pool(project_id uuid DEFAULT NULL, repair boolean DEFAULT false)
RETURNS TABLE (
  pool_id integer,
  ip inet,
  device_id uuid,
  problem text,
  detail text,
  repaired boolean
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET jit = off AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_repair     CONSTANT boolean := coalesce(repair, false);
BEGIN
  PERFORM nebula.require_project(v_project_id) WHERE v_project_id IS NOT NULL;
  -- Misplaced rows: outside their pool, inside an exclusion, or of a pool that does not exist. No allocation makes
  -- them, so nothing here can tell what was intended: reported, not repaired.
  RETURN QUERY
    SELECT a.pool_id, a.ip, a.device_id, 'misplaced',
           CASE
             WHEN p.pool_id IS NULL THEN format('project %s has no pool %s', a.project_id, a.pool_id)
             WHEN r.first IS NULL THEN format('not given out by pool "%s" (%s)', p.name, p.cidr)
             ELSE format('excluded by "%s"', v.label)
           END,
           false
      FROM nebula.allocation a
      LEFT JOIN nebula.pool p ON p.pool_id = a.pool_id AND p.project_id = a.project_id
      LEFT JOIN LATERAL (SELECT r.first
                           FROM nebula.assignable_range(p.cidr) r
                          WHERE a.ip BETWEEN r.first AND r.last
                            AND p.gateway IS DISTINCT FROM a.ip) r ON true
      LEFT JOIN nebula.reservation v ON v.pool_id = a.pool_id
                AND NOT v.for_group
                AND a.ip BETWEEN v.first_ip AND v.last_ip
     WHERE (v_project_id IS NULL OR a.project_id = v_project_id)
       AND (r.first IS NULL OR v.label IS NOT NULL);

  -- Addresses that a device holds in several projects. No allocation makes them, and no unique index refuses them when
  -- they are of different families: reported, not repaired.
  RETURN QUERY
    SELECT a.pool_id, a.ip, a.device_id, 'two-projects',
           format('the device also holds %s in project %s', host(o.ip), o.project_id), false
      FROM nebula.allocation a
      JOIN nebula.allocation o ON o.device_id = a.device_id AND o.project_id <> a.project_id
     WHERE a.released_at IS NULL
       AND o.released_at IS NULL
       AND (v_project_id IS NULL OR a.project_id = v_project_id);

  -- A valid certificate names an address that another device holds. A certificate cannot be taken back, so this is
  -- reported, not repaired.
  RETURN QUERY
    SELECT a.pool_id, a.ip, c.device_id, 'certificate-conflict',
           format('named by a certificate until %s, but held by device %s', c.not_after, a.device_id), false
      FROM nebula.certificate c
     CROSS JOIN LATERAL unnest(c.networks) AS n(address)
      JOIN nebula.allocation a ON a.project_id = c.project_id AND a.ip = host(n.address)::inet
     WHERE c.revoked_everywhere_at IS NULL
       AND c.not_after > clock_timestamp()
       AND a.device_id <> c.device_id
       AND (v_project_id IS NULL OR c.project_id = v_project_id);

  -- A valid certificate names an address that is free, or whose quarantine ends before the certificate. Not an error
  -- if an administrator has ended the quarantine, which the event log shows.
  RETURN QUERY
    WITH short AS (
      SELECT p.pool_id, c.project_id, host(n.address)::inet AS ip, c.device_id, max(c.not_after) AS until
        FROM nebula.certificate c
       CROSS JOIN LATERAL unnest(c.networks) AS n(address)
        JOIN nebula.pool p ON p.project_id = c.project_id
             AND p.purpose = 'device'
             AND host(n.address)::inet <<= p.cidr
        LEFT JOIN nebula.allocation a ON a.project_id = c.project_id AND a.ip = host(n.address)::inet
       WHERE c.revoked_everywhere_at IS NULL
         AND c.not_after > clock_timestamp()
         AND (a.ip IS NULL OR a.device_id = c.device_id AND a.quarantined_until < c.not_after)
         AND (v_project_id IS NULL OR c.project_id = v_project_id)
         AND NOT EXISTS (SELECT
                           FROM nebula.event e
                          WHERE e.subject = 'device'
                            AND e.subject_id = c.device_id::text
                            AND e.action = 'end-quarantine'
                            AND e.detail ->> 'ip' = host(n.address)
                            AND e.at >= c.issued_at)
       GROUP BY p.pool_id, c.project_id, host(n.address)::inet, c.device_id
    ), mended AS (
      INSERT INTO nebula.allocation AS a (project_id, pool_id, ip, device_id, released_at,
                                          quarantined_until, allocated_by)
      SELECT s.project_id, s.pool_id, s.ip, s.device_id, now(), s.until, 'check_pool'
        FROM short s
       WHERE v_repair
      ON CONFLICT ON CONSTRAINT allocation_pkey DO UPDATE
         SET quarantined_until = EXCLUDED.quarantined_until
       WHERE a.released_at IS NOT NULL
         AND a.device_id = EXCLUDED.device_id
      RETURNING a.project_id, a.ip
    )
    SELECT s.pool_id, s.ip, s.device_id, 'quarantine-missing',
           format('named by a certificate until %s', s.until), m.ip IS NOT NULL
      FROM short s
      LEFT JOIN mended m USING (project_id, ip);

  -- Quarantined addresses of devices without a valid certificate.
  RETURN QUERY
    WITH idle AS (
      SELECT a.project_id, a.pool_id, a.ip, a.device_id, a.quarantined_until
        FROM nebula.allocation a
       WHERE a.quarantined_until > clock_timestamp()
         AND (v_project_id IS NULL OR a.project_id = v_project_id)
         AND NOT EXISTS (SELECT
                           FROM nebula.certificate c
                          WHERE c.device_id = a.device_id
                            AND c.revoked_everywhere_at IS NULL
                            AND c.not_after > clock_timestamp())
    ), mended AS (
      DELETE FROM nebula.allocation a
       USING idle i
       WHERE v_repair
         AND a.project_id = i.project_id
         AND a.ip = i.ip
         AND a.quarantined_until = i.quarantined_until
      RETURNING a.project_id, a.ip
    )
    SELECT i.pool_id, i.ip, i.device_id, 'quarantine-groundless',
           format('until %s, without a valid certificate', i.quarantined_until), m.ip IS NOT NULL
      FROM idle i
      LEFT JOIN mended m USING (project_id, ip);

  -- The map of free addresses in shared memory, which allocation reads before the rows: free addresses that it hides,
  -- and rows that it does not know.
  RETURN QUERY
    SELECT d.pool_id, d.ip, NULL::uuid, d.problem, d.detail, d.repaired
      FROM (SELECT DISTINCT p.project_id
              FROM nebula.pool p
             WHERE v_project_id IS NULL OR p.project_id = v_project_id) p
     CROSS JOIN LATERAL nebula.map_differences(p.project_id, v_repair) d;

  -- nebula lets in every device of a trusted authority, whatever project it is of.
  RETURN QUERY
    SELECT NULL::integer, NULL::inet, NULL::uuid, 'authority-shared',
           format('authority "%s" signs for %s: devices of one project can enter the others', a.name,
                  string_agg(format('"%s"', p.name), ', ' ORDER BY p.name)),
           false
      FROM nebula.project_authority s
      JOIN nebula.authority a USING (fingerprint)
      JOIN nebula.project p USING (project_id)
     GROUP BY a.fingerprint
    HAVING count(*) > 1 AND (v_project_id IS NULL OR bool_or(s.project_id = v_project_id));

  RETURN QUERY
    SELECT NULL::integer, NULL::inet, s.device_id, s.problem, s.detail, false
      FROM nebula.shared_identities(v_project_id) s
    UNION ALL
    SELECT NULL::integer, NULL::inet, s.device_id, s.problem, s.detail, false
      FROM nebula.unusable_endpoints(v_project_id) s;

  RETURN QUERY SELECT * FROM nebula.peer_differences(v_project_id, v_repair);

  -- Linked tables: dropped, altered, or with another address than the device holds.
  RETURN QUERY
    SELECT NULL::integer, NULL::inet, NULL::uuid, 'link-broken',
           format('table %s, column "%s" or column "%s" is gone', l.target, l.id_column, l.ip_column),
           v_repair
      FROM nebula.linked_table l
     WHERE (SELECT count(*)
              FROM pg_attribute a
             WHERE a.attrelid = l.target
               AND NOT a.attisdropped
               AND (a.attname = l.id_column AND a.atttypid = 'uuid'::regtype
                    OR a.attname = l.ip_column AND a.atttypid = 'inet'::regtype)) <> 2;
  IF v_repair THEN
    DELETE FROM nebula.linked_table l
     WHERE (SELECT count(*)
              FROM pg_attribute a
             WHERE a.attrelid = l.target
               AND NOT a.attisdropped
               AND (a.attname = l.id_column AND a.atttypid = 'uuid'::regtype
                    OR a.attname = l.ip_column AND a.atttypid = 'inet'::regtype)) <> 2;
  END IF;
  RETURN QUERY
    SELECT NULL::integer, d.held, d.device_id, 'link-differs',
           format('table %s shows %s', d.target, coalesce(host(d.shown), 'nothing')), v_repair
      FROM nebula.link_differences() d;
  IF v_repair THEN
    PERFORM nebula.sync_linked_tables(array_agg(d.device_id))
      FROM nebula.link_differences() d
    HAVING count(*) > 0;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_pool(uuid, boolean) IS
  'Compares allocations with pools, certificates, quarantine, linked tables and the map in shared memory, '
  'devices with each other, and peers with addresses and seats, of one project or all; returns the differences. '
  'repair: also repairs those that need no decision. Errors: P0002 no such project';
