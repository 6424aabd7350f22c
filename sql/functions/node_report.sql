-- Reports of agents of nodes. A report comes from another machine, so it is checked and normalised here before anything
-- reads it: lists are lists, identifiers and times can be read, and counters are so small that their sums can be kept.

CREATE FUNCTION nebula.reported_bytes(p_value jsonb) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE jsonb_typeof(p_value)
           WHEN 'number' THEN least(greatest(trunc(p_value::numeric), 0), 4611686018427387904)::bigint
           ELSE 0
         END
$$;
COMMENT ON FUNCTION nebula.reported_bytes(jsonb) IS
  'Internal: a counter of bytes in a report: from 0 to 2^62, and 0 for what is no number';

CREATE FUNCTION nebula.add_bytes(VARIADIC p_bytes bigint[]) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
  SELECT least(coalesce(sum(b), 0), 9223372036854775807)::bigint FROM unnest(p_bytes) b
$$;
COMMENT ON FUNCTION nebula.add_bytes(bigint[]) IS
  'Internal: a sum of bytes, in which null is 0; the largest bigint if it is more than that';

CREATE FUNCTION nebula.report_text(p_object jsonb, p_field text, p_length integer) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT left(regexp_replace(nebula.json_text(p_object, p_field), '[[:cntrl:]]', ' ', 'g'), p_length)
$$;
COMMENT ON FUNCTION nebula.report_text(jsonb, text, integer) IS
  'Internal: a text of a report, on one line and cut to a length. Errors: 22023';

-- A handshake is not later than now; one that no person can mean is none.
CREATE FUNCTION nebula.report_seen(p_seen jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'peerId', nebula.json_uuid(e, 'peerId'),
                    'handshakeAt', CASE WHEN nebula.is_time(h.at) THEN least(h.at, clock_timestamp()) END,
                    'endpoint', left(regexp_replace(nebula.json_text(e, 'endpoint'), '[^0-9a-fA-F.:%\[\]]', '', 'g'),
                                     60),
                    'receivedBytes', nebula.reported_bytes(e -> 'receivedBytes'),
                    'sentBytes', nebula.reported_bytes(e -> 'sentBytes'))), '[]')
    FROM jsonb_array_elements(p_seen) e
   CROSS JOIN LATERAL (SELECT nebula.json_text(e, 'handshakeAt')::timestamptz AS at) h
$$;
COMMENT ON FUNCTION nebula.report_seen(jsonb) IS
  'Internal: what an agent has seen of peers, normalised. Errors: 22023, and those of times that cannot be read';

CREATE FUNCTION nebula.report_drift(p_drift jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_wrong jsonb := (SELECT e
                      FROM jsonb_array_elements(p_drift) e
                     WHERE (e ->> 'publicKey' ~ '^[A-Za-z0-9+/]{43}=$') IS NOT TRUE
                        OR (e ->> 'kind' IN ('unknown', 'missing', 'allowedIps', 'presharedKey')) IS NOT TRUE
                     LIMIT 1);
BEGIN
  IF v_wrong IS NOT NULL THEN
    PERFORM nebula.refuse_field('drift', v_wrong, 'Give publicKey, kind and allowedIps of each difference.');
  END IF;
  RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object(
                            'publicKey', e -> 'publicKey', 'kind', e -> 'kind',
                            'allowedIps', (SELECT coalesce(jsonb_agg(nebula.read_inet('allowedIps', a)), '[]')
                                             FROM unnest((nebula.json_texts(e, 'allowedIps'))[:20]) a))), '[]')
            FROM jsonb_array_elements(p_drift) WITH ORDINALITY AS d(e, ordinal)
           WHERE d.ordinal <= 1000);
END $$;
COMMENT ON FUNCTION nebula.report_drift(jsonb) IS
  'Internal: the first 1000 differences that an agent reports, normalised. Errors: 22023';

CREATE FUNCTION nebula.report_interface(p_interface jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN jsonb_build_object(
    'interfaceId', nebula.json_uuid(p_interface, 'interfaceId'),
    'generation', coalesce(nebula.json_integer(p_interface, 'generation', 0, 9223372036854775807), 0),
    'publicKey', encode(nebula.wireguard_key(nebula.json_text(p_interface, 'publicKey')), 'base64'),
    'error', nullif(nebula.report_text(p_interface, 'error', 500), ''),
    'failed', (SELECT coalesce(
                        jsonb_agg(jsonb_build_object(
                          'peerId', nebula.json_uuid(e, 'peerId'),
                          'reason', coalesce(nullif(nebula.report_text(e, 'reason', 300), ''), 'no reason'))), '[]')
                 FROM jsonb_array_elements(nebula.json_list(p_interface, 'failed', 'object')) e),
    'counters', nebula.json_uuid(p_interface, 'counters'),
    'seen', nebula.report_seen(nebula.json_list(p_interface, 'seen', 'object')),
    'drift', nebula.report_drift(nebula.json_list(p_interface, 'drift', 'object')));
END $$;
COMMENT ON FUNCTION nebula.report_interface(jsonb) IS
  'Internal: what an agent reports of an interface, normalised. Errors: 22023, and those of times that cannot be read';

-- Fields that are not known are left out: the agent may be of a later release.
CREATE FUNCTION nebula.node_report(p_report jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_detail text;
  v_hint   text;
BEGIN
  IF jsonb_typeof(p_report) IS DISTINCT FROM 'object' THEN
    PERFORM nebula.refuse_field('a report', p_report, 'Give an object of epoch, interfaces and obstacles.');
  END IF;
  RETURN jsonb_build_object(
    'epoch', nebula.json_uuid(p_report, 'epoch'),
    'obstacles', (SELECT coalesce(jsonb_agg(left(regexp_replace(o, '[[:cntrl:]]', ' ', 'g'), 500)), '[]')
                    FROM unnest((nebula.json_texts(p_report, 'obstacles'))[:20]) o),
    'interfaces', (SELECT coalesce(jsonb_agg(nebula.report_interface(e)), '[]')
                     FROM jsonb_array_elements(nebula.json_list(p_report, 'interfaces', 'object')) e));
EXCEPTION
  WHEN data_exception THEN
    GET STACKED DIAGNOSTICS v_detail = MESSAGE_TEXT, v_hint = PG_EXCEPTION_HINT;
    IF v_hint <> '' THEN
      RAISE;
    END IF;
    RAISE EXCEPTION 'the report of a node is malformed: %', left(v_detail, 120)
      USING ERRCODE = '22023', HINT = 'Update nebulactl on the node.';
END $$;
COMMENT ON FUNCTION nebula.node_report(jsonb) IS
  'Internal: a report of the agent of a node (NodeReport) in which every field has its type, and no list is null. '
  'Errors: 22023 malformed';
