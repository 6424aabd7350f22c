//! Responses that configure a device: configuration, certificates, and the signature that proves their
//! origin.

use std::sync::Arc;

use ipnetwork::IpNetwork;
use nebula_api::dnapi::{Enrollment, Host, Network, Organization, SignedAnswer, Update, VERSION};
use nebula_certificate::{Issued, PublicKey};
use serde::Serialize;

use super::AgentService;
use crate::database::PipelinedTransaction;
use crate::database::agent::{self, Fetch};
use crate::database::certificate::{self, AuthorizedBy, SignedCertificates};
use crate::database::device::DeviceConfiguration;
use crate::domain::authority::Authority;
use crate::domain::nebula_yml::{DeviceConfig, PkiSource};
use crate::domain::project_cache::CachedProject;
use crate::error::{ApiError, WRONG_STATE};

/// One organisation per installation.
const ORGANIZATION: &str = "pg_nebula";

/// Everything a response to one device is made from.
#[derive(Debug)]
pub(super) struct PreparedAnswer {
    pub(super) project: Arc<CachedProject>,
    config: DeviceConfig,
    /// Certificates signed for this response; empty if the device keeps its own.
    pub(super) issued: Vec<Issued>,
}

impl AgentService {
    /// Fetches for devices of one project: records them, signs certificates, commits; answers the counter and
    /// the content for each. A certificate whose response is then lost is wasted; its device goes on with the
    /// one it has.
    pub(super) async fn fetch(
        &self,
        mut transaction: PipelinedTransaction,
        fetches: &[Fetch],
    ) -> Result<Vec<(i64, PreparedAnswer)>, ApiError> {
        let Some(first) = fetches.first().map(|fetch| &fetch.caller) else { return Ok(vec![]) };
        let newest = fetches.iter().map(|fetch| fetch.caller.version).max().unwrap_or(first.version);
        let mut project = self.projects.at_version(&self.database, first.project_id, newest).await?;
        let mut rows = agent::update(&mut transaction, fetches, project.config.version).await?;
        if let Some(newer) = rows.first_mut().and_then(|(_, first)| first.newer_project.take()) {
            project = self.projects.insert(newer)?;
        }
        let mut answers = Vec::with_capacity(fetches.len());
        for (fetch, (counter, row)) in fetches.iter().zip(rows) {
            let project = Arc::clone(&project);
            let prepared = match &fetch.public_key {
                Some(key) => self.with_new_certificates(project, row, key).await?,
                None => self.with_kept_certificates(project, row)?,
            };
            answers.push((counter, prepared));
        }
        let signed: Vec<_> = fetches
            .iter()
            .zip(&answers)
            .filter(|(fetch, _)| fetch.public_key.is_some())
            .map(|(fetch, (counter, prepared))| SignedCertificates {
                authorized_by: AuthorizedBy::Answer(*counter),
                device_id: fetch.caller.device_id,
                issued: &prepared.issued,
            })
            .collect();
        match signed.as_slice() {
            [] => transaction.commit().await?,
            signed => certificate::record(transaction, signed).await?,
        }
        Ok(answers)
    }

    /// The last certificates of the device's key go with the configuration.
    fn with_kept_certificates(
        &self,
        mut project: Arc<CachedProject>,
        mut row: DeviceConfiguration,
    ) -> Result<PreparedAnswer, ApiError> {
        if let Some(newer) = row.newer_project.take() {
            project = self.projects.insert(newer)?;
        }
        let config = DeviceConfig { project: Arc::clone(&project.config), device: row.device };
        Ok(PreparedAnswer { project, config, issued: vec![] })
    }

    /// Signs new certificates; the caller has to record them.
    pub(super) async fn with_new_certificates(
        &self,
        project: Arc<CachedProject>,
        row: DeviceConfiguration,
        public_key: &PublicKey,
    ) -> Result<PreparedAnswer, ApiError> {
        let mut prepared = self.with_kept_certificates(project, row)?;
        require_address(&prepared.config)?;
        let subject = prepared.config.subject(public_key, self.certificate_lifetime);
        prepared.issued = prepared.project.authority.issue(subject).await?;
        let pem = prepared.issued.iter().map(|issued| issued.pem.as_str()).collect();
        prepared.config.device.certificate = Some(pem);
        Ok(prepared)
    }
}

/// Without an address, because it was released, there is nothing to certify.
fn require_address(config: &DeviceConfig) -> Result<(), ApiError> {
    if config.device.networks.is_empty() {
        let detail = format!("device \"{}\" holds no address", config.device.name);
        return Err(ApiError::new(WRONG_STATE, detail).hint("Enrol it again, or allocate an address for it."));
    }
    Ok(())
}

/// The fields that [`Enrollment`] and [`Update`] share.
pub(super) struct AnswerContent {
    config: Vec<u8>,
    trusted_keys: Vec<u8>,
    network: Network,
    host: Host,
}

impl PreparedAnswer {
    pub(super) fn content(&self) -> AnswerContent {
        let (authority, project, device) =
            (&self.project.authority, &self.project.config, &self.config.device);
        let pki = PkiSource::Inline {
            ca: authority.trusted_pem(),
            certificate: device.certificate.as_deref().unwrap_or_default(),
        };
        let nebula = authority.oldest_nebula(&device.networks, &self.config.versions());
        let addresses: Vec<_> = device.networks.iter().map(|network| network.ip().to_string()).collect();
        let overlay = |network: &IpNetwork| format!("{}/{}", network.network(), network.prefix());
        let cidrs: Vec<_> = device.networks.iter().map(overlay).collect();
        AnswerContent {
            config: self.config.yaml(nebula, pki).into_bytes(),
            trusted_keys: authority.trusted_keys_pem().into(),
            network: Network {
                id: project.project_id.to_string(),
                name: project.name.clone(),
                curve: authority.curve().short_name().to_owned(),
                cidr: project.cidr.clone().or_else(|| cidrs.first().cloned()).unwrap_or_default(),
                cidrs,
                names: self.config.names(),
            },
            host: Host {
                id: device.device_id.to_string(),
                name: device.name.clone(),
                ip_address: self.config.address(),
                ip_addresses: addresses,
            },
        }
    }
}

impl AnswerContent {
    pub(super) fn into_enrollment(self, counter: i64) -> Enrollment {
        let Self { config, trusted_keys, network, host } = self;
        Enrollment {
            config,
            host_id: host.id.clone(),
            counter: counter.unsigned_abs(),
            trusted_keys,
            organization: organization(),
            network,
            host,
            endpoint_oidc: None,
        }
    }

    pub(super) fn into_update(self, counter: i64, nonce: Vec<u8>) -> Update {
        let Self { config, trusted_keys, network, host } = self;
        Update {
            config,
            counter: counter.unsigned_abs(),
            nonce,
            trusted_keys,
            organization: organization(),
            network,
            host,
            endpoint_oidc: None,
        }
    }
}

fn organization() -> Organization {
    Organization { id: ORGANIZATION.into(), name: ORGANIZATION.into() }
}

/// Signs the JSON of a response.
pub(super) async fn signed(
    authority: &Authority,
    content: &impl Serialize,
) -> Result<SignedAnswer, ApiError> {
    let message = serde_json::to_vec(content).map_err(|error| ApiError::internal(&error))?;
    let signature = authority.sign_response(&message).await?;
    Ok(SignedAnswer { version: VERSION, message, signature })
}
