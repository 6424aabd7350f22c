//! `jsonb` as bytes that are not parsed.
//!
//! Payloads only pass through; parsing their numbers into 64 bits would silently change large ones.
#![expect(unsafe_code, reason = "reading and writing a varlena needs raw pointers")]

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, UnboxDatum};
use pgrx::nullable::Nullable;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::{FromDatum, IntoDatum};

/// The bytes of a `jsonb` value, header included.
#[derive(Clone, Debug)]
pub(crate) struct Jsonb(Vec<u8>);

impl Jsonb {
    /// `[]`: the header of a varlena, then that of an array without elements.
    pub(crate) fn empty_array() -> Self {
        const ARRAY: u32 = 0x4000_0000;
        let length = 8_u32 << 2;
        Self([length.to_le_bytes(), ARRAY.to_le_bytes()].concat())
    }

    /// Size in bytes before compression.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromDatum for Jsonb {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: a jsonb datum that is not null points to a varlena; its detoasted form is VARSIZE bytes
        // long.
        let bytes = unsafe {
            let original: *mut pg_sys::varlena = datum.cast_mut_ptr();
            let flat = pg_sys::pg_detoast_datum(original);
            let bytes = std::slice::from_raw_parts(flat.cast::<u8>(), pgrx::varsize_any(flat)).to_vec();
            if flat != original {
                pg_sys::pfree(flat.cast());
            }
            bytes
        };
        Some(Self(bytes))
    }
}

impl IntoDatum for Jsonb {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        // SAFETY: palloc returns that many writable bytes, aligned for any type, or raises an error.
        unsafe {
            let copy = pg_sys::palloc(self.0.len());
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), copy.cast::<u8>(), self.0.len());
            Some(pg_sys::Datum::from(copy))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

// SAFETY: the argument's SQL type is jsonb (see SqlTranslatable), which is what FromDatum reads.
unsafe impl<'fcx> ArgAbi<'fcx> for Jsonb {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the caller promises an argument that is not null.
        unsafe { arg.unbox_arg_using_from_datum() }.expect("the caller checked for NULL")
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: NULL is handled by FromDatum.
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}

// SAFETY: an element of an array of jsonb is what FromDatum reads.
unsafe impl UnboxDatum for Jsonb {
    type As<'src> = Self;

    unsafe fn unbox<'src>(datum: Datum<'src>) -> Self::As<'src>
    where
        Self: 'src,
    {
        // SAFETY: the caller promises an element that is not null.
        unsafe { Self::from_datum(datum.sans_lifetime(), false) }.expect("the caller checked for NULL")
    }
}

// SAFETY: the datum returned is a palloc'd jsonb.
unsafe impl BoxRet for Jsonb {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: a datum of the declared type.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

// SAFETY: names an SQL type that exists in every database and that the conversions above implement.
unsafe impl SqlTranslatable for Jsonb {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(Jsonb);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("jsonb"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(SqlMappingRef::literal("jsonb")));
}
