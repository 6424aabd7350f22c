-- How many rows of a kind there may be whose bytes no quota counts, so that no account can fill the database.
CREATE FUNCTION nebula.row_limit(p_use text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_use
         WHEN 'uploads' THEN 1000   -- uploads of an account that have begun and not ended
         WHEN 'links' THEN 10000    -- share links of an account
         WHEN 'invitations' THEN 1000  -- invitations into a project, and of accounts
         WHEN 'tokens' THEN 100     -- personal tokens of an account
         WHEN 'files' THEN 1000000  -- files of a project, also those in the trash
       END;
COMMENT ON FUNCTION nebula.row_limit(text) IS 'Internal: how many rows of a kind there may be at a time';
