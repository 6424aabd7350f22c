-- Events: one row for the record, one notification for whoever watches. In PL/pgSQL, which keeps its plans for a session:
-- a function of language sql is planned anew for each statement that calls it. Those that write are internal, and name
-- the schema of all they use: what calls them is not what looks here.

CREATE FUNCTION nebula.notify_event(project_id uuid, subject text, subject_id text, action text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.pg_notify('nebula_event', pg_catalog.json_build_object(
    'project', notify_event.project_id, 'subject', notify_event.subject, 'id', notify_event.subject_id, 'action', notify_event.action)::pg_catalog.text);
END $$;
COMMENT ON FUNCTION nebula.notify_event(uuid, text, text, text) IS
  'Internal: tells listeners of channel nebula_event that something changed, without a record';

CREATE FUNCTION nebula.record_event(project_id uuid, actor text, action text, subject text, subject_id text, client inet DEFAULT NULL, detail jsonb DEFAULT '{}')
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  noted bigint;
BEGIN
  INSERT INTO nebula.event AS e (project_id, actor, action, subject, subject_id, client, detail)
  VALUES (record_event.project_id, record_event.actor, record_event.action, record_event.subject,
          record_event.subject_id, record_event.client, record_event.detail)
  RETURNING e.event_id INTO noted;
  PERFORM nebula.notify_event(record_event.project_id, record_event.subject, record_event.subject_id, record_event.action);
  RETURN noted;
END $$;
COMMENT ON FUNCTION nebula.record_event(uuid, text, text, text, text, inet, jsonb) IS
  'Internal: appends to the record of who did what and tells listeners of channel nebula_event';

CREATE FUNCTION nebula.record_events(
  project_id uuid, actor text, action text, subject text, subject_ids text[], client inet, details jsonb[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO nebula.event (project_id, actor, action, subject, subject_id, client, detail)
  SELECT record_events.project_id, record_events.actor, record_events.action, record_events.subject, w.subject_id, record_events.client, w.detail
    FROM ROWS FROM (pg_catalog.unnest(record_events.subject_ids), pg_catalog.unnest(record_events.details)) AS w(subject_id, detail);
  PERFORM nebula.notify_event(record_events.project_id, record_events.subject, w.subject_id, record_events.action)
     FROM pg_catalog.unnest(record_events.subject_ids) AS w(subject_id);
END $$;
COMMENT ON FUNCTION nebula.record_events(uuid, text, text, text, text[], inet, jsonb[]) IS
  'Internal: record_event for several subjects of one action';

CREATE FUNCTION nebula.list_events(actor uuid, project_id uuid DEFAULT NULL, before bigint DEFAULT NULL, max integer DEFAULT 100)
RETURNS TABLE (event_id bigint, at timestamptz, project_id uuid, actor text, action text, subject text, subject_id text, detail jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT e.event_id, e.at, e.project_id, e.actor, e.action, e.subject, e.subject_id, e.detail
    FROM nebula.event e
   WHERE (e.project_id IN (SELECT nebula.visible_projects(list_events.actor))
          OR e.project_id IS NULL AND EXISTS (
            SELECT FROM nebula.account a WHERE a.account_id = list_events.actor AND a.role = 'admin' AND a.disabled_at IS NULL))
     AND (list_events.project_id IS NULL OR e.project_id = list_events.project_id)
     AND (before IS NULL OR e.event_id < before)
   ORDER BY e.event_id DESC
   LIMIT least(greatest(max, 1), 1000)
$$;
COMMENT ON FUNCTION nebula.list_events(uuid, uuid, bigint, integer) IS
  'Newest events first, of the projects the account sees; before pages back, at most 1000 a call';
