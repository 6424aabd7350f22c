-- Values of nodes and their interfaces, checked before they are written.

CREATE FUNCTION nebula.check_node_name(p_name text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF nebula.is_name(p_name) IS NOT TRUE THEN
    RAISE EXCEPTION '"%" is not a valid node name', left(p_name, 100)
      USING ERRCODE = '22023',
        HINT = 'Start with a letter or digit, then up to 62 letters, digits, dots, underscores or dashes.';
  ELSIF p_name ~* '^local-[0-9a-f-]{36}$' THEN
    RAISE EXCEPTION 'the name "%" is kept for this server as the node of a project', p_name
      USING ERRCODE = '22023', HINT = 'Choose another name.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_node_name(text) IS
  'Internal: refuses what is no name of a node, and the names of local nodes. Errors: 22023';

-- Endpoints of nodes are written into the .conf of peers. One that the node has already is not checked again.
CREATE FUNCTION nebula.check_peer_endpoint(p_endpoint text, p_former text, p_node text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_endpoint IS NOT NULL
     AND p_endpoint IS DISTINCT FROM p_former
     AND nebula.endpoint_fault(p_endpoint) IS NOT NULL
  THEN
    RAISE EXCEPTION 'endpoint "%" of node "%" %', left(p_endpoint, 80), left(p_node, 63),
        nebula.endpoint_fault(p_endpoint)
      USING ERRCODE = '22023',
        HINT = 'Name host:port where peers reach the node, for example node.example.org:51820 or [2001:db8::1]:51820.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_peer_endpoint(text, text, text) IS
  'Internal: refuses an endpoint of a node that no peer can use. Errors: 22023';

CREATE FUNCTION nebula.check_words(p_words text[], p_kind text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_wrong text;
BEGIN
  IF array_ndims(p_words) > 1 OR cardinality(p_words) > 64 THEN
    RAISE EXCEPTION 'a node cannot have % words of kind %', cardinality(p_words), p_kind
      USING ERRCODE = '22023', HINT = 'Give a list of at most 64.';
  END IF;
  SELECT coalesce(left(w, 100), 'null')
    INTO v_wrong
    FROM unnest(p_words) w
   WHERE w IS NULL OR NOT nebula.is_label(w)
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '"%" is not a valid %', v_wrong, p_kind
      USING ERRCODE = '22023',
        HINT = 'Start with a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_words(text[], text) IS
  'Internal: refuses capabilities and labels with other characters than names have, and more than 64. Errors: 22023';

CREATE FUNCTION nebula.check_node_limits(p_weight bigint, p_max_peers bigint, p_soft_max_peers bigint) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_weight NOT BETWEEN 1 AND 10000 THEN
    RAISE EXCEPTION 'weight % is out of range', p_weight
      USING ERRCODE = '22023', HINT = 'Give a number from 1 to 10000.';
  ELSIF p_max_peers NOT BETWEEN 1 AND 1000000 THEN
    RAISE EXCEPTION 'max_peers % is out of range', p_max_peers
      USING ERRCODE = '22023', HINT = 'Give a number from 1 to 1000000.';
  ELSIF p_soft_max_peers < 1 THEN
    RAISE EXCEPTION 'soft_max_peers % is out of range', p_soft_max_peers
      USING ERRCODE = '22023', HINT = 'Give a number from 1 to max_peers, or 0 for none.';
  ELSIF p_soft_max_peers > p_max_peers THEN
    RAISE EXCEPTION 'soft_max_peers % is more than max_peers %', p_soft_max_peers, p_max_peers
      USING ERRCODE = '22023',
        HINT = 'The soft limit is reached first; 0 removes it: update_node(..., soft_max_peers => 0).';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_node_limits(bigint, bigint, bigint) IS
  'Internal: refuses a weight or limits of peers that a node cannot have. Errors: 22023';

CREATE FUNCTION nebula.check_node_range(p_cidr inet, p_former cidr, p_project_id uuid) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_conflict text;
BEGIN
  IF p_cidr IS NULL OR p_cidr = p_former THEN
    RETURN;
  END IF;
  PERFORM nebula.check_host_bits(p_cidr);
  IF masklen(p_cidr) > (CASE family(p_cidr) WHEN 4 THEN 30 ELSE 126 END) THEN
    RAISE EXCEPTION '% has no room for the interface and a peer', p_cidr
      USING ERRCODE = '22023', HINT = 'Give a wider network, for example a /24 or a /64.';
  END IF;
  PERFORM nebula.check_network(p_cidr);
  -- A node without project can host peers of any: its range has to be possible in one of them.
  v_conflict := CASE
                  WHEN p_project_id IS NOT NULL
                  THEN (SELECT format('the overlay %s of project "%s"', p.cidr, p.name)
                          FROM nebula.project p
                         WHERE p.project_id = p_project_id
                           AND p.cidr && p_cidr)
                  ELSE (SELECT format('the overlay of every project, for example %s of "%s"', max(p.cidr::text),
                                      max(p.name))
                          FROM nebula.project p
                        HAVING bool_and(p.cidr && p_cidr IS TRUE))
                END;
  IF v_conflict IS NOT NULL THEN
    RAISE EXCEPTION 'the range % overlaps %', p_cidr, v_conflict
      USING ERRCODE = '22023', HINT = 'Peers have networks of their own, outside the overlay and all that it reaches.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_node_range(inet, cidr, uuid) IS
  'Internal: refuses a range that cannot be that of the peers of a node; the one it has is not checked again. '
  'Errors: 22023';

CREATE FUNCTION nebula.check_node_changes(p_node nebula.node, p_changes jsonb) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_fields CONSTANT text[] := ARRAY['name', 'endpoint', 'weight', 'maxPeers', 'softMaxPeers', 'capabilities', 'labels',
                                    'repair', 'desiredState'];
  v_wrong  text;
  v_state  text;
BEGIN
  PERFORM nebula.check_fields('a node', p_changes, v_fields);
  -- Only softMaxPeers can be without a value.
  SELECT c.key
    INTO v_wrong
    FROM jsonb_each(p_changes) c
   WHERE c.value = 'null'
     AND c.key <> 'softMaxPeers'
   LIMIT 1;
  IF FOUND THEN
    PERFORM nebula.refuse_field(v_wrong, 'null', 'Leave it out to keep what the node has.');
  END IF;
  IF p_node.local THEN
    SELECT k
      INTO v_wrong
      FROM jsonb_object_keys(p_changes) k
     WHERE k IN ('name', 'weight', 'maxPeers', 'softMaxPeers')
     LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'node "%" is this server itself, which has no % to change', p_node.name, v_wrong
        USING ERRCODE = '55000', HINT = 'It has no limit, and is chosen by the strategy local alone.';
    END IF;
  END IF;
  PERFORM nebula.check_node_name(nebula.json_text(p_changes, 'name')) WHERE p_changes ? 'name';
  PERFORM nebula.check_peer_endpoint(nebula.json_text(p_changes, 'endpoint'), p_node.endpoint, p_node.name);
  PERFORM nebula.check_node_limits(
            nebula.json_integer(p_changes, 'weight', -2147483648, 2147483647),
            coalesce(nebula.json_integer(p_changes, 'maxPeers', -2147483648, 2147483647), p_node.max_peers),
            CASE
              WHEN p_changes ? 'softMaxPeers'
              THEN nullif(nebula.json_integer(p_changes, 'softMaxPeers', -2147483648, 2147483647), 0)
              ELSE p_node.soft_max_peers
            END);
  PERFORM nebula.check_words(nebula.json_texts(p_changes, 'capabilities'), 'capability');
  PERFORM nebula.json_boolean(p_changes, 'repair');
  v_state := nebula.json_text(p_changes, 'desiredState');
  IF v_state NOT IN ('active', 'draining', 'disabled') THEN
    PERFORM nebula.refuse_field('desiredState', p_changes -> 'desiredState', 'Give active, draining or disabled.');
  END IF;
  IF jsonb_typeof(p_changes -> 'labels') <> 'object'
     OR jsonb_path_exists(p_changes, '$.labels.* ? (@.type() != "string")')
  THEN
    RAISE EXCEPTION 'the labels of node "%" are not texts', p_node.name
      USING ERRCODE = '22023', HINT = 'For example {"region": "eu"}.';
  END IF;
  PERFORM nebula.check_words(array_agg(l.key), 'label'), nebula.check_words(array_agg(DISTINCT l.value), 'label')
     FROM jsonb_each_text(p_changes -> 'labels') l;
END $$;
COMMENT ON FUNCTION nebula.check_node_changes(nebula.node, jsonb) IS
  'Internal: refuses changes of a node, as the API writes them, that it cannot have. Errors: 22023, 55000 this server '
  'itself has no such value';

CREATE FUNCTION nebula.check_interface(p_node nebula.node, p_interface jsonb) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_name text;
BEGIN
  PERFORM nebula.check_fields('an interface', p_interface, ARRAY['name', 'listenPort', 'endpoint', 'mtu', 'dns',
                                                                 'keepalive', 'cidr']);
  v_name := nebula.json_text(p_interface, 'name');
  IF (v_name ~ '^[a-z0-9][a-z0-9-]{0,14}$') IS NOT TRUE THEN
    RAISE EXCEPTION '% is not a valid name of an interface', coalesce(quote_ident(left(v_name, 80)), 'null')
      USING ERRCODE = '22023', HINT = 'Give up to 15 small letters, digits and dashes, for example wg1.';
  END IF;
  IF v_name IN ('lo', 'all', 'default') THEN
    RAISE EXCEPTION 'an interface cannot be named "%"', v_name
      USING ERRCODE = '22023', HINT = 'Linux uses the word itself; wg1 would do.';
  END IF;
  PERFORM nebula.json_integer(p_interface, 'listenPort', 1, 65535), nebula.json_integer(p_interface, 'mtu', 1280, 9000),
          nebula.json_integer(p_interface, 'keepalive', 0, 65535);
  PERFORM nebula.check_peer_endpoint(nebula.json_text(p_interface, 'endpoint'), i.endpoint, p_node.name)
     FROM (SELECT 1) one
     LEFT JOIN nebula.node_interface i ON i.node_id = p_node.node_id AND i.name = v_name;
  PERFORM nebula.read_inet('cidr', nebula.json_text(p_interface, 'cidr'));
  IF jsonb_array_length(nebula.json_list(p_interface, 'dns', 'string')) > 8 THEN
    RAISE EXCEPTION 'an interface cannot hand out % resolvers', jsonb_array_length(p_interface -> 'dns')
      USING ERRCODE = '22023', HINT = 'Give at most 8 addresses.';
  END IF;
  PERFORM nebula.check_address(nebula.read_inet('dns', d)) FROM unnest(nebula.json_texts(p_interface, 'dns')) d;
END $$;
COMMENT ON FUNCTION nebula.check_interface(nebula.node, jsonb) IS
  'Internal: refuses an interface of a node, as the API writes it, that cannot be. Errors: 22023';

CREATE FUNCTION nebula.node_state_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = nebula, pg_temp AS $$
BEGIN
  -- Releases before 0.3.0 had enabled alone: an UPDATE by hand, or a dump of theirs, that writes it means the state.
  IF (CASE TG_OP WHEN 'UPDATE' THEN OLD.desired_state ELSE 'active' END) = NEW.desired_state
     AND (CASE TG_OP WHEN 'UPDATE' THEN OLD.enabled ELSE true END) <> NEW.enabled
  THEN
    NEW.desired_state := CASE WHEN NEW.enabled THEN 'active' ELSE 'disabled' END;
  END IF;
  NEW.enabled := NEW.desired_state = 'active';
  RETURN NEW;
END $$;
COMMENT ON FUNCTION nebula.node_state_changed() IS
  'Trigger: a node is enabled if its desired state is active; writing enabled alone sets the state';

CREATE TRIGGER node_state_changed BEFORE INSERT OR UPDATE OF enabled, desired_state ON nebula.node
  FOR EACH ROW EXECUTE FUNCTION nebula.node_state_changed();
