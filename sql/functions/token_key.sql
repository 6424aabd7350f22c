-- Keys of gateways: added and retired by administrators of the database, never by a gateway.

CREATE FUNCTION nebula.add_token_key(public_key bytea) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_public_key CONSTANT bytea := public_key;
  v_key_id     uuid;
  v_retired_at timestamptz;
BEGIN
  IF octet_length(v_public_key) = 32 IS NOT TRUE THEN
    RAISE EXCEPTION 'a public key of Ed25519 has 32 bytes'
      USING ERRCODE = '22023', HINT = 'Give the one that nebula-gateway token-key prints.';
  END IF;
  v_key_id := encode(substr(sha256(v_public_key), 1, 16), 'hex')::uuid;
  INSERT INTO nebula.token_key (key_id, public_key) VALUES (v_key_id, v_public_key)
  ON CONFLICT ON CONSTRAINT token_key_pkey DO NOTHING;
  IF FOUND THEN
    PERFORM nebula.record_event(NULL, session_user::text, 'add', 'token-key', v_key_id::text);
    RETURN v_key_id;
  END IF;
  SELECT k.retired_at INTO v_retired_at FROM nebula.token_key k WHERE k.key_id = v_key_id;
  IF v_retired_at IS NOT NULL THEN
    RAISE EXCEPTION 'the key % was retired at %', v_key_id, v_retired_at
      USING ERRCODE = '55000', HINT = 'Give the gateway a new NEBULA_TOKEN_KEY, and add the key that follows from it.';
  END IF;
  RETURN v_key_id;
END $$;
COMMENT ON FUNCTION nebula.add_token_key(bytea) IS
  'Lets a gateway sign access tokens: its public key, which nebula-gateway token-key prints. Adding it again is no '
  'error. Returns its identifier. Errors: 22023 no such key, 55000 it was retired';

CREATE FUNCTION nebula.retire_token_key(key_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_key_id CONSTANT uuid := key_id;
BEGIN
  UPDATE nebula.token_key k
     SET retired_at = now()
   WHERE k.key_id = v_key_id
     AND k.retired_at IS NULL;
  IF FOUND THEN
    PERFORM nebula.record_event(NULL, session_user::text, 'retire', 'token-key', v_key_id::text);
  ELSIF NOT EXISTS (SELECT FROM nebula.token_key k WHERE k.key_id = v_key_id) THEN
    RAISE EXCEPTION 'there is no token key %', v_key_id
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT key_id FROM nebula.token_key.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.retire_token_key(uuid) IS
  'Refuses from now on what a key has signed: access tokens, and all calls of a gateway that has no other. Retiring it '
  'twice is no error. Errors: P0002 no such key';
