-- Shared secrets of nodes: created, exchanged, retired; and the checks of calls signed with them.

CREATE FUNCTION nebula.keep_node_secret(
  p_node_id uuid, p_secret bytea, p_made_by text, p_client inet
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_known nebula.node := nebula.require_node(p_node_id);
  v_who   text := coalesce(p_made_by, session_user::text);
  v_free  smallint;
  v_made  uuid;
BEGIN
  -- Serializes concurrent calls for one node.
  PERFORM
    FROM nebula.node n
   WHERE n.node_id = v_known.node_id
     FOR NO KEY UPDATE;
  SELECT p.place
    INTO v_free
    FROM (VALUES (1::smallint), (2)) AS p(place)
   WHERE NOT EXISTS (SELECT
                       FROM nebula.node_secret k
                      WHERE k.node_id = v_known.node_id
                        AND k.place = p.place
                        AND k.retired_at IS NULL)
   ORDER BY 1
   LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'node "%" has two secrets already', v_known.name
      USING ERRCODE = '55000',
        HINT = 'Retire the older one once the node uses the newer: nebulactl node secret retire.';
  END IF;
  INSERT INTO nebula.node_secret AS k (node_id, place, secret, made_by)
  VALUES (v_known.node_id, v_free, p_secret, v_who)
  RETURNING k.key_id INTO v_made;
  PERFORM nebula.record_event(NULL, v_who, 'make-secret', 'node', v_known.node_id::text, p_client,
    jsonb_build_object('name', v_known.name, 'key', v_made));
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.keep_node_secret(uuid, bytea, text, inet) IS
  'Internal: keeps a secret for a node, sealed or not; returns its identifier. Errors: P0002 no such node, 55000 it '
  'has two already';

CREATE FUNCTION nebula.make_node_secret(
  node_id uuid,
  made_by text DEFAULT NULL,
  client inet DEFAULT NULL
) RETURNS TABLE (key_id uuid, secret bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_secret CONSTANT bytea := nebula.random_key();
BEGIN
  RETURN QUERY SELECT nebula.keep_node_secret(node_id, v_secret, made_by, client), v_secret;
END $$;
COMMENT ON FUNCTION nebula.make_node_secret(uuid, text, inet) IS
  'Creates a secret for a node and returns it, this once: the first, or a second one that is to replace '
  'it. As soon as a node has a secret, the agent of its device must sign its calls with one. A gateway seals it within '
  'ten minutes. For administrators. Errors: P0002 no such node, 55000 it has two already';

CREATE FUNCTION nebula.retire_node_secret(
  node_id uuid,
  key_id uuid DEFAULT NULL,
  retired_by text DEFAULT NULL,
  client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_node_id    CONSTANT uuid := node_id;
  v_key_id     CONSTANT uuid := key_id;
  v_retired_by CONSTANT text := retired_by;
  v_client     CONSTANT inet := client;
  v_known      nebula.node := nebula.require_node(v_node_id);
  v_ended      uuid;
BEGIN
  PERFORM
    FROM nebula.node n
   WHERE n.node_id = v_known.node_id
     FOR NO KEY UPDATE;
  UPDATE nebula.node_secret k
     SET retired_at = now(),
         secret = NULL
   WHERE k.key_id = (
           SELECT o.key_id
             FROM nebula.node_secret o
            WHERE o.node_id = v_known.node_id
              AND o.retired_at IS NULL
              AND CASE
                    WHEN v_key_id IS NOT NULL THEN o.key_id = v_key_id
                    -- The last good secret is retired only when it is named.
                    ELSE EXISTS (SELECT
                                   FROM nebula.node_secret y
                                  WHERE y.node_id = o.node_id
                                    AND y.retired_at IS NULL
                                    AND y.key_id <> o.key_id)
                  END
            ORDER BY o.made_at
            LIMIT 1)
  RETURNING k.key_id INTO v_ended;
  IF NOT FOUND AND v_key_id IS NULL THEN
    RAISE EXCEPTION 'node "%" has fewer than two secrets, so none is the older one', v_known.name
      USING ERRCODE = '55000', HINT = 'Make the next one first, or name the one to retire.';
  ELSIF NOT FOUND THEN
    RAISE EXCEPTION 'node "%" has no valid secret %', v_known.name, v_key_id
      USING ERRCODE = 'P0002',
        HINT = 'List them: nebulactl node secret ls, or SELECT key_id FROM nebula.node_secret.';
  END IF;
  PERFORM nebula.record_event(NULL, coalesce(v_retired_by, session_user::text), 'retire-secret', 'node',
                              v_known.node_id::text, v_client,
                              jsonb_build_object('name', v_known.name, 'key', v_ended));
  RETURN v_ended;
END $$;
COMMENT ON FUNCTION nebula.retire_node_secret(uuid, uuid, text, inet) IS
  'Deletes a secret of a node: the given one, or the older of two; returns which. Without a secret, the '
  'calls of its agent need no second signature. For administrators. Errors: P0002 no such node or secret, '
  '55000 none given and there are no two';

CREATE FUNCTION nebula.list_node_secrets(p_actor nebula.proven_account, p_node_id uuid)
RETURNS TABLE (
  key_id uuid, made_by text, made_at timestamptz, used_at timestamptz, retired_at timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_operator(p_actor, 'node.write');
  PERFORM nebula.require_node(p_node_id);
  RETURN QUERY
    SELECT k.key_id, k.made_by, k.made_at, k.used_at, k.retired_at
      FROM nebula.node_secret k
     WHERE k.node_id = p_node_id
     ORDER BY k.made_at DESC
     LIMIT 100;
END $$;
COMMENT ON FUNCTION nebula.list_node_secrets(nebula.proven_account, uuid) IS
  'For the gateway: secrets of a node without the secrets, newest first, at most 100. Errors: 42501 not '
  'an administrator, P0002 no such node';

CREATE FUNCTION nebula.make_node_secret_for(
  p_actor nebula.proven_account, p_node_id uuid, p_sealed bytea, p_client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who text := nebula.require_operator(p_actor, 'node.write');
BEGIN
  RETURN nebula.keep_node_secret(p_node_id, p_sealed, v_who, p_client);
END $$;
COMMENT ON FUNCTION nebula.make_node_secret_for(nebula.proven_account, uuid, bytea, inet) IS
  'For the gateway: keeps a secret of a node, which the gateway made and sealed, for an administrator. Errors: 42501 '
  'not an administrator, the rest as make_node_secret';

CREATE FUNCTION nebula.unsealed_node_secrets(p_gateway nebula.proven_gateway)
RETURNS TABLE (key_id uuid, node_id uuid, secret bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT k.key_id, k.node_id, k.secret
    FROM nebula.node_secret k
   WHERE octet_length(k.secret) = 32
   ORDER BY k.key_id
   LIMIT 1000
$$;
COMMENT ON FUNCTION nebula.unsealed_node_secrets(nebula.proven_gateway) IS
  'For the gateway: secrets of nodes that are not sealed yet: made in SQL, or by an earlier release';

CREATE FUNCTION nebula.seal_node_secret(
  p_gateway nebula.proven_gateway, p_key_id uuid, p_sealed bytea
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  -- One that another gateway has sealed meanwhile, or that was retired, stays.
  UPDATE nebula.node_secret k
     SET secret = p_sealed
   WHERE k.key_id = p_key_id
     AND octet_length(k.secret) = 32
$$;
COMMENT ON FUNCTION nebula.seal_node_secret(nebula.proven_gateway, uuid, bytea) IS
  'For the gateway: keeps a secret sealed from now on';

CREATE FUNCTION nebula.retire_node_secret_for(
  p_actor nebula.proven_account, p_node_id uuid, p_key_id uuid, p_client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who text := nebula.require_operator(p_actor, 'node.write');
BEGIN
  RETURN nebula.retire_node_secret(p_node_id, p_key_id, v_who, p_client);
END $$;
COMMENT ON FUNCTION nebula.retire_node_secret_for(nebula.proven_account, uuid, uuid, inet) IS
  'For the gateway: retire_node_secret for an administrator. Errors: 42501 not an administrator, the '
  'rest as retire_node_secret';

CREATE FUNCTION nebula.node_secrets(
  p_gateway nebula.proven_gateway, p_node_id uuid
) RETURNS TABLE (key_id uuid, secret bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN QUERY
    SELECT k.key_id, k.secret
      FROM nebula.node_secret k
     WHERE k.node_id = p_node_id
       AND k.retired_at IS NULL;
END $$;
COMMENT ON FUNCTION nebula.node_secrets(nebula.proven_gateway, uuid) IS
  'For the gateway: the secrets that calls of a node may be signed with, for the gateway, which '
  'verifies; no rows: its calls need none';

CREATE FUNCTION nebula.accept_node_call(
  p_gateway nebula.proven_gateway, p_node_id uuid, p_key_id uuid, p_nonce text, p_made_at timestamptz
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_tolerance CONSTANT interval := interval '5 minutes';
  v_at        CONSTANT timestamptz := clock_timestamp();
  v_used      nebula.node_secret;
BEGIN
  IF p_made_at NOT BETWEEN v_at - v_tolerance AND v_at + v_tolerance THEN
    RAISE EXCEPTION 'the call was signed for its node at %, now it is %', p_made_at, v_at
      USING ERRCODE = '28000', HINT = 'Set the clock of the device.';
  END IF;
  SELECT k.*
    INTO v_used
    FROM nebula.node_secret k
   WHERE k.key_id = p_key_id
     AND k.node_id = p_node_id
     AND k.retired_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the secret % of the node was retired', p_key_id
      USING ERRCODE = '28000', HINT = 'Give the device the newest one: nebulactl node secret keep.';
  END IF;
  DELETE FROM nebula.node_nonce n WHERE n.node_id = v_used.node_id AND n.good_until < v_at;
  -- A concurrent call with the same nonce waits here for the first to commit, and then conflicts.
  INSERT INTO nebula.node_nonce (node_id, nonce, good_until)
  VALUES (v_used.node_id, p_nonce, p_made_at + v_tolerance)
  ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this call was made before'
      USING ERRCODE = '28000', HINT = 'Make a new one, with a nonce of its own.';
  END IF;
  IF v_used.used_at IS NULL OR v_used.used_at < now() - interval '30 seconds' THEN
    UPDATE nebula.node_secret k
       SET used_at = now()
     WHERE k.key_id = v_used.key_id;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.accept_node_call(nebula.proven_gateway, uuid, uuid, text, timestamptz) IS
  'For the gateway: decides on a call whose signature was verified with a secret of the node: neither '
  'stale nor made before. Errors: 28000 stale, repeated or retired, 23514 a nonce that is too short or '
  'too long';
