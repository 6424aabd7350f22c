//! Addresses that the device of a request holds already, or may get back from quarantine.

use std::net::IpAddr;

use nebula_core::address::Family;
use pgrx::Uuid;

use super::request::Request;
use crate::pg::datum::inet::{Host, network};
use crate::pg::error::{Error, Kind, Result};
use crate::pg::statement::{Row, Statement};
use crate::pools::pool::{Pool, Purpose};

/// A row of nebula.allocation of the device.
pub(super) struct HeldAddress {
    project: Uuid,
    pool: String,
    address: IpAddr,
    pub(super) in_quarantine: bool,
    purpose: Purpose,
}

/// The row that answers the request, if there is one: a held address, or one in quarantine.
///
/// # Errors
/// [`Kind::Exists`] when the device holds an address in another project, or the identifier is that of a peer;
/// [`Kind::WrongState`] when it holds another address of the family than the request asks for.
pub(super) fn find(request: &Request<'_>, pools: &[Pool]) -> Result<Option<HeldAddress>> {
    // A device has a handful of rows at most, found by index.
    static ROWS: Statement = Statement::new(
        "SELECT a.project_id, l.name, a.ip, false, l.purpose = 'peer'
           FROM nebula.allocation a JOIN nebula.pool l USING (pool_id)
          WHERE a.device_id = $1 AND a.released_at IS NULL
         UNION ALL
         (SELECT a.project_id, l.name, a.ip, true, l.purpose = 'peer'
            FROM nebula.allocation a JOIN nebula.pool l USING (pool_id)
           WHERE a.device_id = $1 AND a.project_id = $2 AND a.quarantined_until IS NOT NULL
           ORDER BY a.released_at DESC)",
    );
    let rows = ROWS.query(&[request.device.into(), request.project.into()], HeldAddress::read)?;
    if let Some(elsewhere) = rows.iter().find(|row| !row.in_quarantine && row.project != request.project) {
        return Err(self::elsewhere(request.device, elsewhere.project, elsewhere.address));
    }
    if let Some(other) = rows.iter().find(|row| !row.in_quarantine && row.purpose != request.purpose) {
        let (is, other_is) = match request.purpose {
            Purpose::Device => ("a peer", "device"),
            Purpose::Peer => ("a device", "peer"),
        };
        return Err(Error::new(
            Kind::Exists,
            format!("{} is {is} and holds {} as such", request.device, other.address),
            format!("Use another identifier for the {other_is}."),
        ));
    }
    // A device holds one address of each family. A request that implies no family is answered by either.
    let family = request
        .family
        .or_else(|| request.address.map(Family::of))
        .or_else(|| request.pool.and_then(|_| pools.first()).map(|pool| pool.network.family()));
    let mut held = None;
    let mut in_quarantine = None;
    for row in rows.into_iter().filter(|row| family.is_none_or(|family| family == Family::of(row.address))) {
        if row.in_quarantine {
            in_quarantine = in_quarantine.or(Some(row).filter(|row| row.matches(request)));
        } else {
            held = held.or(Some(row));
        }
    }
    match held {
        Some(held) if !held.matches(request) => Err(Error::new(
            Kind::WrongState,
            format!("device {} holds {} from pool \"{}\"", request.device, held.address, held.pool),
            "Release that address first: SELECT nebula.release_ip(device_id).",
        )),
        None => Ok(in_quarantine),
        held => Ok(held),
    }
}

/// The error for a device that holds an address in another project.
pub(super) fn elsewhere(device: Uuid, project: Uuid, address: IpAddr) -> Error {
    Error::new(
        Kind::Exists,
        format!("device {device} holds {address} in project {project}"),
        "Release it there first: SELECT nebula.release_ip(device_id).",
    )
}

impl HeldAddress {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            project: row.need(1)?,
            pool: row.need(2)?,
            address: network(&row.need(3)?)?.address,
            in_quarantine: row.need(4)?,
            purpose: if row.need(5)? { Purpose::Peer } else { Purpose::Device },
        })
    }

    /// Whether it has the address and the pool that the request asks for.
    fn matches(&self, request: &Request<'_>) -> bool {
        request.address.is_none_or(|address| address == self.address)
            && request.pool.is_none_or(|pool| pool == self.pool)
    }

    /// Confirms a held address, with a new lease if the request has one. `None`: it was released meanwhile.
    pub(super) fn confirm(&self, request: &Request<'_>) -> Result<Option<IpAddr>> {
        // The lock makes a release wait, so that it sees a certificate that this transaction signs for the
        // address.
        static LOCK: Statement = Statement::new(
            "SELECT FROM nebula.allocation
              WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NULL
                FOR SHARE",
        );
        static RENEW: Statement = Statement::new(
            "UPDATE nebula.allocation SET lease_until = now() + $4
              WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NULL RETURNING ip",
        );
        let (project, ip, device) =
            (request.project.into(), Host(self.address).into(), request.device.into());
        let is_held = match request.lease {
            Some(lease) => RENEW.exists(&[project, ip, device, lease.into()])?,
            None => LOCK.exists(&[project, ip, device])?,
        };
        Ok(is_held.then_some(self.address))
    }

    /// Takes the address out of quarantine for its device. `None`: another session changed the row meanwhile.
    pub(super) fn end_quarantine(&self, request: &Request<'_>) -> Result<Option<IpAddr>> {
        static ALLOCATE_AGAIN: Statement = Statement::new(
            "UPDATE nebula.allocation
                SET released_at = NULL, quarantined_until = NULL, allocated_at = now(),
                    allocated_by = coalesce($4, session_user::text), lease_until = now() + $5,
                    client = coalesce($6, inet_client_addr())
              WHERE project_id = $1 AND ip = $2 AND device_id = $3 AND released_at IS NOT NULL RETURNING ip",
        );
        let is_back = ALLOCATE_AGAIN.exists(&[
            request.project.into(),
            Host(self.address).into(),
            request.device.into(),
            request.allocated_by.into(),
            request.lease.into(),
            request.client.clone().into(),
        ])?;
        Ok(is_back.then_some(self.address))
    }
}
