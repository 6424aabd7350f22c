-- The common self-made queue: one table, a partial index, SKIP LOCKED.
CREATE SCHEMA baseline;
CREATE TABLE baseline.job (
  id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  priority  integer     NOT NULL DEFAULT 0,
  run_at    timestamptz NOT NULL DEFAULT now(),
  running   boolean     NOT NULL DEFAULT false,
  payload   jsonb       NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX job_claim_idx ON baseline.job (priority DESC, run_at, id) WHERE NOT running;
