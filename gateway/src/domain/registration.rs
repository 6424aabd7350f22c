//! Registration of devices: address, certificates and the record of both in one transaction, of many devices
//! when many register at the same time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nebula_api::device::RegisterRequest;
use nebula_certificate::Issued;
use uuid::Uuid;

use crate::database::batcher::{Batcher, Outcome};
use crate::database::certificate::{self, AuthorizedBy, SignedCertificates};
use crate::database::device::{self, NewDevice, Registrant};
use crate::database::{Database, PipelinedTransaction};
use crate::domain::nebula_yml::DeviceConfig;
use crate::domain::project_cache::{CachedProject, ProjectCache};
use crate::domain::rate_limit::{Limit, RateLimits, Subject};
use crate::error::ApiError;

pub(crate) mod check;

/// Registers devices.
#[derive(Debug)]
pub(crate) struct Registrar {
    database: Database,
    projects: Arc<ProjectCache>,
    limits: Arc<RateLimits>,
    /// How long certificates are valid if the project sets nothing.
    certificate_lifetime: Duration,
    /// Registrations that wait for each other, by project.
    batcher: Batcher<Uuid, NewDevice, Registered>,
}

#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) project: Arc<CachedProject>,
    pub(crate) config: DeviceConfig,
    pub(crate) issued: Vec<Issued>,
}

impl Registrar {
    pub(crate) fn new(
        database: Database,
        projects: Arc<ProjectCache>,
        limits: Arc<RateLimits>,
        certificate_lifetime: Duration,
    ) -> Self {
        Self { database, projects, limits, certificate_lifetime, batcher: Batcher::default() }
    }

    /// Registers a device. The same device again keeps its address and gets fresh certificates.
    pub(crate) async fn register(
        self: &Arc<Self>,
        registrant: Registrant,
        request: &RegisterRequest,
        client: Option<IpAddr>,
    ) -> Result<Registered, ApiError> {
        // Checked before the database is asked, so that a bad request costs little and leaves nothing.
        let role = check::request(request)?;
        let by_code = match &registrant {
            Registrant::Code(_) => {
                self.limits.check(Limit::WrongCodes, &Subject::address(client)).await?;
                true
            }
            Registrant::Account(account) => {
                let subject = Subject::account(account.id, client).within(request.project_id);
                self.limits.take(Limit::Registrations, &subject).await?;
                false
            }
        };
        let new_device = |public_key| NewDevice {
            registrant,
            project_id: request.project_id,
            device_id: request.device_id,
            name: request.device_name.clone(),
            public_key,
            role,
            endpoints: request.endpoints.clone(),
            client,
        };
        if let Some(project) = self.projects.get(request.project_id).filter(|_| !by_code) {
            let key = project.authority.public_key(&request.public_key)?;
            return self.batched(new_device(key)).await;
        }
        let mut transaction = PipelinedTransaction::new(self.database.client().await?);
        let project = self.projects.get_or_load(&mut transaction, request.project_id).await?;
        let key = project.authority.public_key(&request.public_key)?;
        let registered = self.single(transaction, project, new_device(key)).await;
        if by_code && registered.as_ref().is_err_and(ApiError::is_not_found) {
            self.limits.take(Limit::WrongCodes, &Subject::address(client)).await?;
        }
        registered
    }

    /// Registers a device together with others of the project that register at the same time; alone if the
    /// batch fails.
    async fn batched(self: &Arc<Self>, device: NewDevice) -> Result<Registered, ApiError> {
        let registrar = Arc::clone(self);
        let run_batch = async move |project: &Uuid, devices: &[NewDevice]| {
            let mut transaction = PipelinedTransaction::with_lock_timeout(registrar.database.client().await?);
            let project = registrar.projects.get_or_load(&mut transaction, *project).await?;
            registrar.register_all(transaction, project, devices).await
        };
        match self.batcher.submit(device.project_id, device, run_batch).await? {
            Outcome::Done(registered) => Ok(registered),
            Outcome::RetryAlone(device) => {
                let mut transaction = PipelinedTransaction::new(self.database.client().await?);
                let project = self.projects.get_or_load(&mut transaction, device.project_id).await?;
                self.single(transaction, project, device).await
            }
        }
    }

    /// Registers one device in a transaction that may have begun.
    async fn single(
        &self,
        transaction: PipelinedTransaction,
        project: Arc<CachedProject>,
        device: NewDevice,
    ) -> Result<Registered, ApiError> {
        let nothing = || ApiError::internal(&"the database answered for no device");
        self.register_all(transaction, project, &[device]).await?.pop().ok_or_else(nothing)
    }

    async fn register_all(
        &self,
        mut transaction: PipelinedTransaction,
        mut project: Arc<CachedProject>,
        devices: &[NewDevice],
    ) -> Result<Vec<Registered>, ApiError> {
        let mut rows = device::register(&mut transaction, devices, project.config.version).await?;
        if let Some(newer) = rows.first_mut().and_then(|first| first.newer_project.take()) {
            project = self.projects.insert(newer)?;
        }
        let mut registered = Vec::with_capacity(devices.len());
        for (new, row) in devices.iter().zip(rows) {
            let config = DeviceConfig { project: Arc::clone(&project.config), device: row.device };
            let subject = config.subject(&new.public_key, self.certificate_lifetime);
            let issued = project.authority.issue(subject).await?;
            registered.push(Registered { project: Arc::clone(&project), config, issued });
        }
        let signed = devices.iter().zip(&registered).map(|(new, registered)| SignedCertificates {
            authorized_by: match &new.registrant {
                Registrant::Account(actor) => AuthorizedBy::Account(actor.id),
                Registrant::Code(hash) => AuthorizedBy::Code(hash),
            },
            device_id: new.device_id,
            issued: &registered.issued,
        });
        certificate::record(transaction, &signed.collect::<Vec<_>>()).await?;
        Ok(registered)
    }
}
