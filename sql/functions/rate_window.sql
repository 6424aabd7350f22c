-- Rate limits. A gateway takes several calls at a time, so that it asks for one in some of them only.

CREATE FUNCTION nebula.rate_rest(p_ends_at timestamptz) RETURNS double precision
LANGUAGE sql AS $$
  SELECT greatest(extract(epoch FROM p_ends_at - clock_timestamp()), 0)::double precision
$$;
COMMENT ON FUNCTION nebula.rate_rest(timestamptz) IS 'Internal: seconds until a window ends; 0: it is over';

CREATE FUNCTION nebula.record_rate_refusal(p_limit_name text, p_max integer, p_account_id uuid, p_client inet)
RETURNS void
LANGUAGE sql AS $$
  SELECT nebula.record_event(
           NULL, coalesce((SELECT a.username FROM nebula.account a WHERE a.account_id = p_account_id), 'unknown'),
           'limit', 'account', coalesce(p_account_id::text, ''), p_client,
           jsonb_build_object('limit', p_limit_name, 'max', p_max))
$$;
COMMENT ON FUNCTION nebula.record_rate_refusal(text, integer, uuid, inet) IS
  'Internal: records that a rate limit has refused a call';

CREATE FUNCTION nebula.take_from_rate(
  p_gateway nebula.proven_gateway, p_limit_name text, p_subject text, p_wanted integer, p_max integer,
  p_window interval, p_account_id uuid DEFAULT NULL, p_client inet DEFAULT NULL,
  OUT taken integer, OUT rest_seconds double precision
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_now    CONSTANT timestamptz := clock_timestamp();
  v_window nebula.rate_window;
BEGIN
  -- Makes the window or locks it.
  INSERT INTO nebula.rate_window AS w (limit_name, subject, ends_at)
  VALUES (p_limit_name, p_subject, v_now + p_window)
  ON CONFLICT ON CONSTRAINT rate_window_pkey DO UPDATE
     SET taken = CASE WHEN w.ends_at > v_now THEN w.taken ELSE 0 END,
         was_refused = w.was_refused AND w.ends_at > v_now,
         ends_at = CASE WHEN w.ends_at > v_now THEN w.ends_at ELSE v_now + p_window END
  RETURNING w.* INTO v_window;
  taken := least(p_wanted, greatest(p_max - v_window.taken, 0));
  UPDATE nebula.rate_window w
     SET taken = greatest(w.taken + take_from_rate.taken, 0),
         was_refused = w.was_refused OR take_from_rate.taken = 0
   WHERE w.limit_name = p_limit_name
     AND w.subject = p_subject;
  rest_seconds := nebula.rate_rest(v_window.ends_at);
  IF taken = 0 AND NOT v_window.was_refused THEN
    PERFORM nebula.record_rate_refusal(p_limit_name, p_max, p_account_id, p_client);
  END IF;
  -- Some of those that are over, so that the table does not grow.
  DELETE FROM nebula.rate_window w
   WHERE (w.limit_name, w.subject) IN (SELECT o.limit_name, o.subject
                                         FROM nebula.rate_window o
                                        WHERE o.ends_at < v_now - interval '1 hour'
                                        ORDER BY o.ends_at
                                        LIMIT 20
                                          FOR UPDATE SKIP LOCKED);
END $$;
COMMENT ON FUNCTION nebula.take_from_rate(
  nebula.proven_gateway, text, text, integer, integer, interval, uuid, inet) IS
  'For the gateway: takes as many calls as are wanted, or are left, from the window of a rate limit; a negative number '
  'gives some back. rest_seconds: until the window ends. The first refusal in a window is an event';

CREATE FUNCTION nebula.look_at_rate(
  p_gateway nebula.proven_gateway, p_limit_name text, p_subject text, p_max integer,
  p_account_id uuid DEFAULT NULL, p_client inet DEFAULT NULL
) RETURNS double precision
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_window nebula.rate_window;
BEGIN
  SELECT w.*
    INTO v_window
    FROM nebula.rate_window w
   WHERE w.limit_name = p_limit_name
     AND w.subject = p_subject
     AND w.taken >= p_max
     AND w.ends_at > clock_timestamp();
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  UPDATE nebula.rate_window w
     SET was_refused = true
   WHERE w.limit_name = p_limit_name
     AND w.subject = p_subject
     AND NOT w.was_refused;
  IF FOUND THEN
    PERFORM nebula.record_rate_refusal(p_limit_name, p_max, p_account_id, p_client);
  END IF;
  RETURN nebula.rate_rest(v_window.ends_at);
END $$;
COMMENT ON FUNCTION nebula.look_at_rate(nebula.proven_gateway, text, text, integer, uuid, inet) IS
  'For the gateway: seconds until something can be taken from a rate limit again; 0: now. The first refusal in a '
  'window is an event';

CREATE FUNCTION nebula.forget_rate(p_gateway nebula.proven_gateway, p_limit_name text, p_subject text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  DELETE FROM nebula.rate_window w
   WHERE w.limit_name = p_limit_name
     AND w.subject = p_subject
$$;
COMMENT ON FUNCTION nebula.forget_rate(nebula.proven_gateway, text, text) IS
  'For the gateway: lets a subject begin anew, such as a visitor who gave the right password in the end';
