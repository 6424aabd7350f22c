-- Revocation: a certificate enters the blocklist of its project at once. It is revoked everywhere as soon as every
-- live member has acknowledged a configuration with that blocklist.

CREATE FUNCTION nebula.certificate_revoked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  UPDATE nebula.project p
     SET config_version = p.config_version + 1
   WHERE p.project_id = NEW.project_id
  RETURNING p.config_version
    INTO NEW.revoked_version;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION nebula.certificate_revoked() IS
  'Trigger: notes which configuration of the project is the first to carry a revocation';

CREATE TRIGGER certificate_revoked BEFORE UPDATE OF revoked_at ON nebula.certificate
  FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
  EXECUTE FUNCTION nebula.certificate_revoked();

CREATE FUNCTION nebula.is_live(device_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_device_id CONSTANT uuid := device_id;
BEGIN
  RETURN EXISTS (SELECT FROM nebula.device d WHERE d.device_id = v_device_id AND d.revoked_at IS NULL)
         AND EXISTS (SELECT
                       FROM nebula.certificate c
                      WHERE c.device_id = v_device_id
                        AND c.revoked_at IS NULL
                        AND c.not_after > clock_timestamp());
END $$;
COMMENT ON FUNCTION nebula.is_live(uuid) IS
  'Internal: whether a device can take part in its overlay: it is not revoked and has a valid certificate';

-- Only certificates of its last holder name an address. Its quarantine ends with the last of them: at once if all are
-- revoked everywhere, else when the last one expires.
CREATE FUNCTION nebula.shorten_quarantine(p_device_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_until timestamptz := (SELECT max(c.not_after)
                            FROM nebula.certificate c
                           WHERE c.device_id = p_device_id
                             AND c.revoked_everywhere_at IS NULL
                             AND c.not_after > clock_timestamp());
BEGIN
  IF v_until IS NULL THEN
    DELETE FROM nebula.allocation a
     WHERE a.device_id = p_device_id
       AND a.quarantined_until > clock_timestamp();
  ELSE
    UPDATE nebula.allocation a
       SET quarantined_until = v_until
     WHERE a.device_id = p_device_id AND a.quarantined_until > v_until;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.shorten_quarantine(uuid) IS
  'Internal: ends the quarantine of the addresses of a device whose certificates are all expired or '
  'revoked everywhere';

CREATE FUNCTION nebula.settle_revocations(p_project_id uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_waiting bytea[] := (SELECT array_agg(c.fingerprint)
                          FROM nebula.certificate c
                         WHERE c.project_id = p_project_id
                           AND c.revoked_at IS NOT NULL
                           AND c.revoked_everywhere_at IS NULL
                           AND c.not_after > clock_timestamp());
  v_lowest  bigint;
  v_settled uuid[];
BEGIN
  IF v_waiting IS NULL THEN
    RETURN 0;
  END IF;
  -- Serializes concurrent acknowledgements: the later one must see the earlier one, or neither would be the last.
  PERFORM
    FROM nebula.project p
   WHERE p.project_id = p_project_id
     FOR NO KEY UPDATE;
  SELECT a.acknowledged_version INTO v_lowest
    FROM nebula.agent a
   WHERE a.project_id = p_project_id AND nebula.is_live(a.device_id)
   ORDER BY a.acknowledged_version LIMIT 1;
  v_waiting := ARRAY(SELECT c.fingerprint
                       FROM nebula.certificate c
                      WHERE c.fingerprint = ANY (v_waiting)
                        AND c.revoked_everywhere_at IS NULL
                        AND c.revoked_version <= coalesce(v_lowest, c.revoked_version));
  IF cardinality(v_waiting) = 0
     -- A live device without an agent never acknowledges: its certificates have to expire.
     OR EXISTS (SELECT FROM nebula.device d
                 WHERE d.project_id = p_project_id AND nebula.is_live(d.device_id)
                   AND NOT EXISTS (SELECT FROM nebula.agent a WHERE a.device_id = d.device_id)) THEN
    RETURN 0;
  END IF;
  WITH done AS (
    UPDATE nebula.certificate c
       SET revoked_everywhere_at = now()
     WHERE c.fingerprint = ANY (v_waiting)
    RETURNING c.device_id
  )
  SELECT array_agg(DISTINCT done.device_id)
    INTO v_settled
    FROM done;
  PERFORM nebula.shorten_quarantine(d) FROM unnest(v_settled) d;
  PERFORM nebula.record_event(p_project_id, 'agent', 'revoked-everywhere', 'device', d::text)
    FROM unnest(v_settled) d;
  RETURN coalesce(cardinality(v_settled), 0);
END $$;
COMMENT ON FUNCTION nebula.settle_revocations(uuid) IS
  'Internal: notes which revocations every live member of a project has acknowledged, and frees the '
  'addresses that waited for it; answers for how many devices';

CREATE FUNCTION nebula.maintain_revocations() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT coalesce(sum(nebula.settle_revocations(p.project_id)), 0)::integer
    FROM (SELECT DISTINCT c.project_id
            FROM nebula.certificate c
           WHERE c.revoked_at IS NOT NULL
             AND c.revoked_everywhere_at IS NULL
             AND c.not_after > clock_timestamp()) p
$$;
COMMENT ON FUNCTION nebula.maintain_revocations() IS
  'Completes revocations after members that had not acknowledged them have expired. The background worker '
  'calls it; any scheduler may instead';

CREATE FUNCTION nebula.revoke_device(
  device_id uuid,
  revoked_by text DEFAULT NULL,
  client inet DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_device_id  CONSTANT uuid := device_id;
  v_revoked_by CONSTANT text := revoked_by;
  v_client     CONSTANT inet := client;
  v_who        text := coalesce(v_revoked_by, session_user::text);
  v_ended      nebula.device;
  v_count      integer;
BEGIN
  -- In the order of all calls (placement.sql).
  PERFORM nebula.lock_node_of(v_device_id);
  PERFORM
    FROM nebula.agent a
   WHERE a.device_id = v_device_id
     FOR UPDATE;
  UPDATE nebula.device d
     SET revoked_at = coalesce(d.revoked_at, now())
   WHERE d.device_id = v_device_id
  RETURNING d.* INTO v_ended;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no device %', v_device_id
      USING ERRCODE = 'P0002', HINT = 'List devices: SELECT device_id, name FROM nebula.device_status.';
  END IF;
  -- Before the trigger of the certificates locks the row of the project.
  LOCK TABLE nebula.allocation IN ROW EXCLUSIVE MODE;
  UPDATE nebula.certificate c
     SET revoked_at = now()
   WHERE c.device_id = v_ended.device_id AND c.revoked_at IS NULL AND c.not_after > clock_timestamp();
  GET DIAGNOSTICS v_count = ROW_COUNT;
  IF EXISTS (SELECT
               FROM nebula.allocation a
              WHERE a.device_id = v_ended.device_id
                AND a.released_at IS NULL)
  THEN
    PERFORM nebula.release_ip(v_ended.device_id, v_who, client => v_client);
  END IF;
  PERFORM nebula.record_event(v_ended.project_id, v_who, 'revoke', 'device', v_ended.device_id::text,
                              v_client, jsonb_build_object('name', v_ended.name, 'certificates', v_count));
  PERFORM nebula.settle_revocations(v_ended.project_id);
  PERFORM nebula.advance_rotation(v_ended.project_id);
  RETURN v_count;
END $$;
COMMENT ON FUNCTION nebula.revoke_device(uuid, text, inet) IS
  'Revokes a device permanently: refuses its calls, revokes its certificates and releases its address into '
  'quarantine, which ends when every live member runs the blocklist; returns the number of certificates. '
  'Idempotent. For administrators. Errors: P0002 no such device';

CREATE FUNCTION nebula.revoke_certificate(
  fingerprint text,
  revoked_by text DEFAULT NULL,
  client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_fingerprint CONSTANT text := fingerprint;
  v_revoked_by  CONSTANT text := revoked_by;
  v_client      CONSTANT inet := client;
  v_who         text := coalesce(v_revoked_by, session_user::text);
  v_bytes       bytea;
  v_ended       nebula.certificate;
BEGIN
  IF v_fingerprint ~* '^[0-9a-f]{64}$' THEN
    v_bytes := decode(v_fingerprint, 'hex');
  END IF;
  SELECT c.*
    INTO v_ended
    FROM nebula.certificate c
   WHERE c.fingerprint = v_bytes OR c.alternate_fingerprint = v_bytes;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no certificate "%"', left(v_fingerprint, 64)
      USING ERRCODE = 'P0002',
        HINT = 'Give the fingerprint in 64 hexadecimal digits, '
               'as GET /api/certificates and nebula-cert print -json show it.';
  END IF;
  -- The key is compromised, so revoke the certificates of both versions for that key.
  UPDATE nebula.certificate c
     SET revoked_at = now()
   WHERE c.device_id = v_ended.device_id
     AND c.public_key = v_ended.public_key
     AND c.revoked_at IS NULL
     AND c.not_after > clock_timestamp();
  PERFORM nebula.record_event(v_ended.project_id, v_who, 'revoke', 'certificate',
                              encode(v_ended.fingerprint, 'hex'), v_client,
                              jsonb_build_object('device', v_ended.device_id));
  PERFORM nebula.settle_revocations(v_ended.project_id);
  RETURN v_ended.device_id;
END $$;
COMMENT ON FUNCTION nebula.revoke_certificate(text, text, inet) IS
  'Revokes a certificate and the others of the same key; returns the device, which keeps its address. If '
  'it has an agent, that gets a new key and certificate. Idempotent. For administrators. Errors: P0002 no '
  'such certificate';

-- Certificates in a bundle belong to a key outside of the agent. The former keys of the agent itself never left the
-- device: their certificates may expire.
CREATE FUNCTION nebula.bundle_ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_ended bytea[];
BEGIN
  WITH revoked AS (
    UPDATE nebula.certificate c
       SET revoked_at = now()
     WHERE c.device_id = NEW.device_id
       AND c.issued_at < NEW.enrolled_at
       AND c.revoked_at IS NULL
       AND c.not_after > clock_timestamp()
       AND NOT EXISTS (SELECT
                         FROM nebula.agent_answer w
                        WHERE w.device_id = NEW.device_id
                          AND w.public_key = c.public_key)
    RETURNING c.fingerprint
  )
  SELECT array_agg(r.fingerprint ORDER BY r.fingerprint)
    INTO v_ended
    FROM revoked r;
  IF v_ended IS NOT NULL THEN
    PERFORM nebula.record_event(NEW.project_id, 'agent', 'end-bundle', 'device', NEW.device_id::text, NULL,
      jsonb_build_object('certificates', ARRAY(SELECT encode(f, 'hex') FROM unnest(v_ended) f)));
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.bundle_ended() IS
  'Trigger: once an agent runs its first configuration, revokes and records the certificates that its '
  'device was given before it enrolled';

CREATE TRIGGER bundle_ended AFTER UPDATE OF acknowledged_version ON nebula.agent
  FOR EACH ROW WHEN (OLD.acknowledged_version = 0 AND NEW.acknowledged_version > 0)
  EXECUTE FUNCTION nebula.bundle_ended();

CREATE FUNCTION nebula.revoke_device_for(p_actor nebula.proven_account, p_device_id uuid, p_client inet DEFAULT NULL)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.revoke_device(
           p_device_id,
           nebula.require_permission(p_actor, nebula.project_of_device(p_actor, p_device_id), 'device.write'),
           p_client)
$$;
COMMENT ON FUNCTION nebula.revoke_device_for(nebula.proven_account, uuid, inet) IS
  'For the gateway: revoke_device for an administrator. Errors: 42501 not an administrator, P0002 no '
  'such device';

CREATE FUNCTION nebula.revoke_certificate_for(
  p_actor nebula.proven_account, p_fingerprint text, p_client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.revoke_certificate(
           p_fingerprint,
           nebula.require_permission(p_actor,
                                     (SELECT c.project_id
                                        FROM nebula.certificate c
                                       WHERE encode(c.fingerprint, 'hex') = p_fingerprint
                                         AND c.project_id IN (SELECT nebula.visible_projects(p_actor))),
                                     'device.write'),
           p_client)
$$;
COMMENT ON FUNCTION nebula.revoke_certificate_for(nebula.proven_account, text, inet) IS
  'For the gateway: revoke_certificate for an administrator. Errors: 42501 not an administrator, P0002 '
  'no such certificate';

CREATE FUNCTION nebula.device_revocation(p_actor nebula.proven_account, p_wanted uuid)
RETURNS TABLE (
  device_id uuid, name text, fingerprints text[], revoked_at timestamptz, version bigint,
  members bigint, acknowledged bigint, missing text[], revoked_everywhere_at timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_permission(p_actor, nebula.project_of_device(p_actor, p_wanted), 'device.write');
  RETURN QUERY
    SELECT d.device_id, d.name, coalesce(r.fingerprints, '{}'), r.revoked_at, r.version,
           coalesce(r.members, 0), coalesce(r.acknowledged, 0), coalesce(r.missing[:100], '{}'),
           r.revoked_everywhere_at
      FROM nebula.device d
      LEFT JOIN nebula.revocation_status r USING (device_id)
     WHERE d.device_id = p_wanted;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no device %', p_wanted
      USING ERRCODE = 'P0002',
        HINT = 'List devices: nebulactl device ls, or SELECT device_id, name FROM nebula.device_status.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.device_revocation(nebula.proven_account, uuid) IS
  'For the gateway: progress of the revocation of a device. Errors: 42501 not an administrator, P0002 no '
  'such device';
