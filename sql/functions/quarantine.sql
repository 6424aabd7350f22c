-- Quarantine: ended early only by people, and on record.

CREATE FUNCTION nebula.end_quarantine(project_id uuid, address inet, reason text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  ended nebula.allocation;
BEGIN
  PERFORM nebula.require_project(end_quarantine.project_id);
  IF coalesce(btrim(end_quarantine.reason), '') = '' THEN
    RAISE EXCEPTION 'a reason must be given' USING ERRCODE = '22023', HINT = 'Say why the certificate can do no harm, for the record.';
  END IF;
  DELETE FROM nebula.allocation a
   WHERE a.project_id = end_quarantine.project_id AND a.ip = end_quarantine.address AND a.quarantined_until > clock_timestamp()
   RETURNING a.* INTO ended;
  IF NOT FOUND THEN
    RAISE EXCEPTION '% is not in quarantine in project %', host(end_quarantine.address), end_quarantine.project_id
      USING ERRCODE = 'P0002', HINT = 'List what is: SELECT * FROM nebula.quarantine_status.';
  END IF;
  PERFORM nebula.record_event(ended.project_id, session_user::text, 'end-quarantine', 'device', ended.device_id::text, inet_client_addr(),
    jsonb_build_object('ip', host(ended.ip), 'until', ended.quarantined_until, 'reason', end_quarantine.reason));
  RETURN ended.device_id;
END $$;
COMMENT ON FUNCTION nebula.end_quarantine(uuid, inet, text) IS
  'Frees a quarantined address at once, although a valid certificate still names it, and records why; answers whose it was. '
  'For administrators. Errors: 22023 no reason, P0002 no such project, not in quarantine';

CREATE FUNCTION nebula.end_quarantine_of(project text, device text, reason text) RETURNS SETOF inet
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  waiting record;
  ended   boolean := false;
BEGIN
  FOR waiting IN
    SELECT q.project_id, q.ip FROM nebula.quarantine_status q
     WHERE q.project = end_quarantine_of.project AND end_quarantine_of.device IN (q.device, q.device_id::text)
  LOOP
    PERFORM nebula.end_quarantine(waiting.project_id, waiting.ip, end_quarantine_of.reason);
    ended := true;
    RETURN NEXT waiting.ip;
  END LOOP;
  IF NOT ended THEN
    RAISE EXCEPTION 'no address of device "%" is in quarantine in project "%"', end_quarantine_of.device, end_quarantine_of.project
      USING ERRCODE = 'P0002', HINT = 'List what is: SELECT * FROM nebula.quarantine_status.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.end_quarantine_of(text, text, text) IS
  'end_quarantine by the names of project and device; answers the addresses. For administrators. Errors: 22023 no reason, P0002 none in quarantine';
