-- The decision how a file is played is the gateway's; what it is made from, and its record, are here.

CREATE FUNCTION nebula.playback_source(p_actor nebula.proven_account, p_file_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file := nebula.require_file(p_actor, p_file_id);
BEGIN
  RETURN (SELECT jsonb_build_object(
                   'isMedia', c.job_id IS NOT NULL, 'contentType', c.content_type, 'original', c.media -> 'original',
                   'web', w.detail, 'isStreamed', EXISTS (SELECT FROM nebula.playable_variants(p_actor, p_file_id)))
            FROM nebula.content c
            LEFT JOIN nebula.rendition w ON w.content_id = c.content_id AND w.kind = 'web'
           WHERE c.content_id = v_file.content_id);
END $$;
COMMENT ON FUNCTION nebula.playback_source(nebula.proven_account, uuid) IS
  'For the gateway: what the upload is, as its worker found it, and what was made from it. Errors: P0002 no such file';

CREATE FUNCTION nebula.record_playback(
  p_actor nebula.proven_account, p_file_id uuid, p_decision text, p_rendition text, p_reasons text[],
  p_program text DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  DELETE FROM nebula.playback p WHERE p.account_id = p_actor AND p.decided_at < now() - interval '30 days';
  INSERT INTO nebula.playback (file_id, account_id, decision, rendition, reasons, program)
  VALUES (p_file_id, p_actor, p_decision, p_rendition, p_reasons, left(p_program, 200))
  ON CONFLICT ON CONSTRAINT playback_account_file_key DO UPDATE
     SET decision = EXCLUDED.decision,
         rendition = EXCLUDED.rendition,
         reasons = EXCLUDED.reasons,
         program = EXCLUDED.program,
         decided_at = now();
$$;
COMMENT ON FUNCTION nebula.record_playback(nebula.proven_account, uuid, text, text, text[], text) IS
  'For the gateway: records how a file is played, in place of the decision before; those of the account that are older '
  'than 30 days are deleted';
