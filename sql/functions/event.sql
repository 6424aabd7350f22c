-- Events: a row in the log and a notification for listeners. PL/pgSQL, because it caches plans for the session, while
-- a function in language sql is planned again for each statement that calls it. The functions that write are internal
-- and have no SET search_path, so they qualify every name.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.insert_row(anyelement) IS
  'Internal: inserts a row of nebula.peer, placement or event without a statement. False: nothing was done, a '
  'statement has to; a key is taken or another session is about to take it, nebula.direct_writes is off, or the table '
  'has triggers, columns or constraints that only a statement knows';
COMMENT ON FUNCTION nebula.event_segment() IS 'Internal: the segment of nebula.event that takes what happens now';
COMMENT ON FUNCTION nebula.acting_account() IS
  'Internal: the account that the statement acts for, as its proof says; null: none, or the gateway';
COMMENT ON FUNCTION nebula.acts_for_gateway() IS 'Internal: whether the statement has the proof of a gateway';
COMMENT ON FUNCTION nebula.request_id() IS
  'Internal: X-Request-Id of the request that the gateway runs the statement for; null: none, or no gateway';
COMMENT ON FUNCTION nebula.request_client() IS
  'Internal: address of the client of that request, as the gateway sees it';

ALTER TABLE nebula.event ALTER COLUMN segment SET DEFAULT nebula.event_segment();
-- Sessions cache which segment receives events; this trigger invalidates the cache.
CREATE TRIGGER event_segment_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nebula.event_segment
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.table_changed();
ALTER TABLE nebula.event_segment ENABLE ALWAYS TRIGGER event_segment_changed;

