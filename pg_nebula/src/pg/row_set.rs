//! Results of set-returning functions: all rows at once, in a tuplestore.
//!
//! pgrx's iterators read the description of the result again for each row, and are called once more to say
//! that there are no more rows. For a claim of jobs that was a tenth of its time.
#![expect(unsafe_code, reason = "the store that the server takes rows from is a C interface")]

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

/// A row of a result with N columns.
pub(crate) trait ResultRow<const N: usize> {
    /// `TABLE (…)` with the columns, as CREATE FUNCTION has it.
    const RETURNS: &'static str;
    /// Name of the Rust type for pgrx: `pgrx_resolved_type!(Self)`.
    const TYPE_IDENT: &'static str;

    /// Values of the types that [`ResultRow::RETURNS`] names.
    fn into_values(self) -> [Option<pg_sys::Datum>; N];
}

/// All rows of a result.
pub(crate) struct RowSet<R, const N: usize>(pub(crate) Vec<R>);

// SAFETY: the rows have the columns that SqlTranslatable names, as ResultRow promises.
unsafe impl<R: ResultRow<N>, const N: usize> BoxRet for RowSet<R, N> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: fcinfo is that of the current call. The server creates the tuplestore in memory that lasts
        // until it has read it, or raises an error where a set is not allowed; rows are copied into it.
        unsafe {
            let call = fcinfo.as_mut_ptr();
            pg_sys::InitMaterializedSRF(call, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
            let result = &*(*call).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            for row in self.0 {
                let row = row.into_values();
                let mut nulls = row.map(|value| value.is_none());
                let mut values = row.map(|value| value.unwrap_or_else(pg_sys::Datum::null));
                let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::tuplestore_putvalues(result.setResult, result.setDesc, values, nulls);
            }
        }
        fcinfo.return_null()
    }
}

// SAFETY: names the columns of the rows, as ResultRow promises.
unsafe impl<R: ResultRow<N>, const N: usize> SqlTranslatable for RowSet<R, N> {
    const TYPE_IDENT: &'static str = R::TYPE_IDENT;
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        Err(ArgumentError::NotValidAsArgument("RowSet"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal(R::RETURNS)));
}
