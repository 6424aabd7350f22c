-- Agents: authentication of their calls, the configuration each one runs, and the next one it gets. The gateway
-- verifies signatures with the key from agent_keys; every other check is made here, in the transaction that acts on
-- it.
--
-- Functions for calls that arrive in batches take an array: a statement for a hundred costs little more than for one.

-- Fixed plan (sql/README.md): one indexed subquery per call, with LIMIT 1.
CREATE FUNCTION nebula.agent_keys(p_gateway nebula.proven_gateway, p_calls nebula.agent_call[])
RETURNS TABLE (project_id uuid, version bigint, host_key bytea, public_key bytea, node_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN QUERY
    SELECT k.project_id, k.config_version, k.host_key, k.public_key, k.node_id
      FROM unnest(p_calls) WITH ORDINALITY AS c
      LEFT JOIN LATERAL (SELECT p.project_id, p.config_version, s.host_key, s.public_key,
                                (SELECT n.node_id FROM nebula.node n WHERE n.device_id = s.device_id)
                           FROM nebula.agent_answer s
                           JOIN nebula.device d USING (device_id)
                           JOIN nebula.project p USING (project_id)
                          WHERE s.device_id = c.device_id
                            AND s.counter = c.counter
                            AND d.revoked_at IS NULL
                          LIMIT 1) k ON true
     ORDER BY c.ordinality;
END $$;
COMMENT ON FUNCTION nebula.agent_keys(nebula.proven_gateway, nebula.agent_call[]) IS
  'For the gateway: the keys of the answers with these counters, in the order given (of each call only '
  'device_id and counter are read): host_key signs the calls of a device that runs that answer. Also the '
  'version of the project''s configuration, and the node that the device reports for, if any. All null '
  'for a device that is unknown, revoked, or has acknowledged a later answer';

-- Fixed plan (sql/README.md): one indexed subquery per call, with OFFSET 0.
CREATE FUNCTION nebula.accept_calls(p_calls nebula.agent_call[], p_changes boolean) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_tolerance  CONSTANT interval := interval '5 minutes';
  v_device_ids CONSTANT uuid[] := ARRAY(SELECT c.device_id FROM unnest(p_calls) c);
  v_stale      timestamptz;
  v_locked     uuid[];
  v_accepted   integer;
  v_advanced   uuid[];
BEGIN
  SELECT c.said_at
    INTO v_stale
    FROM unnest(p_calls) c
   WHERE c.said_at NOT BETWEEN clock_timestamp() - v_tolerance AND clock_timestamp() + v_tolerance
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the call was made at %, now it is %', v_stale, clock_timestamp()
      USING ERRCODE = '28000', HINT = 'Set the clock of the device.';
  END IF;
  IF cardinality(v_device_ids) > 1
     AND cardinality(v_device_ids) > (SELECT count(DISTINCT d) FROM unnest(v_device_ids) d)
  THEN
    RAISE EXCEPTION 'the device made two calls at once'
      USING ERRCODE = '28000', HINT = 'Accept its calls one after the other.';
  END IF;
  -- Locks only rows that will be written. Usually there are none: ten thousand waiting agents lock nothing.
  v_locked := CASE
                WHEN p_changes THEN v_device_ids
                ELSE ARRAY(SELECT c.device_id
                             FROM unnest(p_calls) c
                            WHERE EXISTS (SELECT
                                            FROM nebula.agent a
                                           WHERE a.device_id = c.device_id
                                             AND a.acknowledged_counter < c.counter
                                          OFFSET 0))
              END;
  PERFORM
    FROM nebula.agent a
   WHERE a.device_id = ANY (v_locked)
   ORDER BY a.device_id
     FOR UPDATE;
  IF EXISTS (
    SELECT
      FROM unnest(p_calls) c
     WHERE NOT EXISTS (SELECT
                         FROM nebula.agent_answer s
                         JOIN nebula.device d USING (device_id)
                        WHERE s.device_id = c.device_id
                          AND s.counter = c.counter
                          AND s.host_key = c.host_key
                          AND d.revoked_at IS NULL
                       OFFSET 0)
  ) THEN
    RAISE EXCEPTION 'this device is unknown, was revoked, or has newer credentials'
      USING ERRCODE = '28000', HINT = 'Use the newest credentials, or enrol again.';
  END IF;
  IF p_changes THEN
    UPDATE nebula.agent a
       SET said_at = (p_calls[array_position(v_device_ids, a.device_id)]).said_at
     WHERE a.device_id = ANY (v_device_ids)
       AND (a.said_at IS NULL OR a.said_at < (p_calls[array_position(v_device_ids, a.device_id)]).said_at);
    GET DIAGNOSTICS v_accepted = ROW_COUNT;
    IF v_accepted < cardinality(v_device_ids) THEN
      RAISE EXCEPTION 'this call, or a later one, was made before'
        USING ERRCODE = '28000', HINT = 'Make a new one.';
    END IF;
  END IF;
  UPDATE nebula.device d
     SET last_seen_at = now()
   WHERE d.device_id = ANY (v_device_ids)
     AND (d.last_seen_at IS NULL OR d.last_seen_at < now() - interval '30 seconds');
  v_advanced := ARRAY(SELECT c.device_id
                        FROM unnest(p_calls) c
                       WHERE EXISTS (SELECT
                                       FROM nebula.agent a
                                      WHERE a.device_id = c.device_id
                                        AND a.acknowledged_counter < c.counter
                                     OFFSET 0));
  IF v_advanced <> '{}' THEN
    UPDATE nebula.agent a
       SET acknowledged_counter = (p_calls[array_position(v_device_ids, a.device_id)]).counter,
           acknowledged_at = now(),
           acknowledged_version = greatest(
             a.acknowledged_version,
             (SELECT s.version
                FROM nebula.agent_answer s
               WHERE s.device_id = a.device_id
                 AND s.counter = (p_calls[array_position(v_device_ids, a.device_id)]).counter))
     WHERE a.device_id = ANY (v_advanced);
    -- The devices run the acknowledged answers: earlier answers and their keys are not valid any more.
    DELETE FROM nebula.agent_answer s
     WHERE s.device_id = ANY (v_advanced)
       AND s.counter < (SELECT a.acknowledged_counter FROM nebula.agent a WHERE a.device_id = s.device_id);
    PERFORM nebula.settle_revocations(p.project_id), nebula.advance_rotation(p.project_id)
      FROM (SELECT DISTINCT a.project_id FROM nebula.agent a WHERE a.device_id = ANY (v_advanced)) p;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.accept_calls(nebula.agent_call[], boolean) IS
  'Internal: accepts calls of different devices, all or none, whose signatures were verified with their '
  'host_key, and records what they acknowledge. changes: the calls change something, so each must be '
  'later than the last such call of its device. Errors: 28000 unknown, revoked, overtaken, stale or '
  'repeated';

CREATE FUNCTION nebula.accept_call(
  p_device_id uuid, p_counter bigint, p_host_key bytea, p_said_at timestamptz, p_changes boolean
) RETURNS nebula.agent
LANGUAGE plpgsql AS $$
DECLARE
  v_caller nebula.agent;
BEGIN
  PERFORM nebula.accept_calls(
    ARRAY[ROW(p_device_id, p_counter, p_host_key, p_said_at, NULL, NULL)::nebula.agent_call],
    p_changes);
  SELECT a.*
    INTO v_caller
    FROM nebula.agent a
   WHERE a.device_id = p_device_id;
  RETURN v_caller;
END $$;
COMMENT ON FUNCTION nebula.accept_call(uuid, bigint, bytea, timestamptz, boolean) IS
  'Internal: accept_calls for one call; returns the agent';

CREATE FUNCTION nebula.can_be_certified(p_device_id uuid, p_networks inet[], p_unsafe_networks inet[])
RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
  -- A certificate needs an address. A project without an authority gets one with the certificate.
  RETURN cardinality(p_networks) > 0
     AND NOT EXISTS (
           SELECT
             FROM nebula.device d
             JOIN nebula.project_authority s USING (project_id)
             JOIN nebula.authority a USING (fingerprint)
            WHERE d.device_id = p_device_id
              AND (clock_timestamp() NOT BETWEEN a.not_before AND a.not_after
                   OR a.curve <> d.curve
                   OR EXISTS (SELECT
                                FROM unnest(d.groups) g
                               WHERE g IS NULL OR g !~ '[^[:space:]]' OR g ~ '[[:cntrl:]]')
                   OR nebula.not_grantable(a, d.groups, p_networks, p_unsafe_networks) IS NOT NULL))
     AND nebula.issued_certificates(p_device_id) < 10;
END $$;
COMMENT ON FUNCTION nebula.can_be_certified(uuid, inet[], inet[]) IS
  'Internal: whether the authority of its project can sign a certificate with these networks for a device '
  'now, and it was not given too many';

CREATE FUNCTION nebula.agent_due(device_id uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_device_id CONSTANT uuid := device_id;
  v_caller    nebula.agent;
  v_current   nebula.project;
  v_held      inet[] := nebula.device_networks(v_device_id);
  v_behind    inet[] := nebula.device_unsafe_networks(v_device_id);
  v_wanted    smallint[];
  v_outdated  boolean;
BEGIN
  SELECT a.*
    INTO v_caller
    FROM nebula.agent a
   WHERE a.device_id = v_device_id;
  SELECT p.*
    INTO v_current
    FROM nebula.project p
   WHERE p.project_id = v_caller.project_id;
  -- Its nebula refused this version: do not offer it again before the configuration changes or an hour has passed.
  IF v_caller.refused_version >= v_current.config_version
     AND v_caller.refused_at > now() - interval '1 hour'
  THEN
    RETURN NULL;
  END IF;
  -- A version 1 certificate holds one IPv4 address and no IPv6 address.
  v_wanted := CASE
                WHEN (SELECT count(*) = 1
                          FROM unnest(v_held) n
                         WHERE family(n) = 4) THEN v_current.certificate_versions
                ELSE '{2}'
              END;
  -- Compares the newest certificates of its current key with those it would get now.
  SELECT coalesce(
           bool_or(
             clock_timestamp() > c.issued_at + (c.not_after - c.issued_at) * 2 / 3
             OR c.revoked_at IS NOT NULL
             OR c.name IS DISTINCT FROM d.name
             OR c.groups <> d.groups
             OR c.issuer <> (SELECT s.fingerprint
                               FROM nebula.project_authority s
                              WHERE s.project_id = d.project_id)
             OR (SELECT array_agg(n ORDER BY n) FROM unnest(c.networks) n)
                IS DISTINCT FROM
                (SELECT array_agg(n ORDER BY n) FROM unnest(v_held) n WHERE c.version = 2 OR family(n) = 4)
             OR (SELECT array_agg(n ORDER BY n) FROM unnest(c.unsafe_networks) n)
                IS DISTINCT FROM
                (SELECT array_agg(n ORDER BY n) FROM unnest(v_behind) n WHERE c.version = 2 OR family(n) = 4)
           ),
           true
         )
         OR NOT (coalesce(array_agg(c.version), '{}') @> v_wanted
                 AND v_wanted @> coalesce(array_agg(c.version), '{}'))
    INTO v_outdated
    FROM nebula.agent_answer w
    JOIN nebula.device d USING (device_id)
    LEFT JOIN nebula.certificate c ON c.device_id = w.device_id
              AND c.public_key = w.public_key
              AND c.issued_at = (SELECT max(k.issued_at)
                                   FROM nebula.certificate k
                                  WHERE k.device_id = w.device_id
                                    AND k.public_key = w.public_key)
   WHERE w.device_id = v_caller.device_id
     AND w.counter = v_caller.acknowledged_counter;
  -- A certificate that cannot be signed now must not keep the device from the newest configuration.
  IF v_outdated AND nebula.can_be_certified(v_device_id, v_held, v_behind) THEN
    RETURN 'certificate';
  END IF;
  RETURN CASE WHEN v_caller.acknowledged_version < v_current.config_version THEN 'configuration' END;
END $$;
COMMENT ON FUNCTION nebula.agent_due(uuid) IS
  'Internal: what an agent should fetch: certificate (a new one is due because of its age, its content or '
  'its issuer), configuration, or null';

CREATE FUNCTION nebula.call_agent(
  p_gateway nebula.proven_gateway, p_device_id uuid, p_counter bigint, p_host_key bytea, p_said_at timestamptz
) RETURNS TABLE (due text, version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_caller nebula.agent := nebula.accept_call(p_device_id, p_counter, p_host_key, p_said_at, false);
BEGIN
  due := nebula.agent_due(v_caller.device_id);
  version := greatest(v_caller.acknowledged_version, v_caller.refused_version);
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION nebula.call_agent(nebula.proven_gateway, uuid, bigint, bytea, timestamptz) IS
  'For the gateway: A call that only asks: what is due, and the version of the configuration beyond '
  'which something will be. Errors: as accept_call';

-- Fixed plan (sql/README.md).
CREATE FUNCTION nebula.add_answers(p_answers nebula.new_answer[]) RETURNS SETOF bigint
LANGUAGE plpgsql
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_pending_max CONSTANT integer := 16;
  v_device_ids  CONSTANT uuid[] := ARRAY(SELECT n.device_id FROM unnest(p_answers) n);
BEGIN
  UPDATE nebula.agent a
     SET counter = a.counter + 1
   WHERE a.device_id = ANY (v_device_ids);
  -- Reads the version before a later statement reads the configuration, so that an answer may contain a newer
  -- configuration than its version says, but never an older one.
  INSERT INTO nebula.agent_answer (device_id, counter, version, host_key, public_key)
  SELECT a.device_id, a.counter,
         (SELECT p.config_version FROM nebula.project p WHERE p.project_id = a.project_id),
         (p_answers[array_position(v_device_ids, a.device_id)]).host_key,
         (p_answers[array_position(v_device_ids, a.device_id)]).public_key
    FROM nebula.agent a
   WHERE a.device_id = ANY (v_device_ids);
  -- Keeps the acknowledged answer and at most v_pending_max later ones, however often a device asks.
  DELETE FROM nebula.agent_answer s
   WHERE s.device_id = ANY (v_device_ids)
     AND EXISTS (SELECT
                   FROM nebula.agent a
                  WHERE a.device_id = s.device_id
                    AND s.counter > a.acknowledged_counter
                    AND s.counter <= a.counter - v_pending_max
                 OFFSET 0);
  RETURN QUERY
    SELECT a.counter
      FROM nebula.agent a
     WHERE a.device_id = ANY (v_device_ids)
     ORDER BY array_position(v_device_ids, a.device_id);
END $$;
COMMENT ON FUNCTION nebula.add_answers(nebula.new_answer[]) IS
  'Internal: records answers that are about to be sent to different devices, with the keys they are for; '
  'returns their counters in the order given';

-- Fixed plan (sql/README.md).
CREATE FUNCTION nebula.update_agents(p_gateway nebula.proven_gateway, p_calls nebula.agent_call[]) RETURNS SETOF bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_hourly     CONSTANT integer := 10;
  v_device_ids CONSTANT uuid[] := ARRAY(SELECT c.device_id FROM unnest(p_calls) c);
  v_answers    nebula.new_answer[];
BEGIN
  PERFORM nebula.accept_calls(p_calls, true);
  PERFORM nebula.limit_certificates(c.device_id, v_hourly)
    FROM unnest(p_calls) c
   WHERE c.new_public_key IS NOT NULL;
  PERFORM nebula.claim_key(a.project_id, c.new_public_key, c.device_id)
    FROM unnest(p_calls) c
   CROSS JOIN LATERAL (SELECT k.project_id FROM nebula.agent k WHERE k.device_id = c.device_id LIMIT 1) a
   WHERE c.new_public_key IS NOT NULL;
  UPDATE nebula.device d
     SET public_key = (p_calls[array_position(v_device_ids, d.device_id)]).new_public_key
   WHERE d.device_id = ANY (v_device_ids)
     AND (p_calls[array_position(v_device_ids, d.device_id)]).new_public_key IS NOT NULL;
  -- Without a new key, the answer is for the key of the answer that the device runs.
  v_answers := ARRAY(
    SELECT ROW(c.device_id, c.new_host_key,
               coalesce(c.new_public_key,
                        (SELECT s.public_key
                           FROM nebula.agent_answer s
                          WHERE s.device_id = c.device_id
                            AND s.counter = c.counter)))::nebula.new_answer
      FROM unnest(p_calls) WITH ORDINALITY AS c
     ORDER BY c.ordinality
  );
  RETURN QUERY SELECT nebula.add_answers(v_answers);
END $$;
COMMENT ON FUNCTION nebula.update_agents(nebula.proven_gateway, nebula.agent_call[]) IS
  'For the gateway: calls of different devices that fetch configurations, all or none: each brings a new '
  'host key, and one that brings a new nebula key gets a new certificate; returns the counters to send, '
  'in the order given. Errors: as accept_calls, 54000 too many certificates in an hour, 23505 the key of '
  'another device';

-- Every role that may connect can send notifications of channel nebula_agent; the version is looked up here.
CREATE FUNCTION nebula.configuration_versions(
  p_gateway nebula.proven_gateway, p_project_ids uuid[]
) RETURNS TABLE (project_id uuid, version bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN QUERY
    SELECT p.project_id, p.config_version
      FROM nebula.project p
     WHERE p.project_id = ANY (p_project_ids);
END $$;
COMMENT ON FUNCTION nebula.configuration_versions(nebula.proven_gateway, uuid[]) IS
  'For the gateway: versions of the configurations of projects, as agents in a long poll are to run';
