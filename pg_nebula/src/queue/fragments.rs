//! Parts of SQL statements that several of them share, as macros because `concat!` takes literals only.

/// The columns that a job has in nebula.job_waiting, job_running and job_finished alike; this is the only
/// list of them.
///
/// `job_columns!()` is the list for SQL. In the SELECT of a statement that moves jobs, columns can be
/// replaced by expressions, given in the order of the columns: `job_columns!(attempt = "attempt + 1")`.
/// `job_columns!(as list)` calls the macro `list!` with the names.
macro_rules! job_columns {
    (@list $list:ident
        $(run_at = $run_at:expr,)?
        $(attempt = $attempt:expr,)?
        $(max_attempts = $max_attempts:expr,)?
        $(errors = $errors:expr,)?
    ) => {
        $list!(
            "job_id",
            "kind",
            "payload",
            "project_id",
            "priority",
            job_columns!(@either "run_at" $(, $run_at)?),
            job_columns!(@either "attempt" $(, $attempt)?),
            job_columns!(@either "max_attempts" $(, $max_attempts)?),
            "on_dead",
            "node_id",
            "capability",
            "unique_key",
            job_columns!(@either "errors" $(, $errors)?),
            "enqueued_at"
        )
    };
    (@either $name:literal) => { $name };
    (@either $name:literal, $expression:expr) => { $expression };
    (as $list:ident) => { job_columns!(@list $list) };
    ($($column:ident = $expression:expr),*) => { job_columns!(@list sql_list $($column = $expression,)*) };
}

/// Names or expressions with commas between them.
macro_rules! sql_list {
    ($first:expr $(, $next:expr)*) => { concat!($first $(, ", ", $next)*) };
}

/// The columns of nebula.job_waiting that `Position::read` reads, from the first on.
macro_rules! position_columns {
    () => {
        "kind, -priority, run_at, job_id, ready, blocked_by, node_id IS NOT NULL OR capability IS NOT NULL"
    };
}

/// The columns of a row deleted from nebula.job_running that `RemovedJob::read` reads.
macro_rules! removed_columns {
    () => {
        "removed.job_id, removed.project_id, removed.unique_key, \
         CASE WHEN removed.limited THEN removed.kind END"
    };
}

/// The columns of nebula.job_running that `Attempt::read` reads.
macro_rules! attempt_columns {
    () => {
        "job_id, attempt, max_attempts, cancel_requested, random()"
    };
}

/// The errors of a job with one more, by SQL expressions for its worker and its message.
macro_rules! errors_with {
    ($worker:literal, $error:literal) => {
        concat!(
            "errors || jsonb_build_object('attempt', attempt, 'at', clock_timestamp(), 'worker', ",
            $worker,
            ", 'error', ",
            $error,
            ")"
        )
    };
}

/// The same, or the errors as they are when the parameter is null.
macro_rules! errors_with_optional {
    ($error:literal) => {
        concat!("CASE WHEN ", $error, " IS NULL THEN errors ELSE ", errors_with!("worker", $error), " END")
    };
}

/// When this server began to take writes: its start, the end of a recovery after a crash, or its promotion.
/// Null for an owner who may not see the server's processes. Evaluated only when a row asks for it.
macro_rules! writable_since {
    () => {
        "(SELECT a.backend_start FROM pg_catalog.pg_stat_get_activity(NULL) a WHERE a.backend_type = 'walwriter')"
    };
}

/// The end of a lease in nebula.job_running that was given before the server began to take writes: until then
/// nobody could renew it, so it lasts for its length once more, or a minute, whichever is less. Null for
/// other leases.
macro_rules! lease_after_outage {
    () => {
        concat!(
            "CASE WHEN started_at < ",
            writable_since!(),
            " THEN ",
            writable_since!(),
            " + least(lease, interval '1 min') END"
        )
    };
}

/// The segment of nebula.job_finished that jobs which finish now go to.
macro_rules! current_segment {
    () => {
        "(SELECT s.last_value FROM nebula.job_segment_seq s)"
    };
}

/// The condition of the index job_waiting_claim_idx besides `ready`.
macro_rules! open_condition {
    () => {
        "node_id IS NULL AND capability IS NULL"
    };
}

/// The condition of the index job_waiting_restricted_idx besides `ready`, and that the worker's node and
/// capabilities, given as parameters, fit.
macro_rules! restricted_condition {
    ($node:literal, $capabilities:literal) => {
        concat!(
            "(node_id IS NOT NULL OR capability IS NOT NULL) AND (node_id IS NULL OR node_id = ",
            $node,
            ") AND (capability IS NULL OR capability = ANY (",
            $capabilities,
            "))"
        )
    };
}
