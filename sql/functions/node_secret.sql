-- Secrets of nodes: made, exchanged, retired; and what the gateway decides by them on each call.

CREATE FUNCTION nebula.make_node_secret(node_id uuid, made_by text DEFAULT NULL, client inet DEFAULT NULL)
RETURNS TABLE (key_id uuid, secret bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  known nebula.node := nebula.require_node(make_node_secret.node_id);
  who   text := coalesce(make_node_secret.made_by, session_user::text);
  free  smallint;
  made  nebula.node_secret;
BEGIN
  -- Two who make one at the same time wait for each other here.
  PERFORM FROM nebula.node n WHERE n.node_id = known.node_id FOR NO KEY UPDATE;
  SELECT p.place INTO free FROM (VALUES (1::smallint), (2)) AS p(place)
   WHERE NOT EXISTS (SELECT FROM nebula.node_secret k WHERE k.node_id = known.node_id AND k.place = p.place AND k.retired_at IS NULL)
   ORDER BY 1 LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'node "%" has two secrets already', known.name
      USING ERRCODE = '55000', HINT = 'Retire the older one once the node uses the newer: nebulactl node secret retire.';
  END IF;
  INSERT INTO nebula.node_secret AS k (node_id, place, secret, made_by)
  VALUES (known.node_id, free, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), who)
  RETURNING k.* INTO made;
  PERFORM nebula.record_event(NULL, who, 'make-secret', 'node', known.node_id::text, make_node_secret.client,
    jsonb_build_object('name', known.name, 'key', made.key_id));
  RETURN QUERY SELECT made.key_id, made.secret;
END $$;
COMMENT ON FUNCTION nebula.make_node_secret(uuid, text, inet) IS
  'Makes a secret for a node and answers it, once: the first, or one beside it that is to take its place. From the first on the agent of its '
  'device must sign its calls with one of them. For administrators. Errors: P0002 no such node, 55000 it has two already';

