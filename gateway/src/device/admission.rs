//! Letting devices in: address, certificates and the record of both in one transaction, of many devices when many come.

use std::sync::Arc;

use actix_web::web;
use nebula_certificate::Issued;
use uuid::Uuid;

use crate::config::Facts;
use crate::database::device::{self, By, NewDevice};
use crate::database::{Unit, certificate};
use crate::error::UNAVAILABLE;
use crate::gather::Gather;
use crate::project::Known;
use crate::{ApiError, AppState};

/// Registrations that wait for each other, by project.
pub type Admissions = Gather<Uuid, NewDevice, Outcome>;

/// What came of a registration together with others.
#[derive(Debug)]
pub enum Outcome {
    /// The device was let in.
    Admitted(Admitted),
    /// It has to be tried alone: one of them could not be let in, or somebody has to be waited for.
    Alone(NewDevice),
}

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
    let party =
        async move |project: &Uuid, devices: Vec<NewDevice>| match party(&work, *project, &devices).await {
            Ok(admitted) => admitted.into_iter().map(|one| Ok(Outcome::Admitted(one))).collect(),
            Err(error) if devices.len() == 1 && error.meaning() != UNAVAILABLE => vec![Err(error)],
            Err(_) => devices.into_iter().map(|device| Ok(Outcome::Alone(device))).collect(),
        };
    match state.admissions.join(device.project_id, device, party).await? {
        Outcome::Admitted(admitted) => Ok(admitted),
        Outcome::Alone(device) => {
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

/// Devices of a project, all or none; nobody is waited for.
async fn party(state: &AppState, project: Uuid, devices: &[NewDevice]) -> Result<Vec<Admitted>, ApiError> {
    let mut unit = Unit::impatient(state.database.client().await?);
    let project = state.projects.kept_or_found(&mut unit, project).await?;
    admit(state, unit, project, devices).await
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
