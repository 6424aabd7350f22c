//! The agent protocol: `POST /v2/enroll` and `POST /v1/dnclient`, compatible with the open client
//! DefinedNet/dnapi.
//!
//! A device makes its keys itself, enrols once with a code, and from then on signs every call with its host
//! key: [`Call`] holds a [`Message`] as base64 *text*, and the signature is over that text (Ed25519; P256:
//! ECDSA over its SHA-256, ASN.1). A call that changes a device gets a [`SignedAnswer`], signed by an
//! authority the device trusts over the raw bytes of an [`Update`] (or of an
//! [`Instruction`](crate::agent::Instruction)).
//!
//! The counter is the acknowledgement: a device sends the counter of the configuration it *runs*, and signs
//! with the host key that belongs to it. Until a call with a newer counter arrives, older counters and
//! their keys stay valid, so a lost answer locks no device out; from then on they are refused with 401.
//!
//! A device that represents a [`node`](crate::node) also signs the request, with a secret of the node.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

pub mod bytes;

/// Version of [`Call`] and [`SignedAnswer`].
pub const VERSION: u32 = 1;
/// Largest difference between the timestamp of a call and the gateway's clock, in seconds.
pub const CLOCK_TOLERANCE: i64 = 300;

/// PEM banner of the Ed25519 host key, PKIX inside.
pub const HOST_ED25519_BANNER: &str = "DEFINED HOST ED25519 PUBLIC KEY";
/// PEM banner of the P256 host key, PKIX inside.
pub const HOST_P256_BANNER: &str = "DEFINED HOST P256 PUBLIC KEY";

/// The code of an [`ApiError`] for an enrolment code that is unknown, used up, expired or revoked; its path
/// is `code`.
pub const INVALID_VALUE: &str = "ERR_INVALID_VALUE";
/// The code of an [`ApiError`] for a device that was revoked; its path is empty.
pub const HOST_BLOCKED: &str = "ERR_HOST_BLOCKED";

/// Body of `POST /v2/enroll`. The client does not know the network's curve yet, so it sends keys of both.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EnrollRequest {
    /// The enrolment code.
    pub code: String,
    /// X25519 key of nebula: PEM `NEBULA X25519 PUBLIC KEY`.
    #[serde(default, with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub dh_pubkey: Vec<u8>,
    /// Ed25519 key that signs calls: PEM [`HOST_ED25519_BANNER`].
    #[serde(default, with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub ed_pubkey: Vec<u8>,
    /// P256 key of nebula: PEM `NEBULA P256 PUBLIC KEY`.
    #[serde(default, rename = "nebulaPubkeyP256", with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nebula_pubkey_p256: Vec<u8>,
    /// P256 key that signs calls: PEM [`HOST_P256_BANNER`].
    #[serde(default, rename = "hostPubkeyP256", with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub host_pubkey_p256: Vec<u8>,
    /// The client's clock.
    pub timestamp: DateTime<Utc>,
    /// Name that the device would like; ignored if the code fixes one. Our addition, unknown to the open
    /// client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Identifier the device chose (a UUID). Enrolling again with the same code, identifier and keys gets the
    /// same device and address without using the code up, so that a lost answer costs nothing. Our addition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// `host:port` where others reach it on the underlay; ignored if the code fixes some. Our addition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
}

