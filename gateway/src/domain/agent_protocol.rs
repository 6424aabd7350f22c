//! The agent protocol: enrolment by code, and signed calls of enrolled devices. [`nebula_api::dnapi`]
//! describes it.
//!
//! The gateway verifies signatures and signs responses. The functions of `sql/functions/agent.sql` decide
//! whether a call counts, what it acknowledges and what the device gets, in the transaction that acts on it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nebula_api::agent::{FindDevice, FoundDevice, Instruction, Report};
use nebula_api::dnapi::{
    Call, EnrollRequest, Enrollment, KeyUpdate, Message, Reauthentication, SignedAnswer, VERSION,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::agent::{self, AgentKeys, Caller, CallingNode, Fetch};
use crate::database::batcher::{Batcher, Outcome};
use crate::database::certificate::{self, AuthorizedBy, SignedCertificates};
use crate::database::enrolment::{self, NewAgent};
use crate::database::{Database, PipelinedTransaction, device};
use crate::domain::enrolment::code_hash;
use crate::domain::project_cache::ProjectCache;
use crate::domain::rate_limit::{Limit, RateLimits, Subject};
use crate::domain::registration::check;
use crate::error::ApiError;
use crate::infra::long_poll_hub::LongPollHub;
use crate::infra::node_hub::NodeHub;
use crate::infra::quota::Quota;
use crate::infra::refusal_records::RefusalRecords;

mod answer;
mod host_key;
mod keys;
mod long_poll;
mod node_signature;
mod node_sync;
mod refusal;

use answer::PreparedAnswer;
use keys::DeviceKeys;

pub(crate) use node_signature::RequestHead;
pub(crate) use refusal::Refusal;

/// Serves agents.
#[derive(Debug)]
pub(crate) struct AgentService {
    database: Database,
    projects: Arc<ProjectCache>,
    limits: Arc<RateLimits>,
    refusals: RefusalRecords,
    hub: LongPollHub,
    nodes: NodeHub,
    /// Long polls of one device.
    polls: Quota<Uuid>,
    /// Ends long polls when the gateway stops.
    stopping: CancellationToken,
    /// How long certificates are valid if the project sets nothing.
    certificate_lifetime: Duration,
    /// Look-ups of the keys of callers, by device and counter.
    key_lookups: Batcher<(), (Uuid, i64), Option<AgentKeys>>,
    /// Fetches of configurations, by project; each result has the counter to send.
    fetches: Batcher<Uuid, Fetch, (i64, PreparedAnswer)>,
}

impl AgentService {
    pub(crate) fn new(
        database: Database,
        projects: Arc<ProjectCache>,
        limits: Arc<RateLimits>,
        (hub, nodes): (LongPollHub, NodeHub),
        max_polls: usize,
        stopping: CancellationToken,
        certificate_lifetime: Duration,
    ) -> Self {
        let polls = Quota::new(max_polls);
        let (key_lookups, fetches) = (Batcher::default(), Batcher::default());
        Self {
            database,
            projects,
            limits,
            refusals: RefusalRecords::default(),
            hub,
            nodes,
            polls,
            stopping,
            certificate_lifetime,
            key_lookups,
            fetches,
        }
    }

    /// How many agents wait in a long poll.
    pub(crate) fn waiting(&self) -> usize {
        self.hub.waiting()
    }

    /// How many agents of nodes wait for changes of their node.
    pub(crate) fn waiting_nodes(&self) -> usize {
        self.nodes.waiting()
    }

    /// Enrols a device by a code, and records a refusal.
    pub(crate) async fn enroll(
        &self,
        body: &EnrollRequest,
        client: Option<IpAddr>,
    ) -> Result<Enrollment, Refusal> {
        let caller = Subject::address(client);
        self.limits.check(Limit::WrongCodes, &caller).await?;
        let enrolled = self.enroll_by_code(body, client).await;
        if let Err(refusal) = &enrolled {
            if refusal.is_wrong_code() {
                self.limits.take(Limit::WrongCodes, &caller).await?;
            }
            // A fault on this side is in the log, and a database that does not answer could not record it.
            if refusal.is_callers_fault() {
                self.record_refusal(None, refusal, client).await;
            }
        }
        enrolled
    }

    async fn enroll_by_code(
        &self,
        body: &EnrollRequest,
        address: Option<IpAddr>,
    ) -> Result<Enrollment, Refusal> {
        // Checked before the database is asked, so that a bad request costs little and leaves nothing.
        if let Some(name) = &body.name {
            check::name(name).map_err(|error| Refusal::field("name", error))?;
        }
        check::endpoints(&body.endpoints).map_err(|error| Refusal::field("endpoints", error))?;
        let device_id = body.device_id.as_deref().map(str::parse::<Uuid>).transpose();
        let device_id = device_id
            .map_err(|_| Refusal::field("deviceId", ApiError::bad_argument("deviceId is not a UUID")))?;
        let hash = code_hash(&body.code);

        let mut transaction = PipelinedTransaction::new(self.database.client().await?);
        transaction.begin().await?;
        let unknown = || {
            ApiError::not_found("this enrolment code is not valid")
                .hint("Ask an administrator for a new one.")
        };
        let project_id = enrolment::project(&*transaction, &hash).await?;
        let project_id = project_id.ok_or_else(|| Refusal::field("code", unknown()))?;
        let project = self.projects.get_or_load(&mut transaction, project_id).await?;
        let keys = DeviceKeys::of_enrolment(body, &project.authority)?;
        let public_key =
            keys.nebula.ok_or_else(|| ApiError::internal(&"an enrolment without a nebula key"))?;
        let new = NewAgent {
            device_id,
            name: body.name.as_deref(),
            endpoints: &body.endpoints,
            curve: project.authority.curve().short_name(),
            public_key: public_key.bytes(),
            host_key: &keys.host,
        };
        let enrolled = enrolment::enroll(&*transaction, &hash, &new, address).await;
        let (device_id, counter) = enrolled.map_err(Refusal::of_enrolment)?;
        let row = device::configuration(&*transaction, device_id, project.config.version).await?;
        let prepared = self.with_new_certificates(project, row, &public_key).await?;
        let content = prepared.content();
        let signed = SignedCertificates {
            authorized_by: AuthorizedBy::Answer(counter),
            device_id,
            issued: &prepared.issued,
        };
        certificate::record(transaction, &[signed]).await?;
        Ok(content.into_enrollment(counter))
    }

    /// Authenticates a call by its signature. A device that represents a node must add a second signature.
    pub(crate) async fn identify(
        self: &Arc<Self>,
        call: &Call,
        head: &RequestHead<'_>,
        body: &[u8],
    ) -> Result<(Caller, Message), Refusal> {
        if call.version != VERSION {
            let detail = format!("version {} of calls is not supported", call.version);
            return Err(Refusal::field("version", ApiError::bad_argument(detail).hint("Use version 1.")));
        }
        let unknown =
            || Refusal::unauthenticated("this device is unknown, was revoked, or has newer credentials");
        let device_id: Uuid = call.host_id.parse().map_err(|_| unknown())?;
        let counter = i64::try_from(call.counter).map_err(|_| unknown())?;
        let keys = self.look_up_keys(device_id, counter).await?.ok_or_else(unknown)?;
        let AgentKeys { project_id, version, host_key, public_key, node_id } = keys;
        if !host_key::verifies(&host_key, call.message.as_bytes(), &call.signature) {
            return Err(Refusal::unauthenticated(
                "the signature is not by the key of this device and counter",
            ));
        }
        let node = match node_id {
            Some(node_id) => {
                let client = self.database.client().await?;
                let secret = node_signature::check(&client, node_id, head, body).await?;
                Some(CallingNode { node_id, secret })
            }
            None => None,
        };
        let malformed = |error: &dyn std::fmt::Display| {
            let detail = format!("the message cannot be read: {error}");
            Refusal::field("message", ApiError::bad_argument(detail))
        };
        let bytes = STANDARD.decode(&call.message).map_err(|error| malformed(&error))?;
        let message: Message = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
        let called_at = message.timestamp;
        let caller =
            Caller { device_id, project_id, counter, version, host_key, public_key, called_at, node };
        Ok((caller, message))
    }

    /// Looks up the keys of a caller together with those of others that call at the same time.
    async fn look_up_keys(
        self: &Arc<Self>,
        device_id: Uuid,
        counter: i64,
    ) -> Result<Option<AgentKeys>, ApiError> {
        let service = Arc::clone(self);
        let run_batch = async move |(): &(), calls: &[(Uuid, i64)]| {
            agent::keys(&service.database.client().await?, calls).await
        };
        match self.key_lookups.submit((), (device_id, counter), run_batch).await? {
            Outcome::Done(keys) => Ok(keys),
            Outcome::RetryAlone(call) => {
                Ok(agent::keys(&self.database.client().await?, &[call]).await?.pop().flatten())
            }
        }
    }

    /// `CheckForUpdate`: whether an update is due.
    pub(crate) async fn has_update(&self, caller: &Caller) -> Result<bool, ApiError> {
        Ok(agent::call(&self.database.client().await?, caller).await?.due.is_some())
    }

    /// `DoUpdate`, with new certificates, and `DoConfigUpdate`, without.
    pub(crate) async fn update(
        self: &Arc<Self>,
        caller: Caller,
        value: KeyUpdate,
        with_certificates: bool,
    ) -> Result<SignedAnswer, Refusal> {
        check_nonce(&value.nonce)?;
        let project = self.projects.at_version(&self.database, caller.project_id, caller.version).await?;
        let keys = DeviceKeys::of_update(&value, &project.authority, with_certificates)?;
        let project_id = caller.project_id;
        let fetch = Fetch { caller, host_key: keys.host, public_key: keys.nebula };
        let service = Arc::clone(self);
        let run_batch = async move |_: &Uuid, fetches: &[Fetch]| {
            let client = service.database.client().await?;
            service.fetch(PipelinedTransaction::with_lock_timeout(client), fetches).await
        };
        let (counter, prepared) = match self.fetches.submit(project_id, fetch, run_batch).await? {
            Outcome::Done(done) => done,
            Outcome::RetryAlone(fetch) => {
                let transaction = PipelinedTransaction::new(self.database.client().await?);
                let nothing = || ApiError::internal(&"the database answered for no agent");
                self.fetch(transaction, &[fetch]).await?.pop().ok_or_else(nothing)?
            }
        };
        let update = prepared.content().into_update(counter, value.nonce);
        Ok(answer::signed(&prepared.project.authority, &update).await?)
    }

    /// `Status`: keeps a report, answers the shared folder.
    pub(crate) async fn report(
        &self,
        caller: &Caller,
        report: Report,
        address: Option<IpAddr>,
    ) -> Result<SignedAnswer, Refusal> {
        check_nonce(&report.nonce)?;
        let project = self.projects.at_version(&self.database, caller.project_id, caller.version).await?;
        let client = self.database.client().await?;
        let json = serde_json::to_value(&report).map_err(|error| ApiError::internal(&error))?;
        let folder = agent::report(&client, caller, &json, address).await?;
        drop(client);
        let instruction = Instruction {
            nonce: report.nonce,
            folder_id: folder.id,
            folder_label: folder.label,
            syncthing: folder.peers,
            options: folder.options,
        };
        Ok(answer::signed(&project.authority, &instruction).await?)
    }

    /// `FindDevice`: another device of the project, by name.
    pub(crate) async fn find_device(
        &self,
        caller: &Caller,
        wanted: FindDevice,
    ) -> Result<SignedAnswer, Refusal> {
        check_nonce(&wanted.nonce)?;
        let project = self.projects.at_version(&self.database, caller.project_id, caller.version).await?;
        let device = agent::find_device(&self.database.client().await?, caller, &wanted.name).await?;
        let found = FoundDevice { nonce: wanted.nonce, device };
        Ok(answer::signed(&project.authority, &found).await?)
    }

    /// `Reauthenticate`: where a person signs in.
    pub(crate) async fn reauthenticate(
        &self,
        caller: &Caller,
        login_url: String,
    ) -> Result<SignedAnswer, Refusal> {
        let project = self.projects.at_version(&self.database, caller.project_id, caller.version).await?;
        Ok(answer::signed(&project.authority, &Reauthentication { login_url }).await?)
    }

    /// `Leave`: the device leaves for good.
    pub(crate) async fn leave(&self, caller: &Caller, address: Option<IpAddr>) -> Result<(), ApiError> {
        agent::leave(&self.database.client().await?, caller, address).await
    }

    /// Records a refusal, but not each one of a flood. A failure to record it must not change the response.
    pub(crate) async fn record_refusal(
        &self,
        device: Option<Uuid>,
        refusal: &Refusal,
        address: Option<IpAddr>,
    ) {
        let Some(left_out) = self.refusals.should_record(address, device) else { return };
        let reason = refusal.reason();
        let recorded =
            async { agent::refuse(&self.database.client().await?, device, &reason, address, left_out).await };
        if let Err(error) = recorded.await {
            tracing::warn!(%error, reason, "a refused call could not be recorded");
        }
    }
}

/// The response repeats the nonce, so that an old response cannot be replayed to the device.
fn check_nonce(nonce: &[u8]) -> Result<(), Refusal> {
    if (8..=64).contains(&nonce.len()) {
        return Ok(());
    }
    let detail = format!("the nonce has {} bytes", nonce.len());
    Err(Refusal::field("nonce", ApiError::bad_argument(detail).hint("Send 8 to 64 random bytes.")))
}
