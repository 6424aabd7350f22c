CREATE VIEW nebula.account_status AS
SELECT a.username, a.role, a.disabled_at, a.created_at,
       (SELECT max(t.issued_at)
          FROM nebula.session s
          JOIN nebula.session_token t USING (session_id)
         WHERE s.account_id = a.account_id) AS last_seen_at,
       (SELECT count(*)::integer
          FROM nebula.session s
         WHERE s.account_id = a.account_id
           AND s.ended_at IS NULL
           AND s.expires_at > now()) AS sessions,
       (SELECT coalesce(jsonb_object_agg(p.name, m.role), '{}')
          FROM nebula.project_member m
          JOIN nebula.project p USING (project_id)
         WHERE m.account_id = a.account_id) AS projects,
       a.account_id
  FROM nebula.account a;

COMMENT ON VIEW nebula.account_status IS 'Accounts, when they were last seen, and what they may act in';
COMMENT ON COLUMN nebula.account_status.username IS 'Sign-in name';
COMMENT ON COLUMN nebula.account_status.role IS 'admin: everything; member: the projects listed';
COMMENT ON COLUMN nebula.account_status.disabled_at IS 'Set: may not sign in or act any more';
COMMENT ON COLUMN nebula.account_status.created_at IS 'When the account was made';
COMMENT ON COLUMN nebula.account_status.last_seen_at IS 'When it last signed in or got a new access token';
COMMENT ON COLUMN nebula.account_status.sessions IS 'Sessions that are open';
COMMENT ON COLUMN nebula.account_status.projects IS 'Its role by the names of its projects';
COMMENT ON COLUMN nebula.account_status.account_id IS 'Identifier of the account';
