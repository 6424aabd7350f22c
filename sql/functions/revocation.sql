-- Revocation: a certificate goes on the blocklist of its project at once, and counts as good for nothing only when every
-- live member is known to run that blocklist.

CREATE FUNCTION nebula.certificate_revoked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  UPDATE nebula.project p SET config_version = p.config_version + 1 WHERE p.project_id = NEW.project_id
  RETURNING p.config_version INTO NEW.revoked_version;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION nebula.certificate_revoked() IS 'Trigger: notes which configuration of the project is the first to carry a revocation';

CREATE TRIGGER certificate_revoked BEFORE UPDATE OF revoked_at ON nebula.certificate
  FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION nebula.certificate_revoked();

CREATE FUNCTION nebula.is_live(device_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN EXISTS (SELECT FROM nebula.device d WHERE d.device_id = is_live.device_id AND d.revoked_at IS NULL)
     AND EXISTS (SELECT FROM nebula.certificate c
                  WHERE c.device_id = is_live.device_id AND c.revoked_at IS NULL AND c.not_after > clock_timestamp());
END $$;
COMMENT ON FUNCTION nebula.is_live(uuid) IS
  'Whether a device can take part in its overlay: it is not revoked and has a valid certificate';

-- An address is named by certificates of its last holder alone. Once they are good for nothing it waits no longer; as
-- long as one is left, until that one expires.
CREATE FUNCTION nebula.shorten_quarantine(device_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  until timestamptz := (SELECT max(c.not_after) FROM nebula.certificate c
                         WHERE c.device_id = shorten_quarantine.device_id AND c.revoked_everywhere_at IS NULL AND c.not_after > clock_timestamp());
BEGIN
  IF until IS NULL THEN
    DELETE FROM nebula.allocation a WHERE a.device_id = shorten_quarantine.device_id AND a.quarantined_until > clock_timestamp();
  ELSE
    UPDATE nebula.allocation a SET quarantined_until = until
     WHERE a.device_id = shorten_quarantine.device_id AND a.quarantined_until > until;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.shorten_quarantine(uuid) IS
  'Ends the quarantine of what a device held when the last of its certificates is good for nothing';

CREATE FUNCTION nebula.settle_revocations(project_id uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  waiting bytea[] := (SELECT array_agg(c.fingerprint) FROM nebula.certificate c
                       WHERE c.project_id = settle_revocations.project_id AND c.revoked_at IS NOT NULL AND c.revoked_everywhere_at IS NULL
                         AND c.not_after > clock_timestamp());
  lowest  bigint;
  settled uuid[];
BEGIN
  IF waiting IS NULL THEN
    RETURN 0;
  END IF;
  -- Of two last acknowledgements at the same time one must see the other.
  PERFORM FROM nebula.project p WHERE p.project_id = settle_revocations.project_id FOR NO KEY UPDATE;
  SELECT a.acknowledged_version INTO lowest
    FROM nebula.agent a
   WHERE a.project_id = settle_revocations.project_id AND nebula.is_live(a.device_id)
   ORDER BY a.acknowledged_version LIMIT 1;
  waiting := ARRAY(SELECT c.fingerprint FROM nebula.certificate c
                    WHERE c.fingerprint = ANY (waiting) AND c.revoked_everywhere_at IS NULL AND c.revoked_version <= coalesce(lowest, c.revoked_version));
  IF cardinality(waiting) = 0
     -- Who has no agent never says what it runs.
     OR EXISTS (SELECT FROM nebula.device d
                 WHERE d.project_id = settle_revocations.project_id AND nebula.is_live(d.device_id)
                   AND NOT EXISTS (SELECT FROM nebula.agent a WHERE a.device_id = d.device_id)) THEN
    RETURN 0;
  END IF;
  WITH done AS (
    UPDATE nebula.certificate c SET revoked_everywhere_at = now() WHERE c.fingerprint = ANY (waiting) RETURNING c.device_id
  )
  SELECT array_agg(DISTINCT done.device_id) INTO settled FROM done;
  PERFORM nebula.shorten_quarantine(d) FROM unnest(settled) d;
  PERFORM nebula.record_event(settle_revocations.project_id, 'agent', 'revoked-everywhere', 'device', d::text) FROM unnest(settled) d;
  RETURN coalesce(cardinality(settled), 0);
END $$;
COMMENT ON FUNCTION nebula.settle_revocations(uuid) IS
  'Notes which revocations every live member of a project has acknowledged, and frees the addresses that waited for it; answers for how many devices';

CREATE FUNCTION nebula.maintain_revocations() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT coalesce(sum(nebula.settle_revocations(p.project_id)), 0)::integer
    FROM (SELECT DISTINCT c.project_id FROM nebula.certificate c
           WHERE c.revoked_at IS NOT NULL AND c.revoked_everywhere_at IS NULL AND c.not_after > clock_timestamp()) p
$$;
COMMENT ON FUNCTION nebula.maintain_revocations() IS
  'settle_revocations where one waits: a member that never acknowledged may have expired meanwhile. The background worker calls it';

CREATE FUNCTION nebula.revoke_device(device_id uuid, revoked_by text DEFAULT NULL, client inet DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  who   text := coalesce(revoke_device.revoked_by, session_user::text);
  ended nebula.device;
  count integer;
BEGIN
  -- In the order of accept_call: the agent, then the project.
  PERFORM FROM nebula.agent a WHERE a.device_id = revoke_device.device_id FOR UPDATE;
  UPDATE nebula.device d SET revoked_at = coalesce(d.revoked_at, now())
   WHERE d.device_id = revoke_device.device_id RETURNING d.* INTO ended;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no device %', revoke_device.device_id
      USING ERRCODE = 'P0002', HINT = 'List devices: SELECT device_id, name FROM nebula.device_status.';
  END IF;
  UPDATE nebula.certificate c SET revoked_at = now()
   WHERE c.device_id = ended.device_id AND c.revoked_at IS NULL AND c.not_after > clock_timestamp();
  GET DIAGNOSTICS count = ROW_COUNT;
  IF EXISTS (SELECT FROM nebula.allocation a WHERE a.device_id = ended.device_id AND a.released_at IS NULL) THEN
    PERFORM nebula.release_ip(ended.device_id, who, client => revoke_device.client);
  END IF;
  PERFORM nebula.record_event(ended.project_id, who, 'revoke', 'device', ended.device_id::text, revoke_device.client,
    jsonb_build_object('name', ended.name, 'certificates', count));
  PERFORM nebula.settle_revocations(ended.project_id);
  PERFORM nebula.advance_rotation(ended.project_id);
  RETURN count;
END $$;
COMMENT ON FUNCTION nebula.revoke_device(uuid, text, inet) IS
  'Shuts a device out for good: its calls are refused, its certificates are revoked, its address is released into quarantine, which ends when '
  'every live member runs the blocklist; answers how many certificates. Twice is no error. For administrators. Errors: P0002 no such device';

CREATE FUNCTION nebula.revoke_certificate(fingerprint text, revoked_by text DEFAULT NULL, client inet DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  who   text := coalesce(revoke_certificate.revoked_by, session_user::text);
  bytes bytea;
  ended nebula.certificate;
BEGIN
  IF revoke_certificate.fingerprint ~* '^[0-9a-f]{64}$' THEN
    bytes := decode(revoke_certificate.fingerprint, 'hex');
  END IF;
  SELECT c.* INTO ended FROM nebula.certificate c
   WHERE c.fingerprint = bytes OR c.alternate_fingerprint = bytes;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no certificate "%"', left(revoke_certificate.fingerprint, 64)
      USING ERRCODE = 'P0002', HINT = 'Give the fingerprint in 64 hexadecimal digits, as GET /api/certificates and nebula-cert print -json show it.';
  END IF;
  -- The key is what got lost: whoever has it has the certificate of the other version too.
  UPDATE nebula.certificate c SET revoked_at = now()
   WHERE c.device_id = ended.device_id AND c.public_key = ended.public_key AND c.revoked_at IS NULL AND c.not_after > clock_timestamp();
  PERFORM nebula.record_event(ended.project_id, who, 'revoke', 'certificate', encode(ended.fingerprint, 'hex'), revoke_certificate.client,
    jsonb_build_object('device', ended.device_id));
  PERFORM nebula.settle_revocations(ended.project_id);
  RETURN ended.device_id;
END $$;
COMMENT ON FUNCTION nebula.revoke_certificate(text, text, inet) IS
  'Puts a certificate on the blocklist, and the others of the same key; the device keeps its address, and if it has an agent it gets a new key and '
  'certificate. Answers the device. '
  'Twice is no error. For administrators. Errors: P0002 no such certificate';

-- The certificates in a bundle are of a key that the agent does not have. Its own former keys never left the device, and expire.
CREATE FUNCTION nebula.bundle_ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  ended bytea[];
BEGIN
  WITH revoked AS (
    UPDATE nebula.certificate c SET revoked_at = now()
     WHERE c.device_id = NEW.device_id AND c.issued_at < NEW.enrolled_at AND c.revoked_at IS NULL AND c.not_after > clock_timestamp()
       AND NOT EXISTS (SELECT FROM nebula.agent_answer w WHERE w.device_id = NEW.device_id AND w.public_key = c.public_key)
    RETURNING c.fingerprint
  )
  SELECT array_agg(r.fingerprint ORDER BY r.fingerprint) INTO ended FROM revoked r;
  IF ended IS NOT NULL THEN
    PERFORM nebula.record_event(NEW.project_id, 'agent', 'end-bundle', 'device', NEW.device_id::text, NULL,
      jsonb_build_object('certificates', ARRAY(SELECT encode(f, 'hex') FROM unnest(ended) f)));
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.bundle_ended() IS
  'Trigger: an agent is known to run what it was given, so what was handed out for its device before it came is revoked, on record';

CREATE TRIGGER bundle_ended AFTER UPDATE OF acknowledged_version ON nebula.agent
  FOR EACH ROW WHEN (OLD.acknowledged_version = 0 AND NEW.acknowledged_version > 0) EXECUTE FUNCTION nebula.bundle_ended();

CREATE FUNCTION nebula.revoke_device_for(actor uuid, device_id uuid, client inet DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.revoke_device(revoke_device_for.device_id, nebula.require_admin(revoke_device_for.actor), revoke_device_for.client)
$$;
COMMENT ON FUNCTION nebula.revoke_device_for(uuid, uuid, inet) IS
  'revoke_device for an administrator. Errors: 42501 not an administrator, P0002 no such device';

CREATE FUNCTION nebula.revoke_certificate_for(actor uuid, fingerprint text, client inet DEFAULT NULL) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.revoke_certificate(revoke_certificate_for.fingerprint, nebula.require_admin(revoke_certificate_for.actor), revoke_certificate_for.client)
$$;
COMMENT ON FUNCTION nebula.revoke_certificate_for(uuid, text, inet) IS
  'revoke_certificate for an administrator. Errors: 42501 not an administrator, P0002 no such certificate';

CREATE FUNCTION nebula.device_revocation(actor uuid, wanted uuid)
RETURNS TABLE (device_id uuid, name text, fingerprints text[], revoked_at timestamptz, version bigint, members bigint, acknowledged bigint,
               missing text[], revoked_everywhere_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM nebula.require_admin(device_revocation.actor);
  RETURN QUERY
    SELECT d.device_id, d.name, coalesce(r.fingerprints, '{}'), r.revoked_at, r.version, coalesce(r.members, 0), coalesce(r.acknowledged, 0),
           coalesce(r.missing[:100], '{}'), r.revoked_everywhere_at
      FROM nebula.device d LEFT JOIN nebula.revocation_status r USING (device_id)
     WHERE d.device_id = device_revocation.wanted;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no device %', device_revocation.wanted
      USING ERRCODE = 'P0002', HINT = 'List devices: nebulactl device ls, or SELECT device_id, name FROM nebula.device_status.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.device_revocation(uuid, uuid) IS
  'How far the revocation of a device has come. Errors: 42501 not an administrator, P0002 no such device';
