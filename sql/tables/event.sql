-- The audit log: who did what, from where. Append only.
CREATE TABLE nebula.event (
  event_id    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  at          timestamptz NOT NULL DEFAULT now(),
  project_id  uuid,
  actor       text        NOT NULL,
  action      text        NOT NULL,
  subject     text        NOT NULL,
  subject_id  text        NOT NULL,
  client      inet,
  detail      jsonb       NOT NULL DEFAULT '{}',
  CONSTRAINT event_pkey PRIMARY KEY (event_id),
  CONSTRAINT event_action_check CHECK (action ~ '^[a-z][a-z0-9_-]{0,31}$'),
  CONSTRAINT event_actor_check CHECK (
    octet_length(actor) <= nebula.text_limit('actor') AND octet_length(subject_id) <= nebula.text_limit('subject')),
  CONSTRAINT event_subject_check CHECK (subject ~ '^[a-z][a-z0-9_-]{0,31}$')
);
-- "What happened to this object?" and "What happened lately in this project?"
CREATE INDEX event_subject_idx ON nebula.event (subject, subject_id, event_id);
CREATE INDEX event_project_idx ON nebula.event (project_id, event_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.event', '');
SELECT pg_catalog.pg_extension_config_dump('nebula.event_event_id_seq', '');

-- Only the owner of a log table and superusers may change or delete its rows. session_user is checked, not the owner
-- that a SECURITY DEFINER function runs as, so a service cannot bypass the check through a function.
CREATE FUNCTION nebula.guard_log() RETURNS trigger
LANGUAGE plpgsql SET search_path = nebula, pg_temp AS $$
BEGIN
  IF NOT pg_has_role(session_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
    RAISE EXCEPTION 'role "%" may not change %, which is a log', session_user, TG_RELID::regclass
      USING ERRCODE = '42501', HINT = 'Only the owner of the table or a superuser may.';
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.guard_log() IS
  'Trigger: refuses changes of a log by roles other than its owner and superusers. Errors: 42501';

CREATE TRIGGER event_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON nebula.event
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.guard_log();

COMMENT ON TABLE nebula.event IS 'Append-only record of actions: actor, object, time, origin';
COMMENT ON COLUMN nebula.event.event_id IS 'Order of writing';
COMMENT ON COLUMN nebula.event.at IS 'Start of the transaction that did it';
COMMENT ON COLUMN nebula.event.project_id IS 'Project concerned, or null';
COMMENT ON COLUMN nebula.event.actor IS 'Username, or the database role for work done in SQL';
COMMENT ON COLUMN nebula.event.action IS 'Action: register, release, upload, …';
COMMENT ON COLUMN nebula.event.subject IS 'Kind of thing it was done to: device, file, account, …';
COMMENT ON COLUMN nebula.event.subject_id IS 'Which one';
COMMENT ON COLUMN nebula.event.client IS 'Client address, when it came over the network';
COMMENT ON COLUMN nebula.event.detail IS 'Further details; never a secret';
