//! `GET /api/system`: the machine and its storage.

use actix_web::web;
use nebula_api::Envelope;
use nebula_api::system::{Disk, Power, System};

use crate::VERSION;
use crate::database::event::require_admin;
use crate::database::storage;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::state::AppState;

/// Battery, charger, temperature, disks, and what the last scrub of the storage found.
#[utoipa::path(get, path = "/api/system", tag = "health",
    responses((status = 200, description = "The machine and its storage", body = Envelope<System>)))]
pub(crate) async fn show(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<System>>, ApiError> {
    let client = state.database.client().await?;
    require_admin(&client, &actor.account).await?;
    let (machine, disks) = tokio::join!(state.machine.look(), state.disks.look());
    let power = machine.power;
    let known = power.battery.is_some() || power.charger.is_some();
    let disks = disks.into_iter().map(|disk| Disk {
        name: disk.name.to_owned(),
        size: disk.room.size,
        free: disk.room.free,
        reserve: disk.room.reserve,
    });
    Ok(web::Json(Envelope::new(System {
        version: VERSION.to_owned(),
        power: known.then(|| Power {
            battery_percent: power.battery.map(|battery| battery.percent),
            charger: power.charger,
            on_battery: power.is_on_battery(),
        }),
        temperature_celsius: machine.celsius,
        disks: disks.collect(),
        storage: Some(storage::scrub_status(&client).await?),
    })))
}
