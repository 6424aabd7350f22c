-- High-water mark and growth of pools, and when they will be full.
--   psql -f sql/admin/forecast.sql
\pset footer off
\pset null '-'

SELECT p.name AS project, f.name AS pool, f.percent_used || ' %' AS used, f.high_water AS "most ever",
       to_char(f.high_water_at, 'YYYY-MM-DD') AS "on", f.per_hour AS "+ hour", f.per_day AS "+ day",
       f.per_week AS "+ week", to_char(f.exhausted_at, 'YYYY-MM-DD HH24:MI') AS "full by"
  FROM nebula.pool_forecast() f
  JOIN nebula.project p USING (project_id)
 ORDER BY f.exhausted_at NULLS LAST, p.name, f.name;
