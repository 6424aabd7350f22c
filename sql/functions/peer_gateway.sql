-- Peers for the gateway, which acts for accounts: members create peers and see all of their projects; what exists is
-- changed by the account that created it and by administrators; groups, which firewall rules trust, by administrators.
-- A peer belongs to the identifier of an account: its name can be that of a database role, or be taken again.

CREATE FUNCTION nebula.acting_on_peer(p_actor uuid, p_peer_id uuid, p_groups boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_peer   nebula.peer;
  v_acting record;
BEGIN
  IF p_actor IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT e.*
    INTO v_peer
    FROM nebula.peer e
   WHERE e.peer_id = p_peer_id
     -- A peer of a project that the account does not see does not exist for it.
     AND e.project_id IN (SELECT nebula.visible_projects(p_actor));
  IF NOT FOUND THEN
    PERFORM nebula.require_account(p_actor);
    RAISE EXCEPTION 'there is no peer %', coalesce(p_peer_id::text, 'null')
      USING ERRCODE = 'P0002', HINT = 'List peers: nebulactl peer ls.';
  END IF;
  v_acting := nebula.acting_member(p_actor, v_peer.project_id, 'peer.write');
  IF NOT v_acting.is_admin AND (v_peer.creator_id IS DISTINCT FROM p_actor OR p_groups) THEN
    RAISE EXCEPTION 'account "%" may not change % of peer "%"',
        v_acting.username, CASE WHEN p_groups THEN 'the groups' ELSE 'anything' END, v_peer.name
      USING ERRCODE = '42501', HINT = 'Ask an administrator, or the account that created it.';
  END IF;
  RETURN v_acting.username;
END $$;
COMMENT ON FUNCTION nebula.acting_on_peer(uuid, uuid, boolean) IS
  'Internal: username of the account if it may change a peer: it created it, or is an administrator, who alone may '
  'change groups; null: for no account. Errors: P0002 no such peer in sight, 42501 not allowed';

CREATE FUNCTION nebula.show_peer(p_status nebula.peer_status) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN jsonb_build_object(
           'peerId', p_status.peer_id, 'projectId', p_status.project_id, 'name', p_status.name,
           'fileName', p_status.file_name, 'publicKey', p_status.public_key, 'addresses', p_status.addresses,
           'nodeId', p_status.node_id, 'node', p_status.node, 'movingTo', p_status.moving_to, 'reach', p_status.reach,
           'networks', p_status.networks, 'groups', p_status.groups, 'preshared', p_status.preshared,
           'state', p_status.state, 'reason', p_status.reason, 'disabled', p_status.disabled_at IS NOT NULL,
           'expiresAt', p_status.expires_at, 'configOutdated', p_status.config_outdated,
           'handshakeAt', p_status.handshake_at, 'endpoint', p_status.endpoint,
           'receivedBytes', p_status.received_bytes, 'sentBytes', p_status.sent_bytes,
           'createdBy', p_status.created_by, 'createdAt', p_status.created_at
         );
END $$;
COMMENT ON FUNCTION nebula.show_peer(nebula.peer_status) IS 'Internal: a peer as the API writes it';

-- Volatile, so that it sees the peers that the calling statement has made.
CREATE FUNCTION nebula.show_result(p_result nebula.batch_result) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
  IF p_result.sqlstate IS NOT NULL THEN
    RETURN jsonb_build_object('item', p_result.n, 'error', jsonb_strip_nulls(jsonb_build_object(
             'sqlstate', p_result.sqlstate, 'detail', p_result.detail, 'hint', nullif(p_result.hint, ''))));
  END IF;
  RETURN jsonb_strip_nulls(jsonb_build_object('item', p_result.n, 'made', p_result.made)) || coalesce(
           (SELECT jsonb_build_object('peer', nebula.show_peer(s))
              FROM nebula.peer_status s
             WHERE s.peer_id = p_result.peer_id), '{}');
END $$;
COMMENT ON FUNCTION nebula.show_result(nebula.batch_result) IS
  'Internal: the result of an item of a batch, as the API writes it';

-- The page is chosen before anything is read that only shown peers need.
CREATE FUNCTION nebula.list_peers(
  p_actor nebula.proven_account, p_project_id uuid DEFAULT NULL, p_after uuid DEFAULT NULL, p_max integer DEFAULT NULL
) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
DECLARE
  v_after nebula.peer;
BEGIN
  PERFORM nebula.require_account(p_actor);
  IF p_max NOT BETWEEN 1 AND 1000 THEN
    RAISE EXCEPTION 'max is %, not 1 to 1000', p_max
      USING ERRCODE = '22023', HINT = 'Ask for at most 1000 peers at a time, and page with after.';
  END IF;
  IF p_after IS NOT NULL THEN
    SELECT e.*
      INTO v_after
      FROM nebula.peer e
     WHERE e.peer_id = p_after
       AND e.project_id IN (SELECT nebula.visible_projects(p_actor));
    IF NOT FOUND THEN
      RAISE EXCEPTION 'there is no peer %, which the page would begin after', p_after
        USING ERRCODE = 'P0002', HINT = 'It was removed meanwhile: begin the list again, without after.';
    END IF;
  END IF;
  RETURN QUERY
    SELECT nebula.show_peer(s::nebula.peer_status)
      FROM (SELECT e.peer_id, e.project_id, e.name
              FROM nebula.peer e
             WHERE e.project_id IN (SELECT nebula.visible_projects(p_actor))
               AND (p_project_id IS NULL OR e.project_id = p_project_id)
               AND (p_after IS NULL
                    OR (e.project_id, e.name, e.peer_id) > (v_after.project_id, v_after.name, v_after.peer_id))
             ORDER BY e.project_id, e.name, e.peer_id
             LIMIT p_max) w
     -- OFFSET: a join would compute the status of all peers for a page of a hundred.
     CROSS JOIN LATERAL (SELECT c.* FROM nebula.peer_status c WHERE c.peer_id = w.peer_id OFFSET 0) s
     ORDER BY w.project_id, w.name, w.peer_id;
END $$;
COMMENT ON FUNCTION nebula.list_peers(nebula.proven_account, uuid, uuid, integer) IS
  'For the gateway: peers of the projects the account sees, by name, as the API writes them; at most max of them, '
  'those after this one. Errors: 28000 no such account, P0002 no peer to begin after, 22023 max';

CREATE FUNCTION nebula.create_peers_for(
  p_actor nebula.proven_account, p_project_id uuid, p_peers jsonb, p_strategy text, p_deadline timestamptz,
  p_client inet DEFAULT NULL
) RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
DECLARE
  v_acting record := nebula.acting_member(p_actor, p_project_id, 'peer.write');
  v_items  jsonb[] := ARRAY(SELECT jsonb_array_elements(
                                     nebula.json_list(jsonb_build_object('peers', p_peers), 'peers', 'object')));
BEGIN
  IF NOT v_acting.is_admin AND EXISTS (SELECT
                                         FROM unnest(v_items) i
                                        WHERE i -> 'groups' NOT IN ('[]', 'null'))
  THEN
    RAISE EXCEPTION 'only an administrator may give a peer groups'
      USING ERRCODE = '42501', HINT = 'Create it without groups, or ask an administrator.';
  END IF;
  RETURN QUERY
    SELECT nebula.show_result(r)
      FROM nebula.create_peers_by(p_project_id, v_items, coalesce(p_strategy, 'auto'), p_deadline, v_acting.username,
                                  p_client, p_actor) r;
END $$;
COMMENT ON FUNCTION nebula.create_peers_for(nebula.proven_account, uuid, jsonb, text, timestamptz, inet) IS
  'For the gateway: create_peers for a member, with peers and results as the API writes them. deadline: those '
  'that their nodes have not applied by then are withdrawn; null: never. Errors: 42501 not a member, or groups '
  'by one who is no administrator, the rest as create_peers';

CREATE FUNCTION nebula.update_peer_for(
  p_actor nebula.proven_account, p_peer_id uuid, p_changes jsonb, p_client inet DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who text := nebula.acting_on_peer(p_actor, p_peer_id, p_changes ? 'groups');
BEGIN
  IF p_changes ?| '{reach,networks}' THEN
    PERFORM nebula.check_reach(nebula.changed_peer(nebula.require_peer(p_peer_id), p_changes, p_actor), p_actor);
  END IF;
  PERFORM nebula.update_peer_by(p_peer_id, p_changes, v_who, p_client, p_actor);
  RETURN (SELECT nebula.show_peer(s) FROM nebula.peer_status s WHERE s.peer_id = p_peer_id);
END $$;
COMMENT ON FUNCTION nebula.update_peer_for(nebula.proven_account, uuid, jsonb, inet) IS
  'For the gateway: update_peer for the account that created it, or an administrator, with changes as the API writes '
  'them (expiresAt null: never); answers the peer. Errors: P0002, 42501 not allowed, or a reach that the account may '
  'not give it, or enabled though an administrator disabled it, or an end later than an administrator set, the rest as '
  'update_peer';

CREATE FUNCTION nebula.move_peers_for(
  p_actor nebula.proven_account, p_peer_ids uuid[], p_strategy text, p_deadline timestamptz, p_client inet DEFAULT NULL
) RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
BEGIN
  PERFORM nebula.require_account(p_actor);
  RETURN QUERY
    SELECT nebula.show_result(r)
      FROM nebula.move_peers_by(p_peer_ids, coalesce(p_strategy, 'auto'), p_deadline, NULL, p_client, p_actor) r;
END $$;
COMMENT ON FUNCTION nebula.move_peers_for(nebula.proven_account, uuid[], text, timestamptz, inet) IS
  'For the gateway: move_peers for the account that created them, or an administrator, with results as the API writes '
  'them. Errors of an item: P0002 no such peer, 42501 not allowed, the rest as move_peer; of the whole call: 28000 no '
  'such account, 22023 too many';

CREATE FUNCTION nebula.remove_peers_for(p_actor nebula.proven_account, p_peer_ids uuid[], p_client inet DEFAULT NULL)
RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
DECLARE
  v_results nebula.batch_result[] := '{}';
  v_result  nebula.batch_result;
  v_ended   uuid[] := '{}';
  v_by      text;
BEGIN
  PERFORM nebula.require_account(p_actor);
  PERFORM nebula.check_batch(cardinality(p_peer_ids));
  FOR v_item IN 1 .. coalesce(cardinality(p_peer_ids), 0) LOOP
    v_result := ROW(v_item - 1, p_peer_ids[v_item], NULL, NULL, NULL, NULL, NULL, NULL)::nebula.batch_result;
    BEGIN
      v_by := nebula.acting_on_peer(p_actor, p_peer_ids[v_item]);
      PERFORM nebula.check_admin_block(e, p_actor) FROM nebula.peer e WHERE e.peer_id = p_peer_ids[v_item];
      v_ended := v_ended || p_peer_ids[v_item];
    EXCEPTION
      WHEN no_data_found OR insufficient_privilege THEN
        GET STACKED DIAGNOSTICS
          v_result.sqlstate = RETURNED_SQLSTATE, v_result.detail = MESSAGE_TEXT, v_result.hint = PG_EXCEPTION_HINT;
    END;
    v_results := v_results || v_result;
  END LOOP;
  PERFORM nebula.lock_for_change(v_ended);
  -- Again: an administrator may have disabled or ended one before it was locked.
  PERFORM nebula.check_admin_block(e, p_actor) FROM nebula.peer e WHERE e.peer_id = ANY (v_ended);
  PERFORM nebula.mark_removed(v_ended, v_by, p_client, '{}') WHERE v_ended <> '{}';
  RETURN QUERY SELECT nebula.show_result(r) FROM unnest(v_results) r;
END $$;
COMMENT ON FUNCTION nebula.remove_peers_for(nebula.proven_account, uuid[], inet) IS
  'For the gateway: removes peers for the account that created them, or an administrator, with results as the API '
  'writes them; again is no error while they are being removed. Errors of an item: P0002 no such peer, 42501 not '
  'allowed, or disabled or ended by an administrator; of the whole call: 28000 no such account, 22023 too many';

CREATE FUNCTION nebula.cancel_move_for(
  p_actor nebula.proven_account, p_peer_id uuid, p_client inet DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.cancel_move(p_peer_id, nebula.acting_on_peer(p_actor, p_peer_id));
  RETURN (SELECT nebula.show_peer(s) FROM nebula.peer_status s WHERE s.peer_id = p_peer_id);
END $$;
COMMENT ON FUNCTION nebula.cancel_move_for(nebula.proven_account, uuid, inet) IS
  'For the gateway: cancel_move for the account that created the peer, or an administrator. Errors: P0002, 42501, '
  '55000 not moving';

CREATE FUNCTION nebula.peer_config(p_actor nebula.proven_account, p_peer_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who  text := nebula.acting_on_peer(p_actor, p_peer_id);
  v_peer nebula.peer := nebula.require_peer(p_peer_id);
  v_conf text := nebula.peer_conf(p_peer_id);
BEGIN
  PERFORM nebula.record_event(v_peer.project_id, v_who, 'show-config', 'peer', p_peer_id::text, NULL,
                              jsonb_build_object('name', v_peer.name));
  RETURN jsonb_build_object('fileName', v_peer.file_name || '.conf', 'conf', v_conf);
END $$;
COMMENT ON FUNCTION nebula.peer_config(nebula.proven_account, uuid) IS
  'For the gateway: the .conf of a peer, for the account that created it, or an administrator. Errors: P0002 no such '
  'peer, 42501 not allowed, the rest as peer_conf';

CREATE FUNCTION nebula.peers_applied(p_actor nebula.proven_account, p_peer_ids uuid[])
RETURNS TABLE (peer_id uuid, state text, reason text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_account(p_actor);
  RETURN QUERY
    SELECT p.peer_id,
           CASE
             WHEN p.refused_reason IS NOT NULL THEN 'refused'
             WHEN p.applied_generation >= p.generation AND p.wanted <> 'absent' THEN 'applied'
             ELSE 'pending'
           END,
           CASE
             WHEN p.refused_reason IS NOT NULL THEN p.refused_reason
             WHEN p.applied_generation >= p.generation THEN NULL
             WHEN i.error IS NOT NULL THEN i.error
             WHEN nebula.missing_agent(n) IS NOT NULL THEN nebula.missing_agent(n)
             WHEN n.synced_at IS NULL THEN format('node "%s" has never reported its interfaces', n.name)
             WHEN n.seen_at < clock_timestamp() - interval '30 seconds'
             THEN format('node "%s" has not reported for %s s', n.name,
                         extract(epoch FROM clock_timestamp() - n.seen_at)::integer)
           END
      FROM unnest(p_peer_ids) WITH ORDINALITY AS w(id, ordinal)
     -- Of a peer that moves, the new node; of one that is removed, the node that is to let it go.
     CROSS JOIN LATERAL (SELECT k.*
                           FROM nebula.placement k
                          WHERE k.peer_id = w.id
                          ORDER BY k.role = 'target' DESC, k.role = 'serving' DESC
                          LIMIT 1) p
      JOIN nebula.peer e ON e.peer_id = p.peer_id
      JOIN nebula.node_interface i ON i.interface_id = p.interface_id
      JOIN nebula.node n ON n.node_id = i.node_id
     WHERE e.project_id IN (SELECT nebula.visible_projects(p_actor))
     ORDER BY w.ordinal;
END $$;
COMMENT ON FUNCTION nebula.peers_applied(nebula.proven_account, uuid[]) IS
  'For the gateway: whether the nodes have applied peers that the account sees: pending, applied or refused, and why '
  'not; of a peer that moves, the new node. One that is being removed is pending, or refused if it was; one that is '
  'gone has no row. Errors: 28000 no such account';

CREATE FUNCTION nebula.withdraw_peers_for(
  p_actor nebula.proven_account, p_peer_ids uuid[], p_reason text
) RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_account(p_actor);
  RETURN QUERY
    SELECT w
      FROM nebula.withdraw_peers(
             ARRAY(SELECT e.peer_id
                     FROM nebula.peer e
                    WHERE e.peer_id = ANY (p_peer_ids)
                      AND (e.creator_id = p_actor
                           OR e.project_id IN (SELECT nebula.permitted_projects(p_actor, 'peer.admin')))),
             p_reason) w;
END $$;
COMMENT ON FUNCTION nebula.withdraw_peers_for(nebula.proven_account, uuid[], text) IS
  'For the gateway: withdraw_peers for the peers that the account may change. Errors: 28000 no such account';