CREATE FUNCTION nebula.retire_node_secret(node_id uuid, key_id uuid DEFAULT NULL, retired_by text DEFAULT NULL, client inet DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  known nebula.node := nebula.require_node(retire_node_secret.node_id);
  ended uuid;
BEGIN
  PERFORM FROM nebula.node n WHERE n.node_id = known.node_id FOR NO KEY UPDATE;
  UPDATE nebula.node_secret k SET retired_at = now(), secret = NULL
   WHERE k.key_id = (
     SELECT o.key_id FROM nebula.node_secret o
      WHERE o.node_id = known.node_id AND o.retired_at IS NULL
        AND CASE WHEN retire_node_secret.key_id IS NOT NULL THEN o.key_id = retire_node_secret.key_id
                 -- The only one goes only when it is named.
                 ELSE EXISTS (SELECT FROM nebula.node_secret y WHERE y.node_id = o.node_id AND y.retired_at IS NULL AND y.key_id <> o.key_id) END
      ORDER BY o.made_at LIMIT 1)
  RETURNING k.key_id INTO ended;
  IF NOT FOUND AND retire_node_secret.key_id IS NULL THEN
    RAISE EXCEPTION 'node "%" has no two secrets of which the older could go', known.name
      USING ERRCODE = '55000', HINT = 'Make the next one first, or name the one that is to go.';
  ELSIF NOT FOUND THEN
    RAISE EXCEPTION 'node "%" has no secret % that is good', known.name, retire_node_secret.key_id
      USING ERRCODE = 'P0002', HINT = 'List them: nebulactl node secret ls, or SELECT key_id FROM nebula.node_secret.';
  END IF;
  PERFORM nebula.record_event(NULL, coalesce(retire_node_secret.retired_by, session_user::text), 'retire-secret', 'node', known.node_id::text,
    retire_node_secret.client, jsonb_build_object('name', known.name, 'key', ended));
  RETURN ended;
END $$;
COMMENT ON FUNCTION nebula.retire_node_secret(uuid, uuid, text, inet) IS
  'Ends a secret of a node, of two the older unless one is named, and forgets it; answers which. With the last of them nobody asks its agent for one '
  'any more. For administrators. Errors: P0002 no such node or secret, 55000 none named and there are no two';

CREATE FUNCTION nebula.list_node_secrets(actor uuid, node_id uuid)
RETURNS TABLE (key_id uuid, made_by text, made_at timestamptz, used_at timestamptz, retired_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM nebula.require_admin(list_node_secrets.actor);
  PERFORM nebula.require_node(list_node_secrets.node_id);
  RETURN QUERY
    SELECT k.key_id, k.made_by, k.made_at, k.used_at, k.retired_at FROM nebula.node_secret k
     WHERE k.node_id = list_node_secrets.node_id ORDER BY k.made_at DESC LIMIT 100;
END $$;
COMMENT ON FUNCTION nebula.list_node_secrets(uuid, uuid) IS
  'Secrets of a node without the secrets, newest first, at most 100. Errors: 42501 not an administrator, P0002 no such node';

CREATE FUNCTION nebula.make_node_secret_for(actor uuid, node_id uuid, client inet DEFAULT NULL) RETURNS TABLE (key_id uuid, secret bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  who text := nebula.require_admin(make_node_secret_for.actor);
BEGIN
  RETURN QUERY SELECT * FROM nebula.make_node_secret(make_node_secret_for.node_id, who, make_node_secret_for.client);
END $$;
COMMENT ON FUNCTION nebula.make_node_secret_for(uuid, uuid, inet) IS
  'make_node_secret for an administrator. Errors: 42501 not an administrator, the rest as make_node_secret';

CREATE FUNCTION nebula.retire_node_secret_for(actor uuid, node_id uuid, key_id uuid, client inet DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who text := nebula.require_admin(retire_node_secret_for.actor);
BEGIN
  RETURN nebula.retire_node_secret(retire_node_secret_for.node_id, retire_node_secret_for.key_id, who, retire_node_secret_for.client);
END $$;
COMMENT ON FUNCTION nebula.retire_node_secret_for(uuid, uuid, uuid, inet) IS
  'retire_node_secret for an administrator. Errors: 42501 not an administrator, the rest as retire_node_secret';

CREATE FUNCTION nebula.node_secrets(node_id uuid) RETURNS TABLE (key_id uuid, secret bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT k.key_id, k.secret FROM nebula.node_secret k WHERE k.node_id = node_secrets.node_id AND k.retired_at IS NULL;
END $$;
COMMENT ON FUNCTION nebula.node_secrets(uuid) IS
  'The secrets that calls of a node may be signed with, for the gateway, which verifies; no rows: its calls need none';

CREATE FUNCTION nebula.accept_node_call(node_id uuid, key_id uuid, nonce text, made_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  tolerance CONSTANT interval := '5 minutes';
  at        CONSTANT timestamptz := clock_timestamp();
  used      nebula.node_secret;
BEGIN
  IF accept_node_call.made_at NOT BETWEEN at - tolerance AND at + tolerance THEN
    RAISE EXCEPTION 'the call was signed for its node at %, now it is %', accept_node_call.made_at, at
      USING ERRCODE = '28000', HINT = 'Set the clock of the device.';
  END IF;
  SELECT k.* INTO used FROM nebula.node_secret k
   WHERE k.key_id = accept_node_call.key_id AND k.node_id = accept_node_call.node_id AND k.retired_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the secret % of the node was retired', accept_node_call.key_id
      USING ERRCODE = '28000', HINT = 'Give the device the newest one: nebulactl node secret keep.';
  END IF;
  DELETE FROM nebula.node_nonce n WHERE n.node_id = used.node_id AND n.good_until < at;
  -- Of two who send the same at the same time the second waits for the first here, and finds it.
  INSERT INTO nebula.node_nonce (node_id, nonce, good_until)
  VALUES (used.node_id, accept_node_call.nonce, accept_node_call.made_at + tolerance) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this call was made before' USING ERRCODE = '28000', HINT = 'Make a new one, with a nonce of its own.';
  END IF;
  IF used.used_at IS NULL OR used.used_at < now() - interval '30 seconds' THEN
    UPDATE nebula.node_secret k SET used_at = now() WHERE k.key_id = used.key_id;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.accept_node_call(uuid, uuid, text, timestamptz) IS
  'Decides on a call whose signature was verified with a secret of the node: neither stale nor made before. Errors: 28000 stale, repeated or retired, '
  '23514 a nonce that is too short or too long';
