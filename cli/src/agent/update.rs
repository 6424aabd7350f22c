//! Fetching a configuration: new keys are saved before they are sent, and the response is saved before it is
//! used.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use nebula_api::dnapi::{KeyUpdate, Network, kind};
use nebula_certificate::{Curve, KeyPair, verify};
use openssl::rand::rand_bytes;
use serde::{Deserialize, Serialize};
use tokio::net::lookup_host;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Agent;
use super::config::Config;
use super::keys::{HostKey, nebula_key};
use super::state::{AgentFolder, Generation, Identity, NewGeneration};
use crate::error::{Code, Error, Result};

const PENDING_FILE: &str = "update.json";
/// A resolver that takes longer does not hold up a configuration.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(3);

/// Keys of an update. They are sent again unchanged until a response has arrived.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PendingKeys {
    host_key: Zeroizing<String>,
    /// Only for a new certificate.
    nebula_key: Option<Zeroizing<String>>,
}

/// The common part of all responses with a configuration.
pub(crate) struct ReceivedConfig<'a> {
    pub(crate) counter: u64,
    /// `nebula.yml`.
    pub(crate) config: &'a [u8],
    /// Concatenated PEM blocks.
    pub(crate) trusted_keys: &'a [u8],
    /// URL of the gateway.
    pub(crate) server: &'a str,
}

impl Agent {
    /// Fetches a configuration, with a new certificate or for the present one, and applies it.
    pub(super) async fn update(&mut self, with_certificate: bool) -> Result<()> {
        let credential = self.credential()?.clone();
        // Without a new certificate the new generation keeps nebula's key of the present one.
        let mut generations = self.folder.generations()?.into_iter();
        let base =
            generations.find(|one| one.counter() == credential.counter).ok_or_else(no_configuration)?;
        let curve = curve(&self.identity.network)?;
        let pending = match self.folder.read::<PendingKeys>(PENDING_FILE)? {
            Some(pending) if pending.nebula_key.is_some() == with_certificate => pending,
            _ => {
                let nebula_key = with_certificate.then(|| nebula_key(curve)).transpose()?;
                let host_key = HostKey::generate(curve)?.private_pem()?;
                let pending = PendingKeys { host_key, nebula_key: nebula_key.map(|key| key.private_pem()) };
                self.folder.save(PENDING_FILE, &pending)?;
                pending
            }
        };
        let host_key = HostKey::parse(&pending.host_key)?;
        let nebula_key = pending.nebula_key.as_ref().unwrap_or(&base.nebula_key);
        let pair = key_pair(nebula_key)?;

        let public = if with_certificate { pair.public_key().pem().into_bytes() } else { Vec::new() };
        let mut request = KeyUpdate { nonce: nonce()?, ..KeyUpdate::default() };
        match curve {
            Curve::Curve25519 => {
                (request.host_ed25519, request.nebula_x25519) = (host_key.public_pem()?, public)
            }
            Curve::P256 => (request.host_p256, request.nebula_p256) = (host_key.public_pem()?, public),
        }
        let kind = if with_certificate { kind::DO_UPDATE } else { kind::DO_CONFIG_UPDATE };
        let update = self.gateway.update(&credential, kind, &request).await?;

        let received = ReceivedConfig {
            counter: update.counter,
            config: &update.config,
            trusted_keys: &update.trusted_keys,
            server: &self.identity.server,
        };
        let keys = (&host_key, &pair);
        let next =
            store_config(&self.folder, &credential.host_id, &received, keys, self.nebula.is_child()).await?;
        self.folder.remove(PENDING_FILE)?;
        let identity =
            Identity { server: self.identity.server.clone(), network: update.network, host: update.host };
        if identity != self.identity {
            self.folder.save_identity(&identity)?;
            self.identity = identity;
        }
        self.apply(next).await
    }
}

/// Checks a response and saves it as a generation. A certificate for another key, or one that its authorities
/// have not signed, is an error.
pub(crate) async fn store_config(
    folder: &AgentFolder,
    host_id: &str,
    received: &ReceivedConfig<'_>,
    (host_key, pair): (&HostKey, &KeyPair),
    own_log: bool,
) -> Result<Generation> {
    let text = |bytes, what: &str| {
        str::from_utf8(bytes).map_err(|_| Error::new(Code::Protocol, format!("{what} is not text")))
    };
    let mut config = Config::parse(text(received.config, "the configuration from the gateway")?)?;
    let authorities = config.authorities()?;
    for certificate in config.certificates()? {
        if certificate.details().public_key != pair.public_key().bytes() {
            return Err(Error::new(Code::Protocol, "the gateway sent a certificate for another key"));
        }
        verify(&certificate, &authorities, SystemTime::now()).map_err(|error| {
            Error::new(Code::Protocol, format!("the certificate from the gateway is not valid: {error}"))
                .hint("Is this machine's clock right? Certificates depend on it: timedatectl set-ntp true")
        })?;
    }
    if config.has_routes() {
        config.keep_way_to(&underlay(received.server, &config.endpoints()).await);
    }
    config.set_key(&folder.key_path(received.counter));
    if own_log {
        config.set_logging();
    }
    folder.add(&NewGeneration {
        host_id,
        counter: received.counter,
        config: &config.render(),
        host_key,
        nebula_key: &pair.private_pem(),
        trusted_keys: text(received.trusted_keys, "the list of trusted keys")?,
    })
}

/// The addresses of the gateway, lighthouses and relays, as the resolver of this machine has them now; without
/// those that it does not know.
async fn underlay(server: &str, endpoints: &[String]) -> Vec<IpAddr> {
    let url = reqwest::Url::parse(server).ok();
    let gateway = url.and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    let names = gateway.iter().chain(endpoints).map(|name| timeout(RESOLVER_TIMEOUT, lookup_host(name)));
    let found = join_all(names).await.into_iter().flatten().flatten();
    found.flatten().map(|socket| socket.ip()).collect()
}

/// The curve of a network in the protocol's spelling.
pub(crate) fn curve(network: &Network) -> Result<Curve> {
    network.curve.parse().map_err(|_| {
        Error::new(
            Code::Protocol,
            format!("the network is on a curve this nebulactl does not know: {}", network.curve),
        )
        .hint("Compare the versions: nebulactl --version, nebulactl ping")
    })
}

/// Parses a saved private key of nebula.
pub(crate) fn key_pair(pem: &str) -> Result<KeyPair> {
    KeyPair::parse(pem).map_err(|error| {
        Error::new(Code::Damaged, format!("the key of this device cannot be read: {error}"))
            .hint("Join again with a new code: nebulactl leave, then nebulactl join --code CODE")
    })
}

/// Random bytes that tie a response to its request.
pub(crate) fn nonce() -> Result<Vec<u8>> {
    let mut nonce = vec![0; 16];
    rand_bytes(&mut nonce).map_err(|error| Error::new(Code::Io, format!("cannot make a nonce: {error}")))?;
    Ok(nonce)
}

fn no_configuration() -> Error {
    Error::new(Code::Damaged, "this device has no configuration")
        .hint("Join again with a new code: nebulactl leave, then nebulactl join --code CODE")
}
