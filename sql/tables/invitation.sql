-- Invitations: codes by which people make an account of their own, or join a project with the one that they have. Only
-- hashes of codes are stored, so a reader of the table cannot use them.
CREATE TABLE nebula.invitation (
  invitation_id  uuid        NOT NULL DEFAULT gen_random_uuid(),
  project_id     uuid        REFERENCES nebula.project ON DELETE CASCADE,
  role           text        NOT NULL,
  code_hash      bytea       NOT NULL,
  note           text,
  inviter_id     uuid        REFERENCES nebula.account ON DELETE CASCADE,
  invited_by     text        NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT now(),
  expires_at     timestamptz NOT NULL,
  revoked_at     timestamptz,
  accepted_at    timestamptz,
  accepted_by    text,
  CONSTRAINT invitation_pkey PRIMARY KEY (invitation_id),
  CONSTRAINT invitation_code_key UNIQUE (code_hash),
  CONSTRAINT invitation_code_check CHECK (octet_length(code_hash) = 32),
  CONSTRAINT invitation_role_check CHECK (
    CASE
      WHEN project_id IS NULL THEN role IN ('admin', 'member')
      ELSE role IN ('viewer', 'member', 'admin', 'owner')
    END),
  CONSTRAINT invitation_note_check CHECK (octet_length(note) <= nebula.text_limit('note')),
  CONSTRAINT invitation_inviter_check CHECK (octet_length(invited_by) <= nebula.text_limit('actor')),
  CONSTRAINT invitation_accepted_check CHECK ((accepted_at IS NULL) = (accepted_by IS NULL))
);
-- For lists, and the cascade from project.
CREATE INDEX invitation_project_idx ON nebula.invitation (project_id, created_at);
-- For the cascade from account.
CREATE INDEX invitation_inviter_idx ON nebula.invitation (inviter_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.invitation', '');

COMMENT ON TABLE nebula.invitation IS 'Invitations of people, each for one of them, by hash of the code';
COMMENT ON COLUMN nebula.invitation.invitation_id IS 'Identifier, to revoke it';
COMMENT ON COLUMN nebula.invitation.project_id IS 'Project to join; null: an account without a project';
COMMENT ON COLUMN nebula.invitation.role IS
  'Role in the project: viewer, member, admin or owner; without a project that of the account: admin or member';
COMMENT ON COLUMN nebula.invitation.code_hash IS 'SHA-256 of the code';
COMMENT ON COLUMN nebula.invitation.note IS 'Reminder of the inviter, for whom it is; not shown to others';
COMMENT ON COLUMN nebula.invitation.inviter_id IS
  'Account that invites, whose right is looked at again when the code is used; null: an administrator by SQL';
COMMENT ON COLUMN nebula.invitation.invited_by IS 'Name of that account, or role in the database';
COMMENT ON COLUMN nebula.invitation.created_at IS 'When it was made';
COMMENT ON COLUMN nebula.invitation.expires_at IS 'End of its validity';
COMMENT ON COLUMN nebula.invitation.revoked_at IS 'Set: it was taken back';
COMMENT ON COLUMN nebula.invitation.accepted_at IS 'Set: it was used';
COMMENT ON COLUMN nebula.invitation.accepted_by IS 'Name of the account that used it, as it was then';
