-- A project is one isolated overlay network: its pools, its devices, its files.
CREATE TABLE nebula.project (
  project_id  uuid        NOT NULL DEFAULT gen_random_uuid(),
  name        text        NOT NULL,
  cidr        cidr,
  created_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT project_pkey PRIMARY KEY (project_id),
  CONSTRAINT project_name_key UNIQUE (name),
  CONSTRAINT project_name_check CHECK (name ~ '^[[:alnum:]][[:alnum:] ._-]{0,62}$')
);
SELECT pg_catalog.pg_extension_config_dump('nebula.project', '');

COMMENT ON TABLE nebula.project IS 'An isolated overlay network with its pools, devices and files';
COMMENT ON COLUMN nebula.project.project_id IS 'Identifier used by every function and route';
COMMENT ON COLUMN nebula.project.name IS 'Unique name: a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes';
COMMENT ON COLUMN nebula.project.cidr IS 'The whole overlay; every pool lies inside it and host certificates carry its prefix length. Null: each pool stands for itself';
COMMENT ON COLUMN nebula.project.created_at IS 'When the project was made';

-- Which account may act in which project. Administrators need no row here.
CREATE TABLE nebula.project_member (
  project_id  uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  account_id  uuid        NOT NULL REFERENCES nebula.account ON DELETE CASCADE,
  added_at    timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT project_member_pkey PRIMARY KEY (project_id, account_id)
);
-- "Which projects are mine" is asked by every listing.
CREATE INDEX project_member_account_idx ON nebula.project_member (account_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.project_member', '');

COMMENT ON TABLE nebula.project_member IS 'Membership of accounts in projects; checked in SQL by nebula.require_member';
COMMENT ON COLUMN nebula.project_member.project_id IS 'The project';
COMMENT ON COLUMN nebula.project_member.account_id IS 'The account that may act in it';
COMMENT ON COLUMN nebula.project_member.added_at IS 'Since when';