/// Defines a message that configures a device: its own fields, and those that all such messages share.
macro_rules! configuration_message {
    ($(#[$attribute:meta])* $name:ident { $($(#[$field_attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// A whole `nebula.yml` with `pki.ca` and `pki.cert` inline; the device puts its own key at
            /// `pki.key`.
            #[serde(with = "bytes")]
            #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
            pub config: Vec<u8>,
            $($(#[$field_attribute])* pub $field: $type,)*
            /// Counter of this configuration; an update has a greater one than the call.
            pub counter: u64,
            /// Public keys, PEM after PEM, that sign later answers.
            #[serde(with = "bytes")]
            #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
            pub trusted_keys: Vec<u8>,
            /// The operator of the network.
            pub organization: Organization,
            /// The network.
            pub network: Network,
            /// The device.
            pub host: Host,
            /// The user who signed in for the device; always null here.
            #[serde(rename = "endpointOIDC")]
            #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
            pub endpoint_oidc: Option<serde_json::Value>,
        }
    };
}

configuration_message! {
    /// Answer of an enrolment. It is not signed, because the device trusts no key yet.
    Enrollment {
        /// Identifier of the device in its calls.
        #[serde(rename = "hostID")]
        host_id: String,
    }
}

configuration_message! {
    /// Answer of `DoUpdate` and `DoConfigUpdate`, inside a [`SignedAnswer`].
    Update {
        /// The nonce of the request.
        #[serde(with = "bytes")]
        #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
        nonce: Vec<u8>,
    }
}

/// The operator of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Organization {
    /// One constant per installation.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A project, as the protocol sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Network {
    /// The project.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `25519` or `P256`; the device keeps its key pairs of this curve.
    pub curve: String,
    /// The overlay.
    pub cidr: String,
    /// All of them, for clients that support several.
    #[serde(default)]
    pub cidrs: Vec<String>,
    /// Where the device looks up names of other devices. Our addition, unknown to the open client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Names>,
}

/// The resolvers of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = OverlayNames))]
pub struct Names {
    /// Names of devices end in it.
    pub domain: String,
    /// `address:port` of the lighthouses in the overlay.
    pub servers: Vec<String>,
}

/// The device itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// The device's identifier, as `hostID`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its overlay address.
    pub ip_address: String,
    /// All of them, for clients that support several.
    #[serde(default)]
    pub ip_addresses: Vec<String>,
}

/// Body of `POST /v1/dnclient`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Call {
    /// Always [`VERSION`].
    pub version: u32,
    /// The device.
    #[serde(rename = "hostID")]
    pub host_id: String,
    /// Counter of the configuration the device runs.
    pub counter: u64,
    /// Base64 of a [`Message`] in JSON.
    pub message: String,
    /// Over the base64 text, by the host key that belongs to the counter.
    #[serde(with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: Vec<u8>,
}

/// The content of a [`Call`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// One of [`kind`].
    #[serde(rename = "type")]
    pub kind: String,
    /// JSON of the type's value.
    #[serde(default, with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub value: Vec<u8>,
    /// The client's clock: within [`CLOCK_TOLERANCE`] of the gateway's. For types that change state
    /// (DoUpdate, DoConfigUpdate, Status) it must also be later than that of the last such call the gateway
    /// took from this device.
    pub timestamp: DateTime<Utc>,
}

/// The types a [`Message`] can have.
pub mod kind {
    /// No value; answers [`CheckForUpdate`](super::CheckForUpdate).
    pub const CHECK_FOR_UPDATE: &str = "CheckForUpdate";
    /// [`KeyUpdate`](super::KeyUpdate) with nebula key; answers a signed [`Update`](super::Update) with a new
    /// certificate.
    pub const DO_UPDATE: &str = "DoUpdate";
    /// [`KeyUpdate`](super::KeyUpdate) without nebula key; answers a signed [`Update`](super::Update),
    /// certificate kept.
    pub const DO_CONFIG_UPDATE: &str = "DoConfigUpdate";
    /// [`LongPollWait`](super::LongPollWait); answers a [`LongPollAnswer`](super::LongPollAnswer) when there
    /// is something to do, at the latest after 90 s.
    pub const LONG_POLL_WAIT: &str = "LongPollWait";
    /// [`CommandResponse`](super::CommandResponse), behind which more may follow as it comes; answers
    /// `{"data":{}}`. The gateway sends no commands, so what follows is discarded.
    pub const COMMAND_RESPONSE: &str = "CommandResponse";
    /// No value; answers a signed [`Reauthentication`](super::Reauthentication). The gateway demands no new
    /// sign-in.
    pub const REAUTHENTICATE: &str = "Reauthenticate";
    /// Our addition: a [`Report`](crate::agent::Report); answers a signed
    /// [`Instruction`](crate::agent::Instruction).
    pub const STATUS: &str = "Status";
    /// Our addition: a [`FindDevice`](crate::agent::FindDevice); answers a signed
    /// [`FoundDevice`](crate::agent::FoundDevice).
    pub const FIND_DEVICE: &str = "FindDevice";
    /// Our addition: a [`NodeReport`](crate::node_sync::NodeReport) of a device that represents a node; answers
    /// a signed [`NodeState`](crate::node_sync::NodeState).
    pub const SYNC_NODE: &str = "SyncNode";
    /// Our addition: the device leaves for good, no value; its address is released, its certificates are
    /// revoked, its keys are refused from then on. Answers `{"data":{}}`.
    pub const LEAVE: &str = "Leave";
}

