//! Jobs: units of background work, claimed under a lease.
//!
//! "States of a job" in `ARCHITECTURE.md` shows which function moves a job from which state to which.
//!
//! A job is a row of one of three tables: nebula.job_waiting (blocked or available), nebula.job_running,
//! nebula.job_finished. A transaction that moves the row holds its lock, so every statement sees the job in
//! exactly one of them. The number of the attempt only ever grows, and workers give it with every call: a
//! worker that has lost the job gets an error (55000) and changes nothing.
//!
//! | file | what it does |
//! |---|---|
//! | `enqueue`, `claim`, `heartbeat`, `complete`, `fail`, `rescue`, `reclaim` | SQL functions for workers |
//! | `cancel`, `retry`, `dependency`, `promote_due`, `sql_helpers` | other SQL functions |
//! | `claim_rows`, `claim_index`, `kind_limit`, `project_limit`, `policy_cache` | order, limits of claims |
//! | `after_end`, `restore_children`, `unique_key` | other rows that change when a job ends or comes back |
//! | `store` | the rows of jobs, in SQL and written directly |
//! | `new_job`, `claimed_job`, `attempt`, `removed_job`, `position`, `request` | values that `store` takes |
//!
//! The functions that workers call all the time are not SECURITY DEFINER, because changing the role takes as
//! long as their work; they become the owner only for what is left to SQL.

#[macro_use]
mod fragments;

mod after_end;
mod attempt;
pub(crate) mod cancel;
pub(crate) mod claim;
mod claim_index;
mod claim_rows;
mod claimed_job;
pub(crate) mod complete;
pub(crate) mod dependency;
pub(crate) mod enqueue;
mod error;
pub(crate) mod fail;
pub(crate) mod heartbeat;
mod kind_limit;
mod new_job;
mod policy_cache;
mod position;
mod project_limit;
pub(crate) mod promote_due;
pub(crate) mod reclaim;
mod removed_job;
mod request;
pub(crate) mod rescue;
mod restore_children;
pub(crate) mod retry;
pub(crate) mod sql_helpers;
mod store;
mod unique_key;
