//! Addresses as `inet` values in their binary form: the way through text costs as much as an index look-up.
#![expect(unsafe_code, reason = "values of variable length are C pointers")]

use std::net::IpAddr;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;
use pgrx::{Inet, varlena};

use nebula_core::address::{Family, Network};

use crate::pg::error::{Error, Result};

/// Family byte of an IPv4 address in `inet`'s binary form.
const PGSQL_AF_INET: u8 = 2;
/// Family byte of an IPv6 address.
const PGSQL_AF_INET6: u8 = 3;

/// An address that SQL sees as `inet` with a full prefix length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host(pub(crate) IpAddr);

impl Host {
    /// The address in an `inet` value.
    ///
    /// # Safety
    /// `value` is a valid `inet`.
    pub(crate) unsafe fn read(value: pg_sys::Datum) -> Self {
        // SAFETY: inet is never compressed nor out of line, and is family, prefix length, address in network
        // order.
        let bytes = unsafe { varlena::varlena_to_byte_slice(value.cast_mut_ptr()) };
        let (family, length) = if bytes[0] == PGSQL_AF_INET { (Family::V4, 4) } else { (Family::V6, 16) };
        let number = bytes[2..2 + length].iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
        Self(family.address(number))
    }
}

impl FromDatum for Host {
    unsafe fn from_polymorphic_datum(value: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        // SAFETY: the caller promises a value of this type.
        (!is_null).then(|| unsafe { Self::read(value) })
    }
}

impl IntoDatum for Host {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let (family, bytes) = match &self.0 {
            IpAddr::V4(address) => (PGSQL_AF_INET, address.octets().to_vec()),
            IpAddr::V6(address) => (PGSQL_AF_INET6, address.octets().to_vec()),
        };
        let size = pg_sys::VARHDRSZ + 2 + bytes.len();
        // SAFETY: the allocation is as long as what is written, and aligned for the header.
        unsafe {
            let value = pg_sys::palloc(size).cast::<u8>();
            varlena::set_varsize_4b(value.cast(), i32::try_from(size).ok()?);
            value.add(pg_sys::VARHDRSZ).write(family);
            value.add(pg_sys::VARHDRSZ + 1).write(u8::try_from(bytes.len() * 8).ok()?);
            value.add(pg_sys::VARHDRSZ + 2).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            Some(value.into())
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::INETOID
    }
}

// SAFETY: the value is what `inet` is in memory.
unsafe impl BoxRet for Host {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: as above; the value lives in the memory context of the call.
            Some(value) => unsafe { fcinfo.return_raw_datum(value) },
            None => fcinfo.return_null(),
        }
    }
}

// SAFETY: SQL sees an `inet`, which is what `into_datum` makes.
unsafe impl SqlTranslatable for Host {
    const TYPE_IDENT: &'static str = <Inet as SqlTranslatable>::TYPE_IDENT;
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: std::result::Result<SqlMappingRef, ArgumentError> =
        Ok(SqlMappingRef::literal("inet"));
    const RETURN_SQL: std::result::Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("inet")));
}

/// The address and prefix length in an `inet`.
pub(crate) fn network(inet: &Inet) -> Result<Network> {
    inet.0.parse().map_err(|()| Error::corrupt_schema("address"))
}

/// The network in an argument that must be one, not a host in it.
///
/// # Errors
/// [`Kind::BadArgument`](crate::pg::error::Kind::BadArgument) when host bits are set.
pub(crate) fn checked_cidr(cidr: &Inet) -> Result<Network> {
    let network = network(cidr)?;
    let truncated = network.truncated();
    if network == truncated {
        return Ok(network);
    }
    Err(Error::bad_argument(
        format!("{network} is an address in a network, not a network"),
        format!("The network is {truncated}, the address alone {}.", network.address),
    ))
}
