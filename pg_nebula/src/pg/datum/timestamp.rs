//! `timestamptz` as PostgreSQL stores it.
//!
//! Unlike pgrx's type it is a plain number: positions in the queue are compared by it, to the microsecond and
//! with the infinities at the ends, without conversion to a calendar date.
#![expect(unsafe_code, reason = "conversion to and from a datum")]

use std::ffi::CString;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::direct_function_call;
use pgrx::nullable::Nullable;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::{FromDatum, Interval, IntoDatum};

use crate::pg::error::{Error, Result};

/// Microseconds since 2000-01-01 00:00 UTC; `i64::MIN` and `i64::MAX` are the infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(pub(crate) i64);

impl FromDatum for Timestamp {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        (!is_null).then(|| Self(datum.value() as i64))
    }
}

impl IntoDatum for Timestamp {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TIMESTAMPTZOID
    }
}

// SAFETY: the argument's SQL type is timestamptz (see SqlTranslatable), which is what FromDatum reads.
unsafe impl<'fcx> ArgAbi<'fcx> for Timestamp {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises an argument that is not null.
        unsafe { arg.unbox_arg_using_from_datum() }.expect("the caller checked for NULL")
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: NULL is handled by FromDatum.
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}

// SAFETY: the datum returned is a timestamptz, which is passed by value.
unsafe impl BoxRet for Timestamp {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: a datum of the declared type.
        unsafe { fcinfo.return_raw_datum(pg_sys::Datum::from(self.0)) }
    }
}

// SAFETY: names an SQL type that exists in every database and that the conversions above implement.
unsafe impl SqlTranslatable for Timestamp {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Timestamp);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: std::result::Result<SqlMappingRef, ArgumentError> =
        Ok(SqlMappingRef::literal("timestamptz"));
    const RETURN_SQL: std::result::Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("timestamptz")));
}

/// `$1 + $2`: months and days are those of the calendar in the session's time zone.
pub(crate) fn later(timestamp: Timestamp, interval: Interval) -> Result<Timestamp> {
    // SAFETY: the function takes a timestamptz and an interval, and raises an error when the sum is out of
    // range.
    let later = unsafe {
        direct_function_call(
            pg_sys::timestamptz_pl_interval,
            &[timestamp.into_datum(), interval.into_datum()],
        )
    };
    later.ok_or_else(|| Error::corrupt_schema("timestamp"))
}

/// Whether the server has a time zone of this name.
pub(crate) fn is_time_zone(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: reads a C string; returns null for an unknown name.
    !unsafe { pg_sys::pg_tzset(name.as_ptr()) }.is_null()
}

/// The length of an interval, where a month counts as 30 days, as PostgreSQL compares intervals.
pub(crate) fn microseconds(interval: Interval) -> i128 {
    let days = i128::from(interval.months()) * 30 + i128::from(interval.days());
    days * 86_400_000_000 + i128::from(interval.micros())
}
