-- Invitations: made by operators and by those who may invite into a project, used once.

-- Administrators of a project invite those who are below them; more would go round member.write.
CREATE FUNCTION nebula.invitation_action(p_project_id uuid, p_role text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
           WHEN p_project_id IS NULL THEN 'account.write'
           WHEN p_role IN ('viewer', 'member') THEN 'member.invite'
           ELSE 'member.write'
         END
$$;
COMMENT ON FUNCTION nebula.invitation_action(uuid, text) IS
  'Internal: the right that an invitation with this role needs';

CREATE FUNCTION nebula.can_invite(p_account_id uuid, p_project_id uuid, p_role text) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT nebula.role_rank(nebula.role_in(p_account_id, p_project_id))
         >= nebula.role_rank(nebula.least_role(nebula.invitation_action(p_project_id, p_role)))
         AND nebula.token_allows(p_account_id, nebula.invitation_action(p_project_id, p_role))
$$;
COMMENT ON FUNCTION nebula.can_invite(uuid, uuid, text) IS
  'Internal: whether the account may invite with this role; null for one that is unknown, disabled or a stranger';

CREATE FUNCTION nebula.add_invitation(
  p_project_id uuid, p_role text, p_lifetime interval, p_note text, p_by text, p_inviter_id uuid DEFAULT NULL,
  p_client inet DEFAULT NULL
) RETURNS TABLE (invitation_id uuid, code text, expires_at timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
  v_roles CONSTANT text[] := CASE
                               WHEN p_project_id IS NULL THEN ARRAY['admin', 'member']
                               ELSE ARRAY['viewer', 'member', 'admin', 'owner']
                             END;
  v_plain CONSTANT text := nebula.random_code();
BEGIN
  PERFORM nebula.require_project(p_project_id) WHERE p_project_id IS NOT NULL;
  IF (p_role = ANY (v_roles)) IS NOT TRUE THEN
    RAISE EXCEPTION 'nobody can be invited with the role %', coalesce(quote_literal(left(p_role, 80)), 'null')
      USING ERRCODE = '22023',
        HINT = format('Give one of %s; roles without a project are those of accounts.', array_to_string(v_roles, ', '));
  END IF;
  IF p_lifetime IS NULL OR NOT p_lifetime BETWEEN interval '1 second' AND interval '30 days' THEN
    RAISE EXCEPTION 'an invitation cannot be valid for %', coalesce(p_lifetime::text, 'ever')
      USING ERRCODE = '22023', HINT = 'Give an interval of at most 30 days, for example ''7 days''.';
  END IF;
  PERFORM nebula.check_text('note', p_note, 'note');
  -- The event log has those of long ago.
  DELETE FROM nebula.invitation i
   WHERE i.project_id IS NOT DISTINCT FROM p_project_id
     AND i.created_at < now() - interval '90 days';
  IF (SELECT count(*) FROM nebula.invitation i WHERE i.project_id IS NOT DISTINCT FROM p_project_id)
     >= nebula.row_limit('invitations') THEN
    RAISE EXCEPTION 'there are % invitations already', nebula.row_limit('invitations')
      USING ERRCODE = '54000', HINT = 'Those that are older than 90 days go when another one is made.';
  END IF;
  INSERT INTO nebula.invitation AS i (project_id, role, code_hash, note, inviter_id, invited_by, expires_at)
  VALUES (p_project_id, p_role, sha256(v_plain::bytea), nullif(p_note, ''), p_inviter_id, p_by, now() + p_lifetime)
  RETURNING i.invitation_id, i.expires_at INTO invitation_id, expires_at;
  code := nebula.grouped_code(v_plain);
  PERFORM nebula.record_event(p_project_id, p_by, 'invite', 'invitation', invitation_id::text, p_client,
                              jsonb_build_object('role', p_role, 'until', expires_at));
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION nebula.add_invitation(uuid, text, interval, text, text, uuid, inet) IS
  'Internal: makes an invitation. Errors: P0002 no such project, 22023 role, lifetime or note, 54000 too many';

CREATE FUNCTION nebula.invite(
  project_id uuid DEFAULT NULL, role text DEFAULT 'member', lifetime interval DEFAULT '7 days', note text DEFAULT NULL
) RETURNS TABLE (invitation_id uuid, code text, expires_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT * FROM nebula.add_invitation(invite.project_id, invite.role, invite.lifetime, invite.note, session_user::text)
$$;
COMMENT ON FUNCTION nebula.invite(uuid, text, interval, text) IS
  'Makes an invitation and returns its code, this once: only its hash is stored. The one who opens the gateway''s page '
  '/invite#CODE chooses name and password of an account, which gets the role in the project: viewer, member, admin or '
  'owner; without a project that of an account: admin or member. Errors: P0002 no such project, 22023 role, lifetime '
  'of more than 30 days or long note, 54000 too many';

-- The account of the set-up scripts is there from the beginning, so it does not count; a session says that somebody has
-- begun to use the system.
CREATE FUNCTION nebula.first_run() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF (SELECT count(*) FROM nebula.account) > 1 OR EXISTS (SELECT FROM nebula.session) THEN
    RETURN NULL;
  END IF;
  -- One link at a time: the last one that was printed.
  DELETE FROM nebula.invitation i WHERE i.note = 'first run' AND i.inviter_id IS NULL AND i.accepted_at IS NULL;
  RETURN (SELECT a.code
            FROM nebula.add_invitation(NULL, 'admin', interval '1 day', 'first run', session_user::text) a);
END $$;
COMMENT ON FUNCTION nebula.first_run() IS
  'Internal: for nebula-gateway first-run, which an administrator runs: the code by which the first person at a new '
  'system makes an administrator''s account, good for a day; null once somebody has signed in';

CREATE FUNCTION nebula.invite_for(
  p_actor nebula.proven_account, p_project_id uuid, p_role text, p_lifetime interval, p_note text,
  p_client inet DEFAULT NULL
) RETURNS TABLE (invitation_id uuid, code text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_action CONSTANT text := nebula.invitation_action(p_project_id, p_role);
  v_who    text := nebula.require_permission(p_actor, p_project_id, v_action);
BEGIN
  RETURN QUERY
    SELECT a.invitation_id, a.code, a.expires_at
      FROM nebula.add_invitation(p_project_id, p_role, coalesce(p_lifetime, interval '7 days'), p_note, v_who, p_actor,
                                 p_client) a;
END $$;
COMMENT ON FUNCTION nebula.invite_for(nebula.proven_account, uuid, text, interval, text, inet) IS
  'For the gateway: invite for an account that may. Errors: 28000, 42501, the rest as invite';

CREATE FUNCTION nebula.list_invitations(p_actor nebula.proven_account, p_project_id uuid)
RETURNS TABLE (
  invitation_id uuid, project_id uuid, role text, note text, state text, invited_by text, created_at timestamptz,
  expires_at timestamptz, accepted_at timestamptz, accepted_by text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_permission(p_actor, p_project_id, nebula.invitation_action(p_project_id, 'member'));
  RETURN QUERY
    SELECT i.invitation_id, i.project_id, i.role, i.note,
           CASE
             WHEN i.accepted_at IS NOT NULL THEN 'accepted'
             WHEN i.revoked_at IS NOT NULL THEN 'revoked'
             WHEN i.expires_at <= now() THEN 'expired'
             ELSE 'open'
           END,
           i.invited_by, i.created_at, i.expires_at, i.accepted_at, i.accepted_by
      FROM nebula.invitation i
     WHERE i.project_id IS NOT DISTINCT FROM p_project_id
     ORDER BY i.created_at DESC
     LIMIT 1000;
END $$;
COMMENT ON FUNCTION nebula.list_invitations(nebula.proven_account, uuid) IS
  'For the gateway: invitations into a project or, without one, of accounts, newest first, without their codes. '
  'Errors: 28000, P0002, 42501';

-- An invitation that is not in sight does not exist, so that nobody learns of it.
CREATE FUNCTION nebula.revoke_invitation_for(
  p_actor nebula.proven_account, p_invitation_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who  nebula.account := nebula.require_account(p_actor);
  v_made nebula.invitation;
BEGIN
  SELECT i.* INTO v_made FROM nebula.invitation i WHERE i.invitation_id = p_invitation_id FOR NO KEY UPDATE;
  IF nebula.can_invite(p_actor, v_made.project_id, 'member') IS NOT TRUE OR v_made.invitation_id IS NULL THEN
    RAISE EXCEPTION 'there is no invitation %', p_invitation_id
      USING ERRCODE = 'P0002', HINT = 'List invitations: nebulactl account invitations.';
  ELSIF v_made.accepted_at IS NOT NULL THEN
    RAISE EXCEPTION 'account "%" has accepted this invitation', v_made.accepted_by
      USING ERRCODE = '55000', HINT = 'Disable the account, or remove the member: nebulactl account --help.';
  END IF;
  UPDATE nebula.invitation i
     SET revoked_at = coalesce(i.revoked_at, now())
   WHERE i.invitation_id = p_invitation_id;
  PERFORM nebula.record_event(v_made.project_id, v_who.username, 'revoke', 'invitation', p_invitation_id::text,
                              p_client);
END $$;
COMMENT ON FUNCTION nebula.revoke_invitation_for(nebula.proven_account, uuid, inet) IS
  'For the gateway: takes an invitation back. Idempotent. Errors: 28000, P0002 none in sight, 55000 it was accepted';

-- Of an invitation whose inviter has lost the right meanwhile nothing is left: what is taken away is gone.
CREATE FUNCTION nebula.open_invitation(p_code_hash bytea) RETURNS nebula.invitation
LANGUAGE plpgsql AS $$
DECLARE
  v_open nebula.invitation;
BEGIN
  SELECT i.*
    INTO v_open
    FROM nebula.invitation i
   WHERE i.code_hash = p_code_hash
     FOR NO KEY UPDATE;
  IF v_open.invitation_id IS NULL
     OR num_nonnulls(v_open.accepted_at, v_open.revoked_at) > 0
     OR v_open.expires_at <= clock_timestamp()
     OR v_open.inviter_id IS NOT NULL
        AND nebula.can_invite(v_open.inviter_id, v_open.project_id, v_open.role) IS NOT TRUE
  THEN
    RAISE EXCEPTION 'this invitation is unknown, was used, was taken back or has expired'
      USING ERRCODE = 'P0002', HINT = 'Ask for another one.';
  END IF;
  RETURN v_open;
END $$;
COMMENT ON FUNCTION nebula.open_invitation(bytea) IS
  'Internal: locks the invitation with this code, if it can be accepted. Errors: P0002 it cannot';

CREATE FUNCTION nebula.find_invitation(p_gateway nebula.proven_gateway, p_code_hash bytea)
RETURNS TABLE (project text, role text, invited_by text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_open nebula.invitation := nebula.open_invitation(p_code_hash);
BEGIN
  project := (SELECT p.name FROM nebula.project p WHERE p.project_id = v_open.project_id);
  role := v_open.role;
  invited_by := v_open.invited_by;
  expires_at := v_open.expires_at;
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION nebula.find_invitation(nebula.proven_gateway, bytea) IS
  'For the gateway: what a code invites to; project: its name, null for an account without one. Errors: P0002 none '
  'open';

-- The inviter answers for the membership, which its right was looked at for.
CREATE FUNCTION nebula.use_invitation(p_open nebula.invitation, p_account_id uuid, p_username text, p_client inet)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE nebula.invitation i
     SET accepted_at = now(),
         accepted_by = p_username
   WHERE i.invitation_id = p_open.invitation_id;
  PERFORM nebula.record_event(p_open.project_id, p_username, 'accept', 'invitation', p_open.invitation_id::text,
                              p_client, jsonb_build_object('role', p_open.role, 'invitedBy', p_open.invited_by));
  IF p_open.project_id IS NOT NULL THEN
    PERFORM nebula.set_member(p_open.project_id, p_account_id, p_open.role, p_open.invited_by, p_client);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.use_invitation(nebula.invitation, uuid, text, inet) IS
  'Internal: uses an open invitation up, and makes the account a member. Errors: 55000 the last owner';

CREATE FUNCTION nebula.accept_invitation(
  p_gateway nebula.proven_gateway, p_code_hash bytea, p_username text, p_password_hash text,
  p_client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_open nebula.invitation := nebula.open_invitation(p_code_hash);
  v_role CONSTANT text := CASE WHEN v_open.project_id IS NULL THEN v_open.role ELSE 'member' END;
  v_made uuid;
BEGIN
  PERFORM nebula.check_account(p_username, p_password_hash, v_role);
  PERFORM nebula.check_new_name(p_username);
  INSERT INTO nebula.account AS a (username, password_hash, role)
  VALUES (p_username, p_password_hash, v_role)
  ON CONFLICT ON CONSTRAINT account_username_key DO NOTHING
  RETURNING a.account_id INTO v_made;
  IF v_made IS NULL THEN
    RAISE EXCEPTION 'the name "%" is taken', p_username
      USING ERRCODE = '23505', HINT = 'Choose another one; or, if that account is yours, sign in and accept with it.';
  END IF;
  PERFORM nebula.record_event(NULL, v_open.invited_by, 'create', 'account', v_made::text, p_client);
  PERFORM nebula.use_invitation(v_open, v_made, p_username, p_client);
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.accept_invitation(nebula.proven_gateway, bytea, text, text, inet) IS
  'For the gateway: makes the account that a code invites. Errors: P0002 no open invitation, 23505 name taken, 22023 '
  'malformed name or hash';

CREATE FUNCTION nebula.join_by_invitation(
  p_actor nebula.proven_account, p_code_hash bytea, p_client inet DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who  nebula.account := nebula.require_session(p_actor);
  v_open nebula.invitation := nebula.open_invitation(p_code_hash);
  v_role CONSTANT text := (SELECT m.role
                             FROM nebula.project_member m
                            WHERE m.project_id = v_open.project_id AND m.account_id = p_actor);
BEGIN
  IF v_open.project_id IS NULL THEN
    RAISE EXCEPTION 'this invitation is for a new account'
      USING ERRCODE = '55000', HINT = 'Sign out, and choose another name and a password for the account.';
  ELSIF nebula.role_rank(v_role) >= nebula.role_rank(v_open.role) THEN
    RAISE EXCEPTION 'account "%" has the role % in this project already', v_who.username, v_role
      USING ERRCODE = '23505', HINT = 'The invitation stays open for somebody else.';
  END IF;
  PERFORM nebula.use_invitation(v_open, p_actor, v_who.username, p_client);
  RETURN v_open.project_id;
END $$;
COMMENT ON FUNCTION nebula.join_by_invitation(nebula.proven_account, bytea, inet) IS
  'For the gateway: makes the account a member of the project that a code invites to, and answers the project. Errors: '
  '28000, P0002 no open invitation, 55000 it is for a new account, 23505 it has that role or a higher one';
