-- Events as accounts see them.

-- Identifiers are given in order of time, but for transactions that began long before they wrote. So identifiers are
-- bounded by a search with a day to spare, which spares reading what is newer, and the times themselves are compared.
CREATE FUNCTION nebula.event_near(p_at timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_first bigint := 1;
  v_last  bigint := coalesce((SELECT max(e.event_id) FROM nebula.event e), 0);
  v_next  record;
BEGIN
  -- Every event below v_first is older than p_at; v_last, or the next event after it, is not, or is the last.
  WHILE v_first < v_last LOOP
    SELECT e.event_id, e.at
      INTO v_next
      FROM nebula.event e
     WHERE e.event_id > (v_first + v_last) / 2
     ORDER BY e.event_id
     LIMIT 1;
    IF v_next.at < p_at THEN
      v_first := v_next.event_id;
    ELSE
      v_last := (v_first + v_last) / 2;
    END IF;
  END LOOP;
  RETURN v_first;
END $$;
COMMENT ON FUNCTION nebula.event_near(timestamptz) IS
  'Internal: the last event before this time, as far as events are in order of time; 1 where none is';

-- The statement is made of the conditions that are given, so that the planner finds the index of each combination.
CREATE FUNCTION nebula.list_events(
  p_actor nebula.proven_account, p_filter nebula.event_filter, p_max integer DEFAULT 100,
  p_ascending boolean DEFAULT false
) RETURNS TABLE (
  event_id bigint, at timestamptz, project_id uuid, actor text, actor_kind text, actor_id uuid, action text,
  subject text, subject_id text, client inet, request_id text, detail jsonb
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_day      CONSTANT interval := interval '1 day';
  v_max      CONSTANT integer := least(greatest(p_max, 1), 1000);
  v_operator CONSTANT boolean := nebula.role_in(p_actor, NULL) IS NOT DISTINCT FROM 'operator';
  v_after    CONSTANT bigint := greatest(p_filter.after, nebula.event_near(p_filter.since - v_day) - 1);
  v_before   CONSTANT bigint := least(p_filter.before,
                                      CASE WHEN p_filter.until < now() - v_day
                                           THEN nebula.event_near(p_filter.until + v_day) + 1 END);
  v_order    CONSTANT text := CASE WHEN p_ascending THEN 'ASC' ELSE 'DESC' END;
  v_projects uuid[];
  v_origins  uuid[];
  v_source   text;
BEGIN
  IF NOT v_operator THEN
    v_projects := ARRAY(SELECT v.project_id
                          FROM nebula.permitted_projects(p_actor, 'project.read') AS v(project_id)
                         WHERE v.project_id = coalesce(p_filter.project_id, v.project_id));
    v_origins := ARRAY(SELECT nebula.permitted_projects(p_actor, 'event.origin'));
  ELSIF p_filter.project_id IS NOT NULL THEN
    v_projects := ARRAY[p_filter.project_id];
  END IF;
  v_source := concat_ws(' AND ',
    'SELECT k.* FROM nebula.event k WHERE true',
    CASE WHEN p_filter.subject IS NOT NULL THEN 'k.subject = $2' END,
    CASE WHEN p_filter.subject_id IS NOT NULL THEN 'k.subject_id = $3' END,
    CASE WHEN p_filter.actor IS NOT NULL THEN 'k.actor = $4' END,
    CASE WHEN p_filter.action IS NOT NULL THEN 'k.action = $5' END,
    CASE WHEN p_filter.since IS NOT NULL THEN 'k.at >= $6' END,
    CASE WHEN p_filter.until IS NOT NULL THEN 'k.at < $7' END,
    CASE WHEN v_after IS NOT NULL THEN 'k.event_id > $8' END,
    CASE WHEN v_before IS NOT NULL THEN 'k.event_id < $9' END,
    CASE WHEN p_filter.event_ids IS NOT NULL THEN 'k.event_id = ANY ($10)' END,
    CASE WHEN v_projects IS NOT NULL THEN 'k.project_id = v.project_id' END);
  v_source := format('%s ORDER BY k.event_id %s LIMIT %s', v_source, v_order, v_max);
  -- Each project by its index, instead of one search through the events of all.
  v_source := format(CASE
                       WHEN v_projects IS NULL THEN '(%s) e'
                       ELSE 'unnest($1) AS v(project_id) CROSS JOIN LATERAL (%s) e'
                     END, v_source);
  RETURN QUERY EXECUTE format(
    'SELECT e.event_id, e.at, e.project_id, e.actor, e.actor_kind, e.actor_id, e.action, e.subject, e.subject_id,
            CASE WHEN o.shown THEN e.client END, CASE WHEN o.shown THEN e.request_id END, e.detail
       FROM %s
      CROSS JOIN LATERAL (SELECT $11 OR e.actor_id = $12 OR e.project_id = ANY ($13) AS shown) o
      ORDER BY e.event_id %s LIMIT %s', v_source, v_order, v_max)
    USING v_projects, p_filter.subject, p_filter.subject_id, p_filter.actor, p_filter.action, p_filter.since,
          p_filter.until, v_after, v_before, p_filter.event_ids, v_operator, p_actor::uuid, v_origins;
END $$;
COMMENT ON FUNCTION nebula.list_events(nebula.proven_account, nebula.event_filter, integer, boolean) IS
  'For the gateway: events of the projects that the account sees, for an operator all; the newest first, or the '
  'oldest, at most 1000 a call. Address and request are shown to operators, administrators of the project and those '
  'who did it';

CREATE FUNCTION nebula.refuse_request(
  p_actor nebula.proven_account, p_route text, p_reason text, p_earlier bigint
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_account nebula.account := nebula.require_account(p_actor);
BEGIN
  PERFORM nebula.record_event(NULL, v_account.username, 'refuse', 'request', left(p_route, 120), NULL,
                              jsonb_strip_nulls(jsonb_build_object(
                                                  'reason', left(p_reason, 500), 'earlier', nullif(p_earlier, 0)
                                                )));
END $$;
COMMENT ON FUNCTION nebula.refuse_request(nebula.proven_account, text, text, bigint) IS
  'For the gateway: records that an account was not allowed what it asked for, and how many requests like it were not '
  'recorded since the last. Errors: 28000';