/// A successful response: `{"data":…}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Data<T> {
    /// The answer.
    pub data: T,
}

/// Answer of `CheckForUpdate`, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CheckForUpdate {
    /// Whether `DoUpdate` would answer another configuration than the device runs.
    pub update_available: bool,
}

/// Value of `LongPollWait`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LongPollWait {
    /// Names of the [`Action`]s that the client supports. A client with only `DoUpdate` gets no other.
    /// Null is none.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub supported_actions: Vec<String>,
}

fn null_is_empty<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Value of `CommandResponse`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CommandResponse {
    /// Of the [`LongPollAnswer`] with the command.
    #[serde(default)]
    pub response_token: String,
    /// Its result.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub response: serde_json::Value,
}

/// Answer of `Reauthenticate`, inside a [`SignedAnswer`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reauthentication {
    /// Where a person signs in: the console.
    #[serde(rename = "loginURL")]
    pub login_url: String,
}

/// Answer of `GET /v1/downloads`: programs of the closed service, none of which are here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Downloads {
    /// By version and platform.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub dnclient: BTreeMap<String, BTreeMap<String, String>>,
    /// By platform.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub mobile: BTreeMap<String, String>,
    /// By kind of repository.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub container: BTreeMap<String, String>,
}

/// Answer of `LongPollWait`. It is not signed, because it only names the next call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct LongPollAnswer {
    /// The next step.
    pub action: Action,
    /// For `CommandResponse`; always empty here.
    pub response_token: String,
}

/// The next step of a device; in JSON its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Action {
    /// Nothing happened; wait again.
    NoOp,
    /// Fetch a new certificate: make new keys and call `DoUpdate`.
    DoUpdate,
    /// Fetch a new configuration: make a new host key and call `DoConfigUpdate`.
    DoConfigUpdate,
}

/// Value of `DoUpdate` and `DoConfigUpdate`: new keys of the network's curve, and no others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyUpdate {
    /// New Ed25519 host key: PEM [`HOST_ED25519_BANNER`].
    #[serde(default, rename = "edPubkeyPEM", with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub host_ed25519: Vec<u8>,
    /// New X25519 key of nebula; empty in `DoConfigUpdate`.
    #[serde(default, rename = "dhPubkeyPEM", with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nebula_x25519: Vec<u8>,
    /// New P256 host key: PEM [`HOST_P256_BANNER`].
    #[serde(default, rename = "p256HostPubkeyPEM", with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub host_p256: Vec<u8>,
    /// New P256 key of nebula; empty in `DoConfigUpdate`.
    #[serde(default, rename = "p256NebulaPubkeyPEM", with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nebula_p256: Vec<u8>,
    /// Random, 8 to 64 bytes; the answer repeats it.
    #[serde(default, with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub nonce: Vec<u8>,
}

/// Answer of the types that change a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedAnswer {
    /// Always [`VERSION`].
    pub version: u32,
    /// JSON of an [`Update`], an [`Instruction`](crate::agent::Instruction) or a
    /// [`FoundDevice`](crate::agent::FoundDevice).
    #[serde(with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub message: Vec<u8>,
    /// By a trusted key over the bytes of `message`: Ed25519, or ECDSA over their SHA-256 in ASN.1.
    #[serde(with = "bytes")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: Vec<u8>,
}

/// Every error of the protocol: `{"errors":[…]}`. Every response has the header `X-Request-ID`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiErrors {
    /// At least one.
    pub errors: Vec<ApiError>,
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = DnapiError))]
pub struct ApiError {
    /// [`INVALID_VALUE`], [`HOST_BLOCKED`], or `ERR_` and the code of a [`Failure`](crate::Failure) in
    /// capitals.
    pub code: String,
    /// The problem and the remedy.
    pub message: String,
    /// The field, or empty.
    #[serde(default)]
    pub path: String,
}
