//! `/health`: alive, and ready to serve.

use actix_web::{HttpResponse, web};
use nebula_api::Failure;
use nebula_api::health::{Check, Health};
use nebula_api::system::Storage;
use nebula_storage::Level;

use crate::VERSION;
use crate::database::authority::{self as database, SigningAuthority};
use crate::database::storage;
use crate::domain::authority::expiry::{Expiry, HINT};
use crate::domain::authority::{MISSING_KEY_HINT, day};
use crate::domain::disks::DiskState;
use crate::domain::leftovers::Orphans;
use crate::error::ApiError;
use crate::state::AppState;

/// Whether the process answers.
#[utoipa::path(get, path = "/health/live", tag = "health",
    responses((status = 200, description = "Alive", body = Health)))]
pub(crate) async fn live() -> web::Json<Health> {
    web::Json(Health { status: "ok".into(), version: VERSION.into(), checks: Vec::new() })
}

/// Whether database, storage and authority work, and whether there is room. A full disk is no reason to be
/// taken out of service: everything but uploads goes on.
#[utoipa::path(get, path = "/health/ready", tag = "health",
    responses((status = 200, description = "Ready", body = Health),
              (status = 503, description = "A part fails", body = Health)))]
pub(crate) async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let health = state.readiness.get_or_check(check(&state)).await;
    match health.status.as_str() {
        "failed" => HttpResponse::ServiceUnavailable().json(health),
        _ => HttpResponse::Ok().json(health),
    }
}

async fn check(state: &AppState) -> Health {
    let (database, storage, disks) =
        tokio::join!(state.database.check(), state.store.check(), state.disks.look());
    let signing = async { database::signing(&state.database.client().await?).await };
    let signing = signing.await.unwrap_or_else(|_: ApiError| Vec::new());
    let mut checks = vec![
        result("database", database.map(|()| "ok".into()), |error| error.failure()),
        result("storage", storage.map(|()| "ok".into()), |error| ApiError::from(error).failure()),
        authority(state, &signing),
    ];
    checks.extend(keys_elsewhere(state, &signing));
    if let bad @ 1.. = state.keyring.bad() {
        checks.push(Check {
            name: "authorities".to_owned(),
            ok: true,
            detail: format!("{bad} of the pairs in NEBULA_CA_DIR cannot be used and are left out"),
            hint: Some("The gateway's log says which and why.".to_owned()),
        });
    }
    let failed = checks.iter().any(|check| !check.ok);
    checks.extend(disks.into_iter().map(disk));
    checks.extend(orphans(state.leftovers.orphans()));
    let scrub = async { storage::scrub_status(&state.database.client().await?).await };
    checks.extend(scrub.await.ok().and_then(|found: Storage| scrubbed(&found)));
    let status = match checks.iter().all(|check| check.ok) {
        _ if failed => "failed",
        true => "ok",
        false => "degraded",
    };
    Health { status: status.into(), version: VERSION.into(), checks }
}

/// The authorities that projects sign with; before there is one, and without the database, the shared one.
/// One project whose authority has ended is a hint: the gateway goes on for the others, and the remedy goes
/// through the gateway.
fn authority(state: &AppState, signing: &[SigningAuthority]) -> Check {
    let name = "authority".to_owned();
    let hint = Some(HINT.to_owned());
    match Expiry::of(signing) {
        Expiry::Over(detail) => Check { name, ok: signing.iter().any(|one| !one.has_ended()), detail, hint },
        Expiry::Soon(detail) => Check { name, ok: true, detail, hint },
        Expiry::Distant => match (state.keyring.shared().check(), signing.first()) {
            (Ok(detail), _) => Check { name, ok: true, detail, hint: None },
            // Nobody signs with the shared one any more.
            (Err(_), Some(first)) => {
                let detail = format!("{:?} signs until {}", first.name, day(first.not_after.timestamp()));
                Check { name, ok: true, detail, hint: None }
            }
            (Err(error), None) => Check { name, ok: false, detail: error.to_string(), hint },
        },
    }
}

/// Authorities that projects sign with elsewhere: their keys are not here.
fn keys_elsewhere(state: &AppState, signing: &[SigningAuthority]) -> Option<Check> {
    let missing = signing.iter().filter(|one| !state.keyring.holds(&one.fingerprint));
    let names = missing.map(|one| format!("{:?} ({})", one.name, one.fingerprint)).collect::<Vec<_>>();
    (!names.is_empty()).then(|| Check {
        name: "authority-keys".into(),
        ok: true,
        detail: format!("this gateway cannot sign for projects of {}", names.join(", ")),
        hint: Some(MISSING_KEY_HINT.into()),
    })
}

/// Success and failure each have a sentence; a failure has its remedy, too.
fn result<E>(name: &str, outcome: Result<String, E>, failure: impl FnOnce(E) -> Failure) -> Check {
    let (ok, detail, hint) = match outcome {
        Ok(detail) => (true, detail, None),
        Err(error) => {
            let failure = failure(error);
            (false, failure.detail, failure.hint.filter(|hint| !hint.contains("/health/ready")))
        }
    };
    Check { name: name.to_owned(), ok, detail, hint }
}

fn disk(disk: DiskState) -> Check {
    let level = disk.room.level();
    let hint = match level {
        Level::Ample => None,
        Level::Low => Some("Make room soon: uploads stop and films wait when only the reserve is left."),
        Level::Full => {
            Some("Make room: uploads are refused and films wait until then. See NEBULA_DISK_RESERVE.")
        }
    };
    Check {
        name: format!("{}-disk", disk.name),
        ok: level != Level::Full,
        detail: disk.room.to_string(),
        hint: hint.map(str::to_owned),
    }
}

/// Objects that belong to no file, if there are any.
fn orphans(orphans: Orphans) -> Option<Check> {
    let Orphans { count, bytes } = orphans;
    (count > 0).then(|| Check {
        name: "orphans".into(),
        ok: true,
        detail: format!("{count} objects in the storage, {bytes} bytes, belong to no file"),
        hint: Some("The gateway's log names them; NEBULA_ORPHAN_DAYS has them deleted.".into()),
    })
}

/// Files that the last scrub found damaged, if there are any.
fn scrubbed(found: &Storage) -> Option<Check> {
    let Storage { missing, changed, .. } = found;
    (missing + changed > 0).then(|| Check {
        name: "storage-scrub".into(),
        ok: true,
        detail: format!("in the storage {missing} objects are missing, and {changed} have changed"),
        hint: Some("Upload these files again: SELECT * FROM nebula.storage_fault_status.".into()),
    })
}
