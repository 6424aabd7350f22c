//! Values that an index scan compares.
#![expect(unsafe_code, reason = "scan keys are C structures")]

use std::net::IpAddr;
use std::num::NonZeroUsize;

use pgrx::Uuid;
use pgrx::prelude::*;

use super::relation::OpenRelation;
use crate::pg::datum::inet::Host;
use crate::pg::error::{Error, Result};

/// A value, its type, and the functions of the type's default operator class that compare it.
#[derive(Clone, Copy)]
pub(crate) struct KeyValue {
    datum: pg_sys::Datum,
    /// Compares equal to NULL, as by IS NULL.
    is_null: bool,
    comparable: &'static Comparable,
}

/// A type and its functions in the order of [`Comparison`].
struct Comparable {
    type_oid: pg_sys::Oid,
    functions: [u32; 4],
}

/// How a scan key compares a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    GreaterOrEqual,
    LessOrEqual,
    /// As one column of a row comparison `(c, d, …) >= (…)`: by the function that returns less, equal or
    /// greater.
    Order,
}

impl Comparison {
    fn strategy(self) -> u32 {
        match self {
            Self::Equal => pg_sys::BTEqualStrategyNumber,
            Self::GreaterOrEqual | Self::Order => pg_sys::BTGreaterEqualStrategyNumber,
            Self::LessOrEqual => pg_sys::BTLessEqualStrategyNumber,
        }
    }
}

macro_rules! comparable {
    ($type_oid:ident, $equal:ident, $greater_or_equal:ident, $less_or_equal:ident, $order:ident) => {{
        static COMPARABLE: Comparable = Comparable {
            type_oid: pg_sys::$type_oid,
            functions: [pg_sys::$equal, pg_sys::$greater_or_equal, pg_sys::$less_or_equal, pg_sys::$order],
        };
        &COMPARABLE
    }};
}

impl KeyValue {
    /// A `bigint`.
    pub(crate) fn bigint(value: i64) -> Self {
        let comparable = comparable!(INT8OID, F_INT8EQ, F_INT8GE, F_INT8LE, F_BTINT8CMP);
        Self { datum: value.into(), is_null: false, comparable }
    }

    /// An `integer`.
    pub(crate) fn integer(value: i32) -> Self {
        let comparable = comparable!(INT4OID, F_INT4EQ, F_INT4GE, F_INT4LE, F_BTINT4CMP);
        Self { datum: value.into(), is_null: false, comparable }
    }

    /// A `timestamptz`, in PostgreSQL's microseconds.
    pub(crate) fn timestamp(value: i64) -> Self {
        let comparable = comparable!(
            TIMESTAMPTZOID,
            F_TIMESTAMPTZ_EQ,
            F_TIMESTAMPTZ_GE,
            F_TIMESTAMPTZ_LE,
            F_TIMESTAMPTZ_CMP
        );
        Self { datum: value.into(), is_null: false, comparable }
    }

    /// A `text`, allocated in the current memory context.
    pub(crate) fn text(value: &str) -> Self {
        let comparable = comparable!(TEXTOID, F_TEXTEQ, F_TEXT_GE, F_TEXT_LE, F_BTTEXTCMP);
        Self { datum: value.into_datum().unwrap_or_else(pg_sys::Datum::null), is_null: false, comparable }
    }

    /// A `uuid`, allocated in the current memory context.
    pub(crate) fn uuid(value: Uuid) -> Result<Self> {
        let comparable = comparable!(UUIDOID, F_UUID_EQ, F_UUID_GE, F_UUID_LE, F_UUID_CMP);
        let datum = value.into_datum().ok_or_else(|| Error::corrupt_schema("identifier"))?;
        Ok(Self { datum, is_null: false, comparable })
    }

    /// An `inet`, allocated in the current memory context.
    pub(crate) fn inet(value: IpAddr) -> Result<Self> {
        let comparable = comparable!(INETOID, F_NETWORK_EQ, F_NETWORK_GE, F_NETWORK_LE, F_NETWORK_CMP);
        let datum = Host(value).into_datum().ok_or_else(|| Error::corrupt_schema("address"))?;
        Ok(Self { datum, is_null: false, comparable })
    }

    /// IS NULL, of a column of type `uuid`.
    pub(crate) fn no_uuid() -> Result<Self> {
        Ok(Self { is_null: true, ..Self::uuid(Uuid::from_bytes([0; 16]))? })
    }

    pub(super) fn type_oid(&self) -> pg_sys::Oid {
        self.comparable.type_oid
    }

    /// The scan key that compares a column of a table, numbered from 1, for `systable_beginscan`.
    pub(super) fn column_key(&self, column: NonZeroUsize, how: Comparison) -> pg_sys::ScanKeyData {
        // SAFETY: all-zero is a valid key to initialise; the function exists in every server.
        unsafe {
            let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
            pg_sys::ScanKeyInit(
                &mut key,
                column.get() as i16,
                how.strategy() as u16,
                self.comparable.functions[how as usize].into(),
                self.datum,
            );
            key
        }
    }

    /// The scan key that compares a column of an index, numbered from 0, with this value.
    ///
    /// # Safety
    /// The index has that column, of this value's type.
    pub(super) unsafe fn scan_key(
        &self,
        index: &OpenRelation,
        flags: u32,
        column: usize,
        how: Comparison,
    ) -> pg_sys::ScanKeyData {
        // SAFETY: as the caller promises; an index has a collation for each of its columns, and all-zero is a
        // valid key to initialise.
        unsafe {
            let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
            if self.is_null {
                pg_sys::ScanKeyEntryInitialize(
                    &mut key,
                    (flags | pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL).cast_signed(),
                    column as i16 + 1,
                    0, // InvalidStrategy: IS NULL is none of the operator class.
                    pg_sys::InvalidOid,
                    pg_sys::InvalidOid,
                    pg_sys::InvalidOid,
                    pg_sys::Datum::null(),
                );
                return key;
            }
            pg_sys::ScanKeyEntryInitialize(
                &mut key,
                flags.cast_signed(),
                column as i16 + 1,
                how.strategy() as u16,
                pg_sys::InvalidOid,
                *(*index.0).rd_indcollation.add(column),
                self.comparable.functions[how as usize].into(),
                self.datum,
            );
            key
        }
    }
}
