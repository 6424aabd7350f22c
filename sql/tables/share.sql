-- Share links: a person without an account opens a file, or the files of a folder. The token is known to the holders of
-- the link alone.
CREATE TABLE nebula.share (
  share_id         uuid        NOT NULL DEFAULT gen_random_uuid(),
  token_hash       bytea       NOT NULL,
  project_id       uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  file_id          uuid        REFERENCES nebula.file ON DELETE SET NULL,
  folder           text        COLLATE "C",
  made_by          uuid        NOT NULL REFERENCES nebula.account ON DELETE CASCADE,
  note             text,
  password_hash    text,
  allows_download  boolean     NOT NULL DEFAULT true,
  made_at          timestamptz NOT NULL DEFAULT now(),
  expires_at       timestamptz,
  revoked_at       timestamptz,
  last_used_at     timestamptz,
  uses             bigint      NOT NULL DEFAULT 0,
  CONSTRAINT share_pkey PRIMARY KEY (share_id),
  CONSTRAINT share_token_hash_key UNIQUE (token_hash),
  CONSTRAINT share_token_hash_check CHECK (octet_length(token_hash) = 32),
  CONSTRAINT share_folder_check CHECK (
    folder IS NULL OR folder <> '' AND nebula.is_folder(folder) AND file_id IS NULL),
  CONSTRAINT share_note_check CHECK (octet_length(note) <= nebula.text_limit('note')),
  CONSTRAINT share_password_hash_check CHECK (
    password_hash LIKE '$argon2id$%' AND octet_length(password_hash) <= nebula.text_limit('hash'))
);
-- For listings, and for deletions of projects and files.
CREATE INDEX share_project_idx ON nebula.share (project_id);
CREATE INDEX share_file_idx ON nebula.share (file_id);
-- Finds the links that go with a deleted account, which would otherwise read all links.
CREATE INDEX share_maker_idx ON nebula.share (made_by);
SELECT pg_catalog.pg_extension_config_dump('nebula.share', '');

COMMENT ON TABLE nebula.share IS 'Links by which people without an account open a file or a folder';
COMMENT ON COLUMN nebula.share.share_id IS 'Identifier';
COMMENT ON COLUMN nebula.share.token_hash IS 'SHA-256 of the token in the link';
COMMENT ON COLUMN nebula.share.project_id IS 'Project of the file or folder';
COMMENT ON COLUMN nebula.share.file_id IS
  'The file that it opens; null: it opens a folder, or the file was deleted for good';
COMMENT ON COLUMN nebula.share.folder IS
  'The folder whose files it opens, with those below; null: it opens one file';
COMMENT ON COLUMN nebula.share.made_by IS 'Account whose rights it has: the link ends with them';
COMMENT ON COLUMN nebula.share.note IS 'For whom it is, as its maker noted';
COMMENT ON COLUMN nebula.share.password_hash IS 'Argon2id in PHC form; null: whoever has the link may open it';
COMMENT ON COLUMN nebula.share.allows_download IS
  'Whether the upload itself may be fetched; otherwise it is only played';
COMMENT ON COLUMN nebula.share.made_at IS 'When';
COMMENT ON COLUMN nebula.share.expires_at IS 'End of its validity; null: until it is revoked';
COMMENT ON COLUMN nebula.share.revoked_at IS 'When it was ended';
COMMENT ON COLUMN nebula.share.last_used_at IS 'When it was opened last';
COMMENT ON COLUMN nebula.share.uses IS 'How often it was opened';