-- Every role that may connect can send notifications, so they are only hints: confirm_changes tells which are true.
CREATE FUNCTION nebula.notify_event(
  p_project_id uuid, p_subject text, p_subject_id text, p_action text, p_event_id bigint DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_notify('nebula_event', pg_catalog.json_build_object(
    'project', p_project_id, 'subject', p_subject, 'id', p_subject_id, 'action', p_action,
    'event', p_event_id)::pg_catalog.text);
END $$;
COMMENT ON FUNCTION nebula.notify_event(uuid, text, text, text, bigint) IS
  'Internal: notifies channel nebula_event of a change: of a recorded event, or of a job or file without a record';

-- Parts of the system have no account. Where the gateway calls for somebody who has shown a password or a code instead
-- of a token, the account is found by its name.
CREATE FUNCTION nebula.account_of_actor(p_actor text) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_actor OPERATOR(pg_catalog.=) ANY ('{agent,gateway,maintenance,rotation,scrub}'::pg_catalog.text[]) THEN
    RETURN NULL;
  ELSIF nebula.acts_for_gateway() THEN
    RETURN (SELECT a.account_id FROM nebula.account a WHERE a.username OPERATOR(pg_catalog.=) p_actor);
  END IF;
  RETURN nebula.acting_account();
END $$;
COMMENT ON FUNCTION nebula.account_of_actor(text) IS 'Internal: the account behind the name in an event; null: none';

CREATE FUNCTION nebula.kind_of_actor(p_actor text, p_account_id uuid) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN CASE
           WHEN p_account_id IS NOT NULL THEN 'account'
           WHEN p_actor OPERATOR(pg_catalog.=) ANY ('{agent,gateway}'::pg_catalog.text[]) THEN p_actor
           WHEN p_actor OPERATOR(pg_catalog.=) ANY ('{maintenance,rotation,scrub}'::pg_catalog.text[]) THEN 'system'
           ELSE 'login'
         END;
END $$;
COMMENT ON FUNCTION nebula.kind_of_actor(text, uuid) IS 'Internal: what acted in an event: nebula.event.actor_kind';

CREATE FUNCTION nebula.name_of_actor(p_actor text, p_account_id uuid) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_account_id IS NOT NULL AND p_actor OPERATOR(pg_catalog.=) session_user::pg_catalog.text THEN
    RETURN coalesce((SELECT a.username FROM nebula.account a WHERE a.account_id OPERATOR(pg_catalog.=) p_account_id),
                    p_actor);
  END IF;
  RETURN p_actor;
END $$;
COMMENT ON FUNCTION nebula.name_of_actor(text, uuid) IS
  'Internal: who acted in an event, where the function that records it knows only the role that is logged in';

CREATE FUNCTION nebula.append_event(
  p_project_id uuid, p_actor text, p_action text, p_subject text, p_subject_id text, p_client inet, p_detail jsonb
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  v_event nebula.event;
BEGIN
  IF pg_catalog.pg_column_size(p_detail) OPERATOR(pg_catalog.>) 1048576 THEN
    PERFORM nebula.check_size('the detail of the event', p_detail);
  END IF;
  v_event.event_id := pg_catalog.nextval('nebula.event_event_id_seq');
  v_event.at := pg_catalog.now();
  v_event.project_id := p_project_id;
  v_event.actor_id := nebula.account_of_actor(p_actor);
  v_event.actor := nebula.name_of_actor(p_actor, v_event.actor_id);
  v_event.actor_kind := nebula.kind_of_actor(p_actor, v_event.actor_id);
  v_event.action := p_action;
  v_event.subject := p_subject;
  v_event.subject_id := p_subject_id;
  -- Functions that do not know the request give the other end of the connection, which is the gateway.
  v_event.client := coalesce(nebula.request_client(), p_client);
  v_event.request_id := nebula.request_id();
  v_event.detail := p_detail;
  v_event.segment := nebula.event_segment();
  IF NOT nebula.insert_row(v_event) THEN
    INSERT INTO nebula.event (event_id, at, project_id, actor, actor_kind, actor_id, action, subject, subject_id,
                              client, request_id, detail, segment)
    OVERRIDING SYSTEM VALUE
    VALUES (v_event.event_id, v_event.at, v_event.project_id, v_event.actor, v_event.actor_kind, v_event.actor_id,
            v_event.action, v_event.subject, v_event.subject_id, v_event.client, v_event.request_id, v_event.detail,
            v_event.segment);
  END IF;
  RETURN v_event.event_id;
END $$;
COMMENT ON FUNCTION nebula.append_event(uuid, text, text, text, text, inet, jsonb) IS
  'Internal: appends to the event log. Errors: 22023 a detail of more than 1 MiB';

CREATE FUNCTION nebula.record_event(
  p_project_id uuid, p_actor text, p_action text, p_subject text, p_subject_id text,
  p_client inet DEFAULT NULL, p_detail jsonb DEFAULT '{}'
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  v_noted bigint;
BEGIN
  IF pg_catalog.octet_length(p_actor) OPERATOR(pg_catalog.>) 200 THEN
    PERFORM nebula.check_text('the name of who did it', p_actor, 'actor');
  END IF;
  v_noted := nebula.append_event(p_project_id, p_actor, p_action, p_subject, p_subject_id, p_client, p_detail);
  PERFORM nebula.notify_event(p_project_id, p_subject, p_subject_id, p_action, v_noted);
  RETURN v_noted;
END $$;
COMMENT ON FUNCTION nebula.record_event(uuid, text, text, text, text, inet, jsonb) IS
  'Internal: appends to the event log and notifies channel nebula_event';

CREATE FUNCTION nebula.record_events(
  p_project_id uuid, p_actor text, p_action text, p_subject text, p_subject_ids text[],
  p_client inet, p_details jsonb[], p_account_id uuid DEFAULT NULL, p_request_ids text[] DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_account_id CONSTANT uuid := coalesce(p_account_id, nebula.account_of_actor(p_actor));
  v_kind       CONSTANT text := nebula.kind_of_actor(p_actor, v_account_id);
  v_client     CONSTANT inet := coalesce(nebula.request_client(), p_client);
  v_request_id CONSTANT text := nebula.request_id();
  v_segment    CONSTANT bigint := nebula.event_segment();
  v_noted      record;
BEGIN
  IF pg_catalog.octet_length(p_actor) OPERATOR(pg_catalog.>) 200 THEN
    PERFORM nebula.check_text('the name of who did it', p_actor, 'actor');
  END IF;
  FOR v_noted IN
    INSERT INTO nebula.event AS e (project_id, actor, actor_kind, actor_id, action, subject, subject_id, client,
                                   request_id, detail, segment)
    SELECT p_project_id, p_actor, v_kind, v_account_id, p_action, p_subject, w.subject_id, v_client,
           coalesce(w.request_id, v_request_id), w.detail, v_segment
      FROM ROWS
      FROM (pg_catalog.unnest(p_subject_ids), pg_catalog.unnest(p_details), pg_catalog.unnest(p_request_ids))
        AS w(subject_id, detail, request_id)
    RETURNING e.event_id, e.subject_id
  LOOP
    PERFORM nebula.notify_event(p_project_id, p_subject, v_noted.subject_id, p_action, v_noted.event_id);
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.record_events(uuid, text, text, text, text[], inet, jsonb[], uuid, text[]) IS
  'Internal: record_event for several subjects of one action; account and requests, where one statement is made for '
  'several requests';

CREATE FUNCTION nebula.changed_values(p_before jsonb, p_after jsonb, p_named jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = nebula, pg_temp AS $$
  SELECT jsonb_build_object('before', coalesce(jsonb_object_agg(k.name, p_before -> k.name), '{}'),
                            'after', coalesce(jsonb_object_agg(k.name, p_after -> k.name), '{}'))
    FROM (SELECT jsonb_object_keys(p_named) AS name) k
   WHERE (p_before -> k.name) IS DISTINCT FROM (p_after -> k.name)
$$;
COMMENT ON FUNCTION nebula.changed_values(jsonb, jsonb, jsonb) IS
  'Internal: detail of an event: those of the named values of an object that a change made others, before and after it';

CREATE FUNCTION nebula.record_state(p_part text, p_state text, p_detail jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_last text;
BEGIN
  -- Gateways that see the same change at the same time record it once: the later one waits and then sees the record.
  PERFORM nebula.wait_for_lock('system state', hashtext(p_part));
  v_last := (SELECT e.action
               FROM nebula.event e
              WHERE e.subject = 'system'
                AND e.subject_id = p_part
              ORDER BY e.event_id DESC
              LIMIT 1);
  -- That all is well is news only after a fault.
  IF v_last IS NOT DISTINCT FROM p_state OR v_last IS NULL AND p_state LIKE '%-ok' THEN
    RETURN false;
  END IF;
  PERFORM nebula.record_event(NULL, 'gateway', p_state, 'system', p_part, NULL, p_detail);
  RETURN true;
END $$;
COMMENT ON FUNCTION nebula.record_state(text, text, jsonb) IS
  'For the worker: records that a part of the system, such as a disk, has another state than the last on '
  'record (disk-low, disk-full, disk-ok); returns whether it did. Administrators see the event. Errors: '
  '23514 malformed state';

CREATE FUNCTION nebula.record_state_for(
  p_gateway nebula.proven_gateway, p_part text, p_state text, p_detail jsonb
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN nebula.record_state(p_part, p_state, p_detail);
END $$;
COMMENT ON FUNCTION nebula.record_state_for(nebula.proven_gateway, text, text, jsonb) IS
  'For the gateway: record_state. Errors: 23514 malformed state';

-- Function in Rust.
COMMENT ON FUNCTION nebula.disk_room() IS
  'Internal: bytes and inodes of the disks of the data folder and of the log, and how many are free';

CREATE FUNCTION nebula.disk_room_for(p_gateway nebula.proven_gateway)
RETURNS TABLE (disk text, size bigint, free bigint, inodes bigint, free_inodes bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT * FROM nebula.disk_room();
END $$;
COMMENT ON FUNCTION nebula.disk_room_for(nebula.proven_gateway) IS 'For the gateway: disk_room';

-- One indexed subquery for each hint. An event is shown for an hour, so that a notification that is sent again shows
-- little.
CREATE FUNCTION nebula.confirm_changes(p_gateway nebula.proven_gateway, p_hints jsonb)
RETURNS TABLE (project_id uuid, subject text, subject_id text, action text, event_id bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
  RETURN QUERY
    SELECT e.project_id, e.subject, e.subject_id, e.action, e.event_id
      FROM jsonb_to_recordset(p_hints) AS h(event bigint)
     CROSS JOIN LATERAL (SELECT k.*
                           FROM nebula.event k
                          WHERE k.event_id = h.event
                            AND k.at > clock_timestamp() - interval '1 hour'
                          LIMIT 1) e;
  RETURN QUERY
    SELECT j.project_id, h.subject, h.id, h.action, NULL::bigint
      FROM jsonb_to_recordset(p_hints) AS h(event bigint, subject text, id text, action text)
     CROSS JOIN LATERAL (SELECT w.project_id FROM nebula.job_waiting w
                          WHERE w.job_id = (CASE WHEN h.id ~ '^[0-9]{1,18}$' THEN h.id END)::bigint
                          UNION ALL
                         SELECT r.project_id FROM nebula.job_running r
                          WHERE r.job_id = (CASE WHEN h.id ~ '^[0-9]{1,18}$' THEN h.id END)::bigint
                          UNION ALL
                         SELECT f.project_id FROM nebula.job_finished f
                          WHERE f.job_id = (CASE WHEN h.id ~ '^[0-9]{1,18}$' THEN h.id END)::bigint
                          LIMIT 1) j
     WHERE h.event IS NULL
       AND h.subject = 'job'
       AND h.action IN ('enqueue', 'claim', 'progress', 'complete', 'fail', 'cancel', 'retry');
  RETURN QUERY
    SELECT f.project_id, h.subject, h.id, h.action, NULL::bigint
      FROM jsonb_to_recordset(p_hints) AS h(event bigint, subject text, id text, action text)
     CROSS JOIN LATERAL (SELECT k.project_id
                           FROM nebula.file k
                          WHERE k.file_id = (CASE
                                               WHEN h.id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN h.id
                                             END)::uuid
                          LIMIT 1) f
     WHERE h.event IS NULL
       AND h.subject = 'file'
       AND h.action = 'rendition';
  -- Watchers read the list of peers again; whether anything changed is not on record.
  RETURN QUERY
    SELECT p.project_id, h.subject, h.id, h.action, NULL::bigint
      FROM jsonb_to_recordset(p_hints) AS h(event bigint, project uuid, subject text, id text, action text)
      LEFT JOIN LATERAL (SELECT k.project_id FROM nebula.project k WHERE k.project_id = h.project LIMIT 1) p ON true
     WHERE h.event IS NULL
       AND (h.subject, h.id, h.action) = ('peer', '', 'change')
       AND p.project_id IS NOT DISTINCT FROM h.project;
END $$;
COMMENT ON FUNCTION nebula.confirm_changes(nebula.proven_gateway, jsonb) IS
  'For the gateway: which of these payloads of channel nebula_event are true, since anybody who may connect can send '
  'some: recorded events of the last hour as they are on record, and changes of jobs and files that exist';

CREATE FUNCTION nebula.refuse_call(
  p_gateway nebula.proven_gateway, p_device_id uuid, p_reason text, p_client inet, p_earlier bigint
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.record_event((SELECT d.project_id FROM nebula.device d WHERE d.device_id = p_device_id),
                             'gateway', 'refuse-call', 'device', coalesce(p_device_id::text, ''), p_client,
                             jsonb_strip_nulls(jsonb_build_object(
                                                 'reason', left(p_reason, 500), 'earlier', nullif(p_earlier, 0)
                                               )))
$$;
COMMENT ON FUNCTION nebula.refuse_call(nebula.proven_gateway, uuid, text, inet, bigint) IS
  'For the gateway: records that a call or an enrolment was refused, and how many like it from the same '
  'client were not recorded since the last';
