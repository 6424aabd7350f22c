//! Letting devices in: address, certificates and the record of both in one transaction, of many devices when many come.

use std::sync::Arc;

use actix_web::web;
use nebula_certificate::Issued;
use uuid::Uuid;

use crate::config::Facts;
use crate::database::device::{self, By, NewDevice};
use crate::database::{Unit, certificate};
use crate::gather::{Gather, Joined};
use crate::project::Known;
use crate::{ApiError, AppState};

/// Registrations that wait for each other, by project.
pub type Admissions = Gather<Uuid, NewDevice, Admitted>;

/// A device that was let in.
#[derive(Debug)]
pub struct Admitted {
    /// Its project.
    pub project: Arc<Known>,
    /// What its configuration is made from.
    pub facts: Facts,
    /// Its certificates.
    pub issued: Vec<Issued>,
}

/// Together with others of the project that come at the same time, or alone when that does not go.
pub(super) async fn together(state: &web::Data<AppState>, device: NewDevice) -> Result<Admitted, ApiError> {
    let work = state.clone();
    let party = async move |project: &Uuid, devices: &[NewDevice]| {
        let mut unit = Unit::impatient(work.database.client().await?);
        let project = work.projects.kept_or_found(&mut unit, *project).await?;
        admit(&work, unit, project, devices).await
    };
    match state.admissions.join(device.project_id, device, party).await? {
        Joined::Done(admitted) => Ok(admitted),
        Joined::Alone(device) => {
            let mut unit = Unit::on(state.database.client().await?);
            let project = state.projects.kept_or_found(&mut unit, device.project_id).await?;
            alone(state, unit, project, device).await
        }
    }
}

/// One device, in a unit that may have begun.
pub(super) async fn alone(
    state: &AppState,
    unit: Unit,
    project: Arc<Known>,
    device: NewDevice,
) -> Result<Admitted, ApiError> {
    let nothing = || ApiError::internal(&"the database answered for no device");
    admit(state, unit, project, &[device]).await?.pop().ok_or_else(nothing)
}

async fn admit(
    state: &AppState,
    mut unit: Unit,
    mut project: Arc<Known>,
    devices: &[NewDevice],
) -> Result<Vec<Admitted>, ApiError> {
    let mut found = device::register(&mut unit, devices, project.common.version).await?;
    if let Some(newer) = found.first_mut().and_then(|first| first.newer.take()) {
        project = state.projects.learn(newer)?;
    }
    let mut admitted = Vec::with_capacity(devices.len());
    for (device, found) in devices.iter().zip(found) {
        let facts = found.with(Arc::clone(&project.common));
        let subject = facts.subject(&device.public_key, state.certificate_lifetime);
        let issued = project.authority.issue(subject).await?;
        admitted.push(Admitted { project: Arc::clone(&project), facts, issued });
    }
    let signed = devices.iter().zip(&admitted).map(|(device, admitted)| certificate::Signed {
        by: match &device.by {
            By::Account(actor) => certificate::By::Account(*actor),
            By::Code(hash) => certificate::By::Code(hash),
        },
        device_id: device.device_id,
        issued: &admitted.issued,
    });
    certificate::record(unit, &signed.collect::<Vec<_>>()).await?;
    Ok(admitted)
}
