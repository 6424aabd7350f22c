-- Changes of peers that exist: update, remove, withdraw.

CREATE FUNCTION nebula.store_peer(p_peer nebula.peer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  -- Again when another session takes the name or the key between check and update.
  FOR v_attempt IN 1 .. 20 LOOP
    PERFORM nebula.check_peer_identity(p_peer);
    BEGIN
      UPDATE nebula.peer e
         SET name = p_peer.name,
             file_name = CASE
                           WHEN e.name = p_peer.name THEN e.file_name
                           ELSE nebula.peer_file_name(e.project_id, p_peer.name, e.peer_id)
                         END,
             public_key = p_peer.public_key,
             preshared_key = p_peer.preshared_key,
             reach = p_peer.reach,
             networks = p_peer.networks,
             groups = p_peer.groups,
             disabled_at = p_peer.disabled_at,
             disabled_by_admin = p_peer.disabled_by_admin,
             expires_at = p_peer.expires_at,
             admin_expires_at = p_peer.admin_expires_at
       WHERE e.peer_id = p_peer.peer_id;
      RETURN;
    EXCEPTION
      WHEN unique_violation THEN
        NULL;
    END;
  END LOOP;
  RAISE EXCEPTION 'no name is free for the .conf of peer "%"', p_peer.name
    USING ERRCODE = '23505', HINT = 'Choose another name.';
END $$;
COMMENT ON FUNCTION nebula.store_peer(nebula.peer) IS
  'Internal: writes a peer that exists. The caller has locked it. Errors: 23505 name or key taken';

CREATE FUNCTION nebula.update_peer_by(
  p_peer_id uuid, p_changes jsonb, p_by text, p_client inet, p_actor uuid DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_peer   nebula.peer := nebula.require_peer(p_peer_id);
  v_before jsonb;
  v_raised record;
BEGIN
  PERFORM nebula.lock_for_change(ARRAY[p_peer_id]);
  v_before := (SELECT nebula.show_peer(s) FROM nebula.peer_status s WHERE s.peer_id = p_peer_id);
  -- The changes apply to the row as it is now: another call may have written it before this one had the lock.
  v_peer := nebula.changed_peer(nebula.require_peer(p_peer_id), p_changes, p_actor);
  PERFORM nebula.store_peer(v_peer);
  FOR v_raised IN SELECT * FROM nebula.begin_generations(ARRAY[p_peer_id]) LOOP
    UPDATE nebula.placement p
       SET wanted = nebula.wanted_state(v_peer),
           generation = v_raised.generation,
           refused_at = NULL,
           refused_reason = NULL
     WHERE p.peer_id = p_peer_id
       AND p.interface_id = v_raised.interface_id;
  END LOOP;
  PERFORM nebula.record_event(v_peer.project_id, p_by, 'update', 'peer', p_peer_id::text, p_client,
                              jsonb_build_object('name', v_peer.name) || nebula.changed_values(
                                v_before,
                                (SELECT nebula.show_peer(s) FROM nebula.peer_status s WHERE s.peer_id = p_peer_id),
                                p_changes));
END $$;
COMMENT ON FUNCTION nebula.update_peer_by(uuid, jsonb, text, inet, uuid) IS
  'Internal: changes a peer, for the account if one is given, with the changes as the API writes them. Errors: as '
  'update_peer, 42501 enabled though an administrator disabled it, or an end later than an administrator set';

CREATE FUNCTION nebula.update_peer(
  peer_id uuid,
  name text DEFAULT NULL,
  public_key text DEFAULT NULL,
  preshared boolean DEFAULT NULL,
  reach text DEFAULT NULL,
  networks inet[] DEFAULT NULL,
  groups text[] DEFAULT NULL,
  expires_at timestamptz DEFAULT NULL,
  disabled boolean DEFAULT NULL,
  updated_by text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.update_peer_by(peer_id, jsonb_strip_nulls(jsonb_build_object(
                                  'name', name, 'publicKey', public_key, 'preshared', preshared, 'reach', reach,
                                  'networks', to_jsonb(networks), 'groups', to_jsonb(groups),
                                  'expiresAt', expires_at,
                                  'disabled', disabled)),
                                coalesce(updated_by, session_user::text), inet_client_addr());
END $$;
COMMENT ON FUNCTION nebula.update_peer(
  uuid, text, text, boolean, text, inet[], text[], timestamptz, boolean, text
) IS
  'Changes a peer; null leaves a value as it is, expires_at infinity means never. preshared: true makes a new '
  'preshared key, false removes it. Errors: P0002 no such peer, 22023 malformed, 23505 name or key taken, 55000 '
  'being removed, or enabled after it has expired';

CREATE FUNCTION nebula.mark_removed(p_peer_ids uuid[], p_by text, p_client inet, p_detail jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_raised record;
  v_ended  record;
BEGIN
  FOR v_raised IN SELECT * FROM nebula.begin_generations(p_peer_ids) LOOP
    UPDATE nebula.placement p
       SET role = 'leaving',
           wanted = 'absent',
           generation = v_raised.generation,
           deadline = NULL
     WHERE p.peer_id = ANY (p_peer_ids)
       AND p.interface_id = v_raised.interface_id
       AND p.wanted <> 'absent';
  END LOOP;
  FOR v_ended IN
    WITH ended AS (
      UPDATE nebula.peer e
         SET removed_at = now()
       WHERE e.peer_id = ANY (p_peer_ids)
         AND e.removed_at IS NULL
      RETURNING e.project_id, e.peer_id, e.name
    )
    SELECT d.project_id, array_agg(d.peer_id::text) AS ids,
           array_agg(jsonb_build_object('name', d.name) || p_detail) AS details
      FROM ended d
     GROUP BY d.project_id
  LOOP
    PERFORM nebula.record_events(v_ended.project_id, p_by, 'remove', 'peer', v_ended.ids, p_client, v_ended.details);
  END LOOP;
  PERFORM nebula.delete_unserved_placements(p_peer_ids);
  PERFORM nebula.delete_unplaced_peers(p_peer_ids);
END $$;
COMMENT ON FUNCTION nebula.mark_removed(uuid[], text, inet, jsonb) IS
  'Internal: removes peers: their nodes are to let them go; those that no node has are gone at once. The caller has '
  'locked them';

CREATE FUNCTION nebula.remove_peer(peer_id uuid, removed_by text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer nebula.peer := nebula.require_peer(peer_id);
BEGIN
  PERFORM nebula.lock_for_change(ARRAY[v_peer.peer_id]);
  v_peer := nebula.require_peer(v_peer.peer_id);
  PERFORM nebula.mark_removed(ARRAY[v_peer.peer_id], coalesce(removed_by, session_user::text), inet_client_addr(),
                              '{}');
END $$;
COMMENT ON FUNCTION nebula.remove_peer(uuid, text) IS
  'Removes a peer. Its seat and its addresses are free when its node has confirmed that it is gone, at once if no '
  'agent serves the node. Errors: P0002 no such peer, 55000 being removed already';

CREATE FUNCTION nebula.withdraw_peers(p_peer_ids uuid[], p_reason text) RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_peer_id uuid;
  v_ended   uuid[] := '{}';
BEGIN
  PERFORM nebula.lock_for_change(p_peer_ids);
  FOR v_peer_id IN
    SELECT p.peer_id
      FROM nebula.placement p
     WHERE p.peer_id = ANY (p_peer_ids)
       AND p.role = 'target'
       AND p.applied_generation < p.generation
     ORDER BY p.peer_id
  LOOP
    PERFORM nebula.drop_target(v_peer_id, p_reason, 'gateway');
    RETURN NEXT v_peer_id;
  END LOOP;
  -- Created by a call that waits, and never applied. A peer that was applied before stays, and one that another call
  -- created without waiting: a move of it that failed is no reason to remove it.
  FOR v_peer_id IN
    SELECT p.peer_id
      FROM nebula.placement p
     WHERE p.peer_id = ANY (p_peer_ids)
       AND p.role = 'serving'
       AND p.applied_generation = 0
       AND p.deadline IS NOT NULL
       AND NOT EXISTS (SELECT FROM nebula.placement t WHERE t.peer_id = p.peer_id AND t.role <> 'serving')
     ORDER BY p.peer_id
  LOOP
    v_ended := v_ended || v_peer_id;
    RETURN NEXT v_peer_id;
  END LOOP;
  IF v_ended <> '{}' THEN
    PERFORM nebula.mark_removed(v_ended, 'gateway', NULL, jsonb_build_object('reason', p_reason));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.withdraw_peers(uuid[], text) IS
  'Internal: gives up what nodes have not applied in time: peers that were created with a deadline are removed, moves '
  'ended. Seats and addresses stay held until the nodes have confirmed that. Answers the peers that were '
  'withdrawn; those that were applied meanwhile are not';
