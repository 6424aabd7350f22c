//! What claims answer: all jobs at once.
//!
//! The iterators that other functions answer with read the description of the answer anew in each call, and are called
//! once more to hear that there is nothing left. Together that took a tenth of a claim.
#![expect(unsafe_code, reason = "the store that the server takes rows from is a C interface")]

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

use super::claim_rows::Claimed;

/// Claimed jobs, as SQL sees them.
pub(super) struct Jobs(pub(super) Vec<Claimed>);

// SAFETY: the rows have the columns of the table that SqlTranslatable names.
unsafe impl BoxRet for Jobs {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: the call is the one at hand. The server makes the store in memory that lasts as long as it reads from it,
        // or says that it wants no rows here; what is put there is copied.
        unsafe {
            let call = fcinfo.as_mut_ptr();
            pg_sys::InitMaterializedSRF(call, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
            let answer = &*(*call).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            for job in self.0 {
                let row = job.into_values();
                let mut nulls = row.map(|value| value.is_none());
                let mut values = row.map(|value| value.unwrap_or_else(pg_sys::Datum::null));
                let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::tuplestore_putvalues(answer.setResult, answer.setDesc, values, nulls);
            }
        }
        fcinfo.return_null()
    }
}

// SAFETY: names what the rows above have.
unsafe impl SqlTranslatable for Jobs {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Jobs);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Err(ArgumentError::NotValidAsArgument("Jobs"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::literal(
        "TABLE (job_id bigint, kind text, payload jsonb, attempt integer, lease_until timestamptz)",
    )));
}
