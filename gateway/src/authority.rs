//! Certificate authorities: their keys are read by this process and never leave it. The database says which of them
//! signs for a project and which its devices trust.

mod keyring;
mod signer;

use actix_web::web;
use chrono::{DateTime, Utc};
use nebula_api::Envelope;
use nebula_api::authority::Authority as Listed;
use nebula_certificate::Curve;

use crate::auth::Actor;
use crate::database::authority as database;
use crate::database::event::require_admin;
use crate::{ApiError, AppState};

pub use keyring::{Keyring, Source};
pub use signer::{Authority, Subject};

/// Every authority this gateway can sign with, and every other one that is known, the one that expires first on top.
#[utoipa::path(get, path = "/api/authorities", tag = "authority",
    responses((status = 200, description = "Authorities", body = Envelope<Vec<Listed>>)))]
pub async fn list(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Vec<Listed>>>, ApiError> {
    let client = state.database.client().await?;
    require_admin(&client, actor.account_id).await?;
    for held in state.keyring.held()? {
        database::record(&client, &held).await?;
    }
    Ok(web::Json(Envelope::new(database::list(&client, actor.account_id).await?)))
}

/// The curve as the database and nebula-cert spell it.
pub fn curve_name(curve: Curve) -> &'static str {
    match curve {
        Curve::Curve25519 => "25519",
        Curve::P256 => "P256",
    }
}

/// A day in words that every reader takes the same way.
pub(crate) fn day(seconds: i64) -> String {
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .map_or_else(|| "an unknown day".to_owned(), |time| time.format("%Y-%m-%d").to_string())
}
