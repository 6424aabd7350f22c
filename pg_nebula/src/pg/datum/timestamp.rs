//! `timestamptz` as PostgreSQL keeps it.
//!
//! Places in the queue are compared to the microsecond, with infinity on either side; calendars play no part.
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

/// Microseconds since the start of the year 2000 in UTC; the least and the greatest are the infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(pub(crate) i64);

impl FromDatum for Instant {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        (!is_null).then(|| Self(datum.value() as i64))
    }
}

impl IntoDatum for Instant {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self.0))
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TIMESTAMPTZOID
    }
}

// SAFETY: the argument's SQL type is timestamptz (see SqlTranslatable), which is what FromDatum reads.
unsafe impl<'fcx> ArgAbi<'fcx> for Instant {
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
unsafe impl BoxRet for Instant {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: a datum of the declared type.
        unsafe { fcinfo.return_raw_datum(pg_sys::Datum::from(self.0)) }
    }
}

// SAFETY: names an SQL type that exists in every database and that the conversions above implement.
unsafe impl SqlTranslatable for Instant {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Instant);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: std::result::Result<SqlMappingRef, ArgumentError> =
        Ok(SqlMappingRef::literal("timestamptz"));
    const RETURN_SQL: std::result::Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("timestamptz")));
}

/// The instant an interval later, on the calendar of the session's time zone.
pub(crate) fn later(instant: Instant, interval: Interval) -> Result<Instant> {
    // SAFETY: the function takes a timestamptz and an interval, and fails where there is no such time.
    let later = unsafe {
        direct_function_call(pg_sys::timestamptz_pl_interval, &[instant.into_datum(), interval.into_datum()])
    };
    later.ok_or_else(|| Error::corrupt_schema("point in time"))
}

/// Whether the server knows a time zone of this name.
pub(crate) fn is_time_zone(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: reads a C string; answers null for what it does not know.
    !unsafe { pg_sys::pg_tzset(name.as_ptr()) }.is_null()
}

/// Whether an interval is longer than zero, as PostgreSQL compares them: a month has thirty days.
pub(crate) fn is_positive(interval: Interval) -> bool {
    let days = i128::from(interval.months()) * 30 + i128::from(interval.days());
    days * 86_400_000_000 + i128::from(interval.micros()) > 0
}
