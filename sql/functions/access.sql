-- The end of a right reaches what is open: each of these changes notifies the gateways, which ask again whether the
-- accounts of their open streams still may. Every role that may connect can send such a notification, so it carries
-- nothing.

CREATE FUNCTION nebula.notify_access() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_notify('nebula_access', '');
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.notify_access() IS
  'Trigger: notifies channel nebula_access that a right may have ended: a session, an account, a membership, a '
  'share, a personal token';

CREATE TRIGGER account_access AFTER DELETE OR UPDATE OF disabled_at, role ON nebula.account
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.notify_access();
CREATE TRIGGER session_access AFTER DELETE OR UPDATE OF ended_at, expires_at ON nebula.session
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.notify_access();
CREATE TRIGGER member_access AFTER DELETE OR UPDATE ON nebula.project_member
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.notify_access();
CREATE TRIGGER personal_token_access AFTER DELETE OR UPDATE OF expires_at ON nebula.personal_token
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.notify_access();
CREATE TRIGGER share_access AFTER DELETE OR UPDATE OF revoked_at, expires_at ON nebula.share
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.notify_access();
