-- The audit log: who did what, to which object, from where. Append only. It is kept in a ring of sixteen segments
-- (partitions), like finished jobs: the current one receives events, and maintain_events truncates those that are older
-- than nebula.event_retention. The segments are created here, as members of the extension, and pg_dump dumps each like
-- any other table.
CREATE TABLE nebula.event (
  event_id    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
  at          timestamptz NOT NULL DEFAULT now(),
  project_id  uuid,
  actor       text        NOT NULL,
  actor_kind  text        NOT NULL DEFAULT 'login',
  actor_id    uuid,
  action      text        NOT NULL,
  subject     text        NOT NULL,
  subject_id  text        NOT NULL,
  client      inet,
  request_id  text,
  detail      jsonb       NOT NULL DEFAULT '{}',
  segment     bigint      NOT NULL,
  CONSTRAINT event_pkey PRIMARY KEY (event_id, segment),
  CONSTRAINT event_action_check CHECK (action ~ '^[a-z][a-z0-9_-]{0,31}$'),
  CONSTRAINT event_actor_check CHECK (
    octet_length(actor) <= nebula.text_limit('actor') AND octet_length(subject_id) <= nebula.text_limit('subject')),
  CONSTRAINT event_actor_kind_check CHECK (actor_kind IN ('account', 'agent', 'gateway', 'system', 'login')),
  CONSTRAINT event_request_id_check CHECK (octet_length(request_id) <= 64),
  CONSTRAINT event_subject_check CHECK (subject ~ '^[a-z][a-z0-9_-]{0,31}$')
) PARTITION BY LIST (segment);
-- One for each way to ask: what happened to this object, in this project, by this actor, of this kind. The order of
-- identifiers is nearly that of time, so that times need no index (nebula.event_near).
CREATE INDEX event_subject_idx ON nebula.event (subject, subject_id, event_id);
CREATE INDEX event_project_idx ON nebula.event (project_id, event_id);
CREATE INDEX event_actor_idx ON nebula.event (actor, event_id);
CREATE INDEX event_action_idx ON nebula.event (action, event_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.event_event_id_seq', '');

-- Its last value is the current segment.
CREATE SEQUENCE nebula.event_segment_seq MINVALUE 0 MAXVALUE 15 START 0 CYCLE;
SELECT setval('nebula.event_segment_seq', 0) FROM nebula.event_segment_seq WHERE NOT is_called;
SELECT pg_catalog.pg_extension_config_dump('nebula.event_segment_seq', '');
COMMENT ON SEQUENCE nebula.event_segment_seq IS 'Last value: the segment of event that takes what happens now';

-- When each segment became the current one. No row: since CREATE EXTENSION.
CREATE TABLE nebula.event_segment (
  segment    bigint      NOT NULL,
  opened_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT event_segment_pkey PRIMARY KEY (segment)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.event_segment', '');

COMMENT ON TABLE nebula.event_segment IS 'Since when segments of event take what happens';
COMMENT ON COLUMN nebula.event_segment.segment IS 'Number of the segment';
COMMENT ON COLUMN nebula.event_segment.opened_at IS 'When it became the current one';

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
COMMENT ON COLUMN nebula.event.actor_kind IS
  'account, agent (of a device or node), gateway, system (work of the server), or login (a role of the database)';
COMMENT ON COLUMN nebula.event.actor_id IS 'The account, where one did it';
COMMENT ON COLUMN nebula.event.action IS 'Action: register, release, upload, …';
COMMENT ON COLUMN nebula.event.subject IS 'Kind of thing it was done to: device, file, account, …';
COMMENT ON COLUMN nebula.event.subject_id IS 'Which one';
COMMENT ON COLUMN nebula.event.client IS 'Client address, when it came over the network';
COMMENT ON COLUMN nebula.event.request_id IS 'X-Request-Id of the request to the gateway, whose log lines have it, too';
COMMENT ON COLUMN nebula.event.detail IS 'Further details, of a change the values before and after; never a secret';
COMMENT ON COLUMN nebula.event.segment IS 'Segment it is kept in';

DO $$
DECLARE
  v_part text;
BEGIN
  FOR v_segment IN 0..15 LOOP
    v_part := format('nebula.event_%s', v_segment);
    EXECUTE format('CREATE TABLE IF NOT EXISTS %s PARTITION OF nebula.event FOR VALUES IN (%s)', v_part, v_segment);
    EXECUTE format('CREATE OR REPLACE TRIGGER event_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION nebula.guard_log()', v_part);
    EXECUTE format('COMMENT ON TABLE %s IS %L', v_part, format('Segment %s of event', v_segment));
    EXECUTE (SELECT string_agg(format('COMMENT ON COLUMN %s.%I IS %L',
                                      v_part, a.attname, col_description(a.attrelid, a.attnum)), ';')
               FROM pg_attribute a
              WHERE a.attrelid = 'nebula.event'::regclass
                AND a.attnum > 0);
    PERFORM pg_catalog.pg_extension_config_dump(v_part::regclass, '');
  END LOOP;
END $$;

CREATE TYPE nebula.event_filter AS (
  project_id  uuid,
  subject     text,
  subject_id  text,
  actor       text,
  action      text,
  since       timestamptz,
  until       timestamptz,
  after       bigint,
  before      bigint,
  event_ids   bigint[]
);
COMMENT ON TYPE nebula.event_filter IS 'Which events to list; null: any';
COMMENT ON COLUMN nebula.event_filter.project_id IS 'Of this project';
COMMENT ON COLUMN nebula.event_filter.subject IS 'To this kind of object';
COMMENT ON COLUMN nebula.event_filter.subject_id IS 'To the object with this identifier';
COMMENT ON COLUMN nebula.event_filter.actor IS 'By this account, part of the system or role of the database';
COMMENT ON COLUMN nebula.event_filter.action IS 'This action';
COMMENT ON COLUMN nebula.event_filter.since IS 'At this time or later';
COMMENT ON COLUMN nebula.event_filter.until IS 'Before this time';
COMMENT ON COLUMN nebula.event_filter.after IS 'With a greater event_id';
COMMENT ON COLUMN nebula.event_filter.before IS 'With a lesser event_id';
COMMENT ON COLUMN nebula.event_filter.event_ids IS 'With one of these event_ids';
