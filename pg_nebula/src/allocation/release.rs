//! Giving an address back.

use pgrx::{Inet, Uuid};

use crate::error::{Error, Kind, Result};
use crate::link;
use crate::plan::Plan;

/// Releases all a device holds, or only `address`; answers the address, the IPv4 one if it holds two.
pub(super) fn release(
    device: Uuid,
    released_by: Option<&str>,
    address: Option<Inet>,
    client: Option<Inet>,
) -> Result<Inet> {
    // A statement of its own: who waits here for a registration must then see the certificate it recorded.
    static LOCK: Plan = Plan::new(
        "SELECT ip FROM nebula.allocation
          WHERE device_id = $1 AND released_at IS NULL AND ($2 IS NULL OR ip = $2) FOR UPDATE",
    );
    static RELEASE: Plan = Plan::new(
        "WITH valid AS (
           SELECT max(c.not_after) AS until FROM nebula.certificate c
            WHERE c.device_id = $1 AND c.revoked_at IS NULL AND c.not_after > clock_timestamp()
         ), kept AS (
           UPDATE nebula.allocation a SET released_at = now(), quarantined_until = valid.until, lease_until = NULL
             FROM valid WHERE a.device_id = $1 AND a.released_at IS NULL AND ($3 IS NULL OR a.ip = $3)
              AND valid.until IS NOT NULL
           RETURNING a.*
         ), gone AS (
           DELETE FROM nebula.allocation a USING valid
            WHERE a.device_id = $1 AND a.released_at IS NULL AND ($3 IS NULL OR a.ip = $3)
              AND valid.until IS NULL
           RETURNING a.*
         ), released AS (
           SELECT * FROM kept UNION ALL SELECT * FROM gone
         ), logged AS (
           INSERT INTO nebula.allocation_log
                  (project_id, pool_id, ip, device_id, allocated_at, allocated_by, allocated_from,
                   released_by, released_from)
           SELECT r.project_id, r.pool_id, r.ip, r.device_id, r.allocated_at, r.allocated_by, r.client,
                  coalesce($2, session_user::text), coalesce($4, inet_client_addr())
             FROM released r
         )
         SELECT ip FROM released ORDER BY family(ip)",
    );
    static KNOWN: Plan = Plan::new("SELECT FROM nebula.allocation_log WHERE device_id = $1 LIMIT 1");
    if LOCK.hits(&[device.into(), address.clone().into()])?
        && let Some(ip) = RELEASE
            .first(&[device.into(), released_by.into(), address.into(), client.into()], |row| row.need(1))?
    {
        link::show(device)?;
        return Ok(ip);
    }
    Err(if KNOWN.hits(&[device.into()])? {
        Error::new(
            Kind::WrongState,
            format!("device {device} has released its address already"),
            "Nothing is left to do; see nebula.allocation_history.",
        )
    } else {
        Error::new(
            Kind::Missing,
            format!("device {device} holds no address"),
            "Look for it: SELECT device_id, name, ip FROM nebula.device_status.",
        )
    })
}
