//! The result of claims: all rows at once, in a tuplestore.
//!
//! pgrx's iterators read the description of the result again for each row, and are called once more to say that there
//! are no more rows. Together that took a tenth of the time of a claim.
#![expect(unsafe_code, reason = "the store that the server takes rows from is a C interface")]

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

use super::claimed_job::ClaimedJob;

/// Claimed jobs, as rows of the result of claim_jobs.
pub(super) struct JobRows(pub(super) Vec<ClaimedJob>);

// SAFETY: the rows have the columns of the table that SqlTranslatable names.
unsafe impl BoxRet for JobRows {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: fcinfo is that of the current call. The server creates the tuplestore in memory that lasts until it has read
        // it, or raises an error where a set is not allowed; rows are copied into it.
        unsafe {
            let call = fcinfo.as_mut_ptr();
            pg_sys::InitMaterializedSRF(call, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
            let result = &*(*call).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            for job in self.0 {
                let row = job.into_values();
                let mut nulls = row.map(|value| value.is_none());
                let mut values = row.map(|value| value.unwrap_or_else(pg_sys::Datum::null));
                let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::tuplestore_putvalues(result.setResult, result.setDesc, values, nulls);
            }
        }
        fcinfo.return_null()
    }
}

// SAFETY: names the columns of the rows above.
unsafe impl SqlTranslatable for JobRows {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(JobRows);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        Err(ArgumentError::NotValidAsArgument("JobRows"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::literal(
        "TABLE (job_id bigint, kind text, payload jsonb, attempt integer, lease_until timestamptz)",
    )));
}
