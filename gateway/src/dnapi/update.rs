//! What an agent gets: configuration, certificates, and the signature that says it is from here.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::web;
use nebula_api::agent::{Instruction, Report};
use nebula_api::dnapi::{
    EnrollRequest, Enrollment, Host, KeyUpdate, Network, Organization, SignedAnswer, Update, VERSION,
};
use nebula_certificate::{Curve, Issued, PublicKey};
use serde::Serialize;
use uuid::Uuid;

use super::{Refusal, key};
use crate::authority::{Authority, curve_name};
use crate::config::{Facts, Pki};
use crate::database::Unit;
use crate::database::agent::{self, Caller, Fetch};
use crate::database::certificate::{self, By, Signed};
use crate::database::device::Found;
use crate::error::WRONG_STATE;
use crate::gather::{Gather, Joined};
use crate::project::Known;
use crate::{ApiError, AppState};

/// One organisation per installation.
const ORGANIZATION: &str = "pg_nebula";

/// The keys a device sent, of the project's curve.
pub(super) struct Keys {
    /// Raw; signs its calls.
    pub(super) host: Vec<u8>,
    /// Goes into its certificates.
    pub(super) nebula: Option<PublicKey>,
}

impl Keys {
    /// The one of the two sets that the project can use.
    pub(super) fn of_enrolment(body: &EnrollRequest, authority: &Authority) -> Result<Self, Refusal> {
        match authority.curve() {
            Curve::Curve25519 => {
                Self::read(authority, &body.ed_pubkey, "edPubkey", Some((&body.dh_pubkey, "dhPubkey")))
            }
            Curve::P256 => {
                let nebula = (body.nebula_pubkey_p256.as_slice(), "nebulaPubkeyP256");
                Self::read(authority, &body.host_pubkey_p256, "hostPubkeyP256", Some(nebula))
            }
        }
    }

    fn of_update(value: &KeyUpdate, authority: &Authority, certify: bool) -> Result<Self, Refusal> {
        let (host, host_path, nebula) = match authority.curve() {
            Curve::Curve25519 => (&value.host_ed25519, "edPubkeyPEM", (&value.nebula_x25519, "dhPubkeyPEM")),
            Curve::P256 => {
                (&value.host_p256, "p256HostPubkeyPEM", (&value.nebula_p256, "p256NebulaPubkeyPEM"))
            }
        };
        let nebula = (nebula.0.as_slice(), nebula.1);
        Self::read(authority, host, host_path, certify.then_some(nebula))
    }

