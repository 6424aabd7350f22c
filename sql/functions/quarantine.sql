-- Quarantine: only people end it early, and the event log records it.

CREATE FUNCTION nebula.end_quarantine(project_id uuid, address inet, reason text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_address    CONSTANT inet := address;
  v_reason     CONSTANT text := reason;
  v_ended      nebula.allocation;
BEGIN
  PERFORM nebula.require_project(v_project_id);
  PERFORM nebula.check_address(v_address);
  IF coalesce(btrim(v_reason), '') = '' THEN
    RAISE EXCEPTION 'a reason must be given'
      USING ERRCODE = '22023', HINT = 'Say why the certificate can do no harm, for the record.';
  END IF;
  DELETE FROM nebula.allocation a
   WHERE a.project_id = v_project_id
     AND a.ip = v_address
     AND a.quarantined_until > clock_timestamp()
  RETURNING a.* INTO v_ended;
  IF NOT FOUND THEN
    RAISE EXCEPTION '% is not in quarantine in project %', host(v_address), v_project_id
      USING ERRCODE = 'P0002', HINT = 'List quarantined addresses: SELECT * FROM nebula.quarantine_status.';
  END IF;
  PERFORM nebula.record_event(v_ended.project_id, session_user::text, 'end-quarantine', 'device',
                              v_ended.device_id::text, inet_client_addr(),
                              jsonb_build_object(
                                'ip', host(v_ended.ip), 'until', v_ended.quarantined_until,
                                'reason', v_reason
                              ));
  RETURN v_ended.device_id;
END $$;
COMMENT ON FUNCTION nebula.end_quarantine(uuid, inet, text) IS
  'Frees a quarantined address at once, although a valid certificate still names it, and records the '
  'reason; returns the device that held it. For administrators. Errors: 22023 no reason, or no '
  'address, P0002 no such project, not in quarantine';

CREATE FUNCTION nebula.end_quarantine_of(project text, device text, reason text) RETURNS SETOF inet
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project CONSTANT text := project;
  v_device  CONSTANT text := device;
  v_reason  CONSTANT text := reason;
  v_waiting record;
  v_ended   boolean := false;
BEGIN
  FOR v_waiting IN
    SELECT q.project_id, q.ip FROM nebula.quarantine_status q
     WHERE q.project = v_project AND v_device IN (q.device, q.device_id::text)
  LOOP
    PERFORM nebula.end_quarantine(v_waiting.project_id, v_waiting.ip, v_reason);
    v_ended := true;
    RETURN NEXT v_waiting.ip;
  END LOOP;
  IF NOT v_ended THEN
    RAISE EXCEPTION 'no address of device "%" is in quarantine in project "%"', left(v_device, 80), left(v_project, 80)
      USING ERRCODE = 'P0002', HINT = 'List quarantined addresses: SELECT * FROM nebula.quarantine_status.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.end_quarantine_of(text, text, text) IS
  'end_quarantine by the names of project and device; returns the addresses. For administrators. Errors: '
  '22023 no reason, P0002 none in quarantine';
