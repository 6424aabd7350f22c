-- Peers as callers write them: read from JSON, checked, and turned into a row.

CREATE FUNCTION nebula.wireguard_key(p_text text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  -- The key of zeros is none: WireGuard takes it for no key.
  IF p_text !~ '^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$' OR p_text ~ '^A+=$' THEN
    RAISE EXCEPTION '"%" is not a public key of WireGuard', left(p_text, 60)
      USING ERRCODE = '22023', HINT = 'Give the 32 bytes in base64, as wg pubkey prints them.';
  END IF;
  RETURN decode(p_text, 'base64');
END $$;
COMMENT ON FUNCTION nebula.wireguard_key(text) IS
  'Internal: the bytes of a public key of WireGuard in base64. Errors: 22023 not one';

CREATE FUNCTION nebula.random_key() RETURNS bytea
LANGUAGE sql VOLATILE AS $$
  SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
$$;
COMMENT ON FUNCTION nebula.random_key() IS 'Internal: 32 random bytes';

CREATE FUNCTION nebula.peer_networks(p_networks inet[]) RETURNS cidr[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_networks = '{}' THEN
    RETURN '{}';
  END IF;
  IF array_ndims(p_networks) > 1 OR array_position(p_networks, NULL) IS NOT NULL THEN
    RAISE EXCEPTION 'networks must be a list of networks without null'
      USING ERRCODE = '22023', HINT = 'For example ARRAY[inet ''10.1.0.0/16''].';
  END IF;
  PERFORM nebula.check_host_bits(n) FROM unnest(p_networks) n;
  RETURN ARRAY(SELECT DISTINCT network(n) FROM unnest(p_networks) n ORDER BY 1);
END $$;
COMMENT ON FUNCTION nebula.peer_networks(inet[]) IS
  'Internal: networks in order, each once. Errors: 22023 not a plain list of networks';

CREATE FUNCTION nebula.peer_expiry(p_expires_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF coalesce(p_expires_at, 'infinity') = 'infinity' THEN
    RETURN NULL;
  END IF;
  PERFORM nebula.check_time('expires_at', p_expires_at);
  RETURN p_expires_at;
END $$;
COMMENT ON FUNCTION nebula.peer_expiry(timestamptz) IS
  'Internal: when a peer expires; null: never, which infinity means, too. Errors: 22023 no time that a person can mean';

CREATE FUNCTION nebula.check_peer(p_peer nebula.peer) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_network cidr;
BEGIN
  IF nebula.is_label(p_peer.name) IS NOT TRUE THEN
    RAISE EXCEPTION '% is not a valid peer name', coalesce(quote_ident(left(p_peer.name, 100)), 'null')
      USING ERRCODE = '22023',
        HINT = 'Start with a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes.';
  END IF;
  IF p_peer.public_key IS NULL THEN
    RAISE EXCEPTION 'public_key must not be null'
      USING ERRCODE = '22023', HINT = 'Give the 32 bytes in base64, as wg pubkey prints them.';
  END IF;
  IF p_peer.reach IS NULL OR p_peer.reach NOT IN ('overlay', 'all', 'listed') THEN
    RAISE EXCEPTION 'there is no reach "%"', left(p_peer.reach, 80)
      USING ERRCODE = '22023', HINT = 'Known are overlay, all and listed.';
  END IF;
  IF (p_peer.reach = 'listed') <> (p_peer.networks <> '{}') THEN
    RAISE EXCEPTION 'reach % does not go with % networks', p_peer.reach, cardinality(p_peer.networks)
      USING ERRCODE = '22023', HINT = 'Give networks with reach listed, and with no other.';
  END IF;
  IF cardinality(p_peer.networks) > 200 THEN
    RAISE EXCEPTION '% networks are more than a peer can have', cardinality(p_peer.networks)
      USING ERRCODE = '22023', HINT = 'Join neighbouring networks into wider ones: at most 200.';
  END IF;
  FOREACH v_network IN ARRAY p_peer.networks LOOP
    PERFORM nebula.check_network(v_network);
  END LOOP;
  IF p_peer.groups <> '{}' THEN
    PERFORM nebula.check_groups(p_peer.groups);
  END IF;
  IF octet_length(p_peer.created_by) > 200 THEN
    PERFORM nebula.check_text('created_by', p_peer.created_by, 'actor');
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_peer(nebula.peer) IS 'Internal: refuses a malformed peer. Errors: 22023';

-- Ranges that no two sites share a meaning of: behind a node they are its own network.
CREATE FUNCTION nebula.is_private(p_network inet) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT EXISTS (SELECT
                   FROM (VALUES (inet '10.0.0.0/8'), ('100.64.0.0/10'), ('172.16.0.0/12'), ('192.168.0.0/16'),
                                ('fc00::/7')) AS r(network)
                  WHERE r.network && p_network)
$$;
COMMENT ON FUNCTION nebula.is_private(inet) IS 'Internal: whether a network has private addresses';

CREATE FUNCTION nebula.check_reach(p_peer nebula.peer, p_actor uuid) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_acting  record;
  v_overlay cidr[];
  v_outside cidr[];
  v_private cidr;
BEGIN
  IF p_actor IS NULL OR p_peer.reach = 'overlay' THEN
    RETURN;
  END IF;
  v_acting := nebula.acting_member(p_actor, p_peer.project_id, 'peer.write');
  IF v_acting.is_admin THEN
    RETURN;
  END IF;
  v_overlay := nebula.overlay_networks(p_peer.project_id);
  v_outside := ARRAY(SELECT n
                       FROM unnest(p_peer.networks) n
                      WHERE NOT EXISTS (SELECT FROM unnest(v_overlay) o WHERE n <<= o));
  IF p_peer.reach = 'listed' AND v_outside = '{}' THEN
    RETURN;
  END IF;
  IF (SELECT p.member_reach FROM nebula.project p WHERE p.project_id = p_peer.project_id) = 'overlay' THEN
    RAISE EXCEPTION 'account "%" may give a peer the overlay only, not %',
        v_acting.username, coalesce(v_outside[1]::text, 'reach all')
      USING ERRCODE = '42501',
        HINT = 'Use reach overlay, or ask an administrator, who can also allow it: nebulactl project options '
               'memberReach=internet.';
  END IF;
  v_private := (SELECT n FROM unnest(v_outside) n WHERE nebula.is_private(n) LIMIT 1);
  IF v_private IS NOT NULL THEN
    RAISE EXCEPTION 'account "%" may not give a peer %, a private network behind its node',
        v_acting.username, v_private
      USING ERRCODE = '42501', HINT = 'Ask an administrator.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_reach(nebula.peer, uuid) IS
  'Internal: refuses what an account may not let a peer reach: outside the overlay only where the project lets members '
  'do so (member_reach), and private networks behind nodes for administrators alone. Null: no account. Errors: 42501';

-- An administrator may lift what another one has set; the account that the peer belongs to only what it set itself.
CREATE FUNCTION nebula.is_administrator(p_actor uuid, p_project_id uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT p_actor IS NULL
         OR coalesce(nebula.role_rank(nebula.role_in(p_actor, p_project_id)) >= nebula.role_rank('admin'), false)
            AND nebula.token_allows(p_actor, 'peer.admin')
$$;
COMMENT ON FUNCTION nebula.is_administrator(uuid, uuid) IS
  'Internal: whether the account is an administrator of the project; null: a user of SQL, who is one';

CREATE FUNCTION nebula.check_admin_block(p_peer nebula.peer, p_actor uuid) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF nebula.is_administrator(p_actor, p_peer.project_id) THEN
    RETURN;
  ELSIF p_peer.disabled_by_admin THEN
    RAISE EXCEPTION 'an administrator disabled peer "%"', p_peer.name
      USING ERRCODE = '42501', HINT = 'Ask an administrator to enable it.';
  ELSIF p_peer.admin_expires_at <= clock_timestamp() THEN
    RAISE EXCEPTION 'peer "%" has expired at the end that an administrator set', p_peer.name
      USING ERRCODE = '42501', HINT = 'Ask an administrator for a later end.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_admin_block(nebula.peer, uuid) IS
  'Internal: refuses to enable or remove what an administrator disabled, or gave an end that has passed, for an '
  'account that is none. Errors: 42501';

CREATE FUNCTION nebula.check_admin_expiry(p_peer nebula.peer, p_expires_at timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF p_peer.admin_expires_at < coalesce(p_expires_at, 'infinity') THEN
    RAISE EXCEPTION 'an administrator set the end of peer "%"', p_peer.name
      USING ERRCODE = '42501', HINT = 'Choose an earlier end, or ask an administrator for a later one.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_admin_expiry(nebula.peer, timestamptz) IS
  'Internal: refuses an end later than the one that an administrator set. Errors: 42501';

CREATE FUNCTION nebula.read_peer(p_project_id uuid, p_item jsonb, p_by text, p_actor uuid DEFAULT NULL)
RETURNS nebula.peer
LANGUAGE plpgsql AS $$
DECLARE
  v_peer nebula.peer;
BEGIN
  PERFORM nebula.check_fields('a peer', p_item, ARRAY['peerId', 'name', 'publicKey', 'preshared', 'presharedKey',
                                                      'address', 'reach', 'networks', 'groups', 'expiresAt',
                                                      'disabled']);
  v_peer.peer_id := coalesce(nebula.json_uuid(p_item, 'peerId'), gen_random_uuid());
  v_peer.project_id := p_project_id;
  v_peer.name := coalesce(nebula.json_text(p_item, 'name'), 'peer-' || left(v_peer.peer_id::text, 8));
  v_peer.public_key := nebula.wireguard_key(nebula.json_text(p_item, 'publicKey'));
  v_peer.preshared_key := coalesce(nebula.wireguard_key(nebula.json_text(p_item, 'presharedKey')),
                                   CASE WHEN nebula.json_boolean(p_item, 'preshared') THEN nebula.random_key() END);
  v_peer.reach := coalesce(nebula.json_text(p_item, 'reach'), 'overlay');
  v_peer.networks := nebula.peer_networks(ARRAY(SELECT nebula.read_inet('networks', n)
                                                  FROM unnest(nebula.json_texts(p_item, 'networks')) n));
  v_peer.groups := nebula.json_texts(p_item, 'groups');
  v_peer.expires_at := nebula.peer_expiry(nebula.json_time(p_item, 'expiresAt'));
  v_peer.admin_expires_at := CASE WHEN nebula.is_administrator(p_actor, p_project_id) THEN v_peer.expires_at END;
  v_peer.disabled_at := CASE WHEN nebula.json_boolean(p_item, 'disabled') THEN now() END;
  v_peer.disabled_by_admin := v_peer.disabled_at IS NOT NULL AND nebula.is_administrator(p_actor, p_project_id);
  v_peer.creator_id := p_actor;
  v_peer.made_by_sql := p_actor IS NULL;
  v_peer.created_by := p_by;
  v_peer.created_at := now();
  v_peer.received_bytes := 0;
  v_peer.sent_bytes := 0;
  PERFORM nebula.check_peer(v_peer);
  PERFORM nebula.check_reach(v_peer, p_actor);
  RETURN v_peer;
END $$;
COMMENT ON FUNCTION nebula.read_peer(uuid, jsonb, text, uuid) IS
  'Internal: a new peer as the API writes it, of the account if one is given. Errors: 22023 malformed, 42501 the '
  'account may not give it this reach';

CREATE FUNCTION nebula.changed_peer(p_peer nebula.peer, p_changes jsonb, p_actor uuid DEFAULT NULL)
RETURNS nebula.peer
LANGUAGE plpgsql AS $$
DECLARE
  v_peer     nebula.peer := p_peer;
  v_disables boolean;
BEGIN
  PERFORM nebula.check_fields('a peer', p_changes, ARRAY['name', 'publicKey', 'preshared', 'reach', 'networks',
                                                         'groups', 'expiresAt', 'disabled']);
  v_peer.name := coalesce(nebula.json_text(p_changes, 'name'), v_peer.name);
  v_peer.public_key := coalesce(nebula.wireguard_key(nebula.json_text(p_changes, 'publicKey')), v_peer.public_key);
  IF p_changes ? 'preshared' THEN
    v_peer.preshared_key := CASE WHEN nebula.json_boolean(p_changes, 'preshared') THEN nebula.random_key() END;
  END IF;
  v_peer.reach := coalesce(nebula.json_text(p_changes, 'reach'), v_peer.reach);
  IF p_changes ? 'networks' THEN
    v_peer.networks := nebula.peer_networks(ARRAY(SELECT nebula.read_inet('networks', n)
                                                    FROM unnest(nebula.json_texts(p_changes, 'networks')) n));
  ELSIF v_peer.reach <> 'listed' THEN
    v_peer.networks := '{}';
  END IF;
  IF p_changes ? 'groups' THEN
    v_peer.groups := nebula.json_texts(p_changes, 'groups');
  END IF;
  IF p_changes ? 'expiresAt' THEN
    v_peer.expires_at := nebula.peer_expiry(nebula.json_time(p_changes, 'expiresAt'));
    IF nebula.is_administrator(p_actor, v_peer.project_id) THEN
      v_peer.admin_expires_at := v_peer.expires_at;
    ELSE
      PERFORM nebula.check_admin_expiry(p_peer, v_peer.expires_at);
    END IF;
  END IF;
  IF p_changes ? 'disabled' THEN
    v_disables := coalesce(nebula.json_boolean(p_changes, 'disabled'), false);
    IF NOT v_disables THEN
      PERFORM nebula.check_admin_block(p_peer, p_actor);
    END IF;
    v_peer.disabled_at := CASE WHEN v_disables THEN coalesce(v_peer.disabled_at, now()) END;
    v_peer.disabled_by_admin := v_disables
                                AND (p_peer.disabled_by_admin OR nebula.is_administrator(p_actor, v_peer.project_id));
    IF v_peer.disabled_at IS NULL AND v_peer.expires_at <= clock_timestamp() THEN
      RAISE EXCEPTION 'peer "%" has expired', v_peer.name
        USING ERRCODE = '55000', HINT = 'Give it a later end, or none, at the same time.';
    END IF;
  END IF;
  PERFORM nebula.check_peer(v_peer);
  RETURN v_peer;
END $$;
COMMENT ON FUNCTION nebula.changed_peer(nebula.peer, jsonb, uuid) IS
  'Internal: a peer with changes as the API writes them, by the account if one is given; expiresAt null: never. '
  'Errors: 22023 malformed, 42501 enabled though an administrator disabled it, or an end later than an administrator '
  'set, 55000 enabled after it has expired';