    fn read(
        authority: &Authority,
        host: &[u8],
        host_path: &'static str,
        nebula: Option<(&[u8], &'static str)>,
    ) -> Result<Self, Refusal> {
        let curve = authority.curve();
        let host = key::parse(host, curve).ok_or_else(|| {
            let detail = format!("{host_path} is not a host key of curve {curve}");
            Refusal::field(
                host_path,
                ApiError::bad_argument(detail).hint("Send PKIX in PEM under the protocol's banner."),
            )
        })?;
        let nebula = nebula.map(|(pem, path)| {
            authority.public_key(&String::from_utf8_lossy(pem)).map_err(|error| Refusal::field(path, error))
        });
        Ok(Self { host, nebula: nebula.transpose()? })
    }
}

/// What one answer says.
pub(super) struct Sent {
    config: Vec<u8>,
    trusted_keys: Vec<u8>,
    network: Network,
    host: Host,
}

impl Sent {
    pub(super) fn enrollment(self, counter: i64) -> Enrollment {
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

    fn update(self, counter: i64, nonce: Vec<u8>) -> Update {
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

/// What an answer is made from.
#[derive(Debug)]
pub struct Made {
    project: Arc<Known>,
    facts: Facts,
    /// What was signed for it.
    pub(super) issued: Vec<Issued>,
}

impl Made {
    /// With the certificates of the key it is for.
    fn of(state: &AppState, mut project: Arc<Known>, mut found: Found) -> Result<Self, ApiError> {
        if let Some(newer) = found.newer.take() {
            project = state.projects.learn(newer)?;
        }
        let facts = found.with(Arc::clone(&project.common));
        Ok(Self { project, facts, issued: vec![] })
    }
}

/// With new certificates, which are still to be recorded.
pub(super) async fn certified(
    state: &AppState,
    project: Arc<Known>,
    found: Found,
    public_key: &PublicKey,
) -> Result<Made, ApiError> {
    let mut made = Made::of(state, project, found)?;
    require_address(&made.facts)?;
    let subject = made.facts.subject(public_key, state.certificate_lifetime);
    made.issued = made.project.authority.issue(subject).await?;
    made.facts.certificate = Some(made.issued.iter().map(|one| one.pem.as_str()).collect());
    Ok(made)
}

/// A device whose address was released has nothing that a certificate could say.
fn require_address(facts: &Facts) -> Result<(), ApiError> {
    if facts.networks.is_empty() {
        let detail = format!("device \"{}\" holds no address", facts.name);
        return Err(ApiError::new(WRONG_STATE, detail).hint("Enrol it again, or allocate an address for it."));
    }
    Ok(())
}

impl Made {
    pub(super) fn sent(&self) -> Sent {
        let Self { project, facts, .. } = self;
        let (authority, common) = (&project.authority, &project.common);
        let pki = Pki::Inline {
            ca: authority.trusted_pem(),
            certificate: facts.certificate.as_deref().unwrap_or_default(),
        };
        let nebula = authority.oldest_nebula(&facts.networks, &facts.versions());
        let addresses: Vec<_> = facts.networks.iter().map(|network| network.ip().to_string()).collect();
        let overlay = |network: &ipnetwork::IpNetwork| format!("{}/{}", network.network(), network.prefix());
        let cidrs: Vec<_> = facts.networks.iter().map(overlay).collect();
        Sent {
            config: facts.yaml(nebula, pki).into_bytes(),
            trusted_keys: authority.trusted_keys_pem().into(),
            network: Network {
                id: common.project_id.to_string(),
                name: common.project.clone(),
                curve: curve_name(authority.curve()).to_owned(),
                cidr: common.cidr.clone().or_else(|| cidrs.first().cloned()).unwrap_or_default(),
                cidrs,
            },
            host: Host {
                id: facts.device_id.to_string(),
                name: facts.name.clone(),
                ip_address: facts.address(),
                ip_addresses: addresses,
            },
        }
    }
}

/// Fetches that wait for each other, by project.
pub type Fetches = Gather<Uuid, Fetch, (i64, Made)>;

/// `DoUpdate` (`certify`) and `DoConfigUpdate`.
pub(super) async fn update(
    state: &web::Data<AppState>,
    caller: Caller,
    value: KeyUpdate,
    certify: bool,
) -> Result<SignedAnswer, Refusal> {
    check_nonce(&value.nonce)?;
    let project = state.projects.at(&state.database, caller.project_id, caller.version).await?;
    let keys = Keys::of_update(&value, &project.authority, certify)?;
    let project_id = caller.project_id;
    let fetch = Fetch { caller, host_key: keys.host, public_key: keys.nebula };
    let work = state.clone();
    let party = async move |_: &Uuid, fetches: &[Fetch]| {
        answers(&work, Unit::impatient(work.database.client().await?), fetches).await
    };
    let (counter, made) = match state.fetches.join(project_id, fetch, party).await? {
        Joined::Done(done) => done,
        Joined::Alone(fetch) => {
            let unit = Unit::on(state.database.client().await?);
            answers(state, unit, &[fetch]).await?.pop().ok_or_else(nothing)?
        }
    };
    Ok(signed(&made.project.authority, &made.sent().update(counter, value.nonce)).await?)
}

/// What those who call are sent, and the counter of each. A certificate that is then not sent is a lost one: its device
/// goes on with what it has.
async fn answers(state: &AppState, mut unit: Unit, fetches: &[Fetch]) -> Result<Vec<(i64, Made)>, ApiError> {
    let Some(first) = fetches.first().map(|fetch| &fetch.caller) else { return Ok(vec![]) };
    let newest = fetches.iter().map(|fetch| fetch.caller.version).max().unwrap_or(first.version);
    let mut project = state.projects.at(&state.database, first.project_id, newest).await?;
    let mut found = agent::update(&mut unit, fetches, project.common.version).await?;
    if let Some(newer) = found.first_mut().and_then(|(_, first)| first.newer.take()) {
        project = state.projects.learn(newer)?;
    }
    let mut answers = Vec::with_capacity(fetches.len());
    for (fetch, (counter, found)) in fetches.iter().zip(found) {
        let project = Arc::clone(&project);
        let made = match &fetch.public_key {
            Some(key) => certified(state, project, found, key).await?,
            None => Made::of(state, project, found)?,
        };
        answers.push((counter, made));
    }
    let new = fetches.iter().zip(&answers).filter(|(fetch, _)| fetch.public_key.is_some());
    let signed: Vec<_> = new
        .map(|(fetch, (counter, made))| Signed {
            by: By::Answer(*counter),
            device_id: fetch.caller.device_id,
            issued: &made.issued,
        })
        .collect();
    match signed.as_slice() {
        [] => unit.commit().await?,
        signed => certificate::record(unit, signed).await?,
    }
    Ok(answers)
}

fn nothing() -> ApiError {
    ApiError::internal(&"the database answered for no agent")
}

/// `Status`.
pub(super) async fn report(
    state: &AppState,
    caller: &Caller,
    report: Report,
    address: Option<IpAddr>,
) -> Result<SignedAnswer, Refusal> {
    check_nonce(&report.nonce)?;
    let project = state.projects.at(&state.database, caller.project_id, caller.version).await?;
    let client = state.database.client().await?;
    let kept = serde_json::to_value(&report).map_err(|error| ApiError::internal(&error))?;
    let folder = agent::report(&client, caller, &kept, address).await?;
    drop(client);
    let instruction = Instruction {
        nonce: report.nonce,
        folder_id: folder.id,
        folder_label: folder.label,
        syncthing: folder.peers,
        options: folder.options,
    };
    Ok(signed(&project.authority, &instruction).await?)
}

/// The nonce is what ties an answer to its question.
fn check_nonce(nonce: &[u8]) -> Result<(), Refusal> {
    if (8..=64).contains(&nonce.len()) {
        return Ok(());
    }
    let detail = format!("the nonce has {} bytes", nonce.len());
    Err(Refusal::field("nonce", ApiError::bad_argument(detail).hint("Send 8 to 64 random bytes.")))
}

async fn signed(authority: &Authority, content: &impl Serialize) -> Result<SignedAnswer, ApiError> {
    let message = serde_json::to_vec(content).map_err(|error| ApiError::internal(&error))?;
    let signature = authority.sign(&message).await?;
    Ok(SignedAnswer { version: VERSION, message, signature })
}
