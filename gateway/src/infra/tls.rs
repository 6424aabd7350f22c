//! TLS for clients: certificate and key from files, which are read again when they change, or a certificate that the
//! gateway signs itself.

mod self_signed;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Pause between looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a client may take until its connection is encrypted.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// First byte of a TLS connection; no HTTP request begins with it.
const HANDSHAKE_RECORD: u8 = 22;

/// Where certificate and key come from.
#[derive(Debug, Clone)]
pub(crate) enum TlsSource {
    /// A chain and its key, both PEM. Clients use TLS, but for those of this machine.
    Files { certificate: PathBuf, key: PathBuf },
    /// A folder in which the gateway keeps what it has signed itself. Clients may use TLS.
    SelfSigned { folder: PathBuf, names: Vec<String> },
}

/// Accepts encrypted connections.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    /// Whether clients of other machines must encrypt, and browsers are told that they always must.
    is_required: bool,
}

/// The beginning of a connection.
pub(crate) enum Opening {
    Encrypted(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

impl Tls {
    /// Reads, or makes, certificate and key, and looks for others until `stopping` is cancelled.
    pub(crate) fn start(source: &TlsSource, stopping: CancellationToken) -> Result<Self> {
        let (certificate, key) = match source {
            TlsSource::Files { certificate, key } => (certificate.clone(), key.clone()),
            TlsSource::SelfSigned { folder, names } => self_signed::ensure(folder, names)?,
        };
        let pair = Pair { certificate, key };
        let (content, loaded) = pair.load()?;
        tracing::info!(fingerprint = fingerprint(&loaded), "TLS: SHA-256 of the certificate");
        let current = Arc::new(Current(RwLock::new(Arc::new(loaded))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        tokio::spawn(stopping.run_until_cancelled_owned(follow(pair, content, current)));
        let is_required = matches!(source, TlsSource::Files { .. });
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), is_required })
    }

    /// Whether clients of other machines must encrypt.
    pub(crate) fn is_required(&self) -> bool {
        self.is_required
    }

    /// Encrypts the connection if the client begins so.
    pub(crate) async fn open(&self, stream: TcpStream) -> io::Result<Opening> {
        let opening = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first == [HANDSHAKE_RECORD] {
                Ok(Opening::Encrypted(Box::new(self.acceptor.accept(stream).await?)))
            } else {
                Ok(Opening::Plain(stream))
            }
        };
        timeout(HANDSHAKE_TIMEOUT, opening).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("is_required", &self.is_required).finish_non_exhaustive()
    }
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Two files that belong together.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    /// Reads both; answers a hash of their content as well.
    fn load(&self) -> Result<([u8; 32], CertifiedKey)> {
        let read = |path: &Path, setting: &str| {
            std::fs::read(path)
                .with_context(|| format!("the file {} of {setting} cannot be read", path.display()))
        };
        let certificate = read(&self.certificate, "NEBULA_TLS_CERT")?;
        let key = read(&self.key, "NEBULA_TLS_KEY")?;
        let content = Sha256::new().chain_update(&certificate).chain_update(&key).finalize().into();
        let malformed =
            |setting: &str, path: &Path| format!("{setting}: {} is no PEM file of one", path.display());
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<std::result::Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.with_context(|| malformed("NEBULA_TLS_CERT", &self.certificate))?;
        // Without the cause, which may repeat a part of the key.
        let key = PrivateKeyDer::from_pem_slice(&key).ok();
        let key = key.with_context(|| malformed("NEBULA_TLS_KEY", &self.key))?;
        let loaded = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .context("NEBULA_TLS_CERT and NEBULA_TLS_KEY do not belong together")?;
        Ok((content, loaded))
    }
}

/// SHA-256 of the first certificate, in hexadecimal.
fn fingerprint(key: &CertifiedKey) -> String {
    key.cert.first().map(|first| hex::encode(Sha256::digest(first))).unwrap_or_default()
}

/// Takes another certificate as soon as it is whole. A program that renews one writes two files, one after the other, and
/// until both belong together the old ones stay.
async fn follow(pair: Pair, mut content: [u8; 32], current: Arc<Current>) {
    let (mut pace, mut told) = (interval(LOOK_INTERVAL), None);
    loop {
        pace.tick().await;
        match pair.load() {
            Ok((found, loaded)) if found != content => {
                tracing::info!(fingerprint = fingerprint(&loaded), "TLS: another certificate");
                *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                (content, told) = (found, None);
            }
            Ok(_) => told = None,
            Err(error) => {
                let sentence = format!("{error:#}");
                if told.as_ref() != Some(&sentence) {
                    tracing::warn!("TLS: the certificate of before stays: {sentence}");
                    told = Some(sentence);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(folder: &Path, name: &str) -> Pair {
        let (certificate, key) = self_signed::ensure(&folder.join(name), &["localhost".to_owned()]).unwrap();
        Pair { certificate, key }
    }

    #[test]
    fn a_certificate_and_the_key_of_another_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (pair(folder.path(), "one"), pair(folder.path(), "other"));
        one.load().unwrap();
        let mixed = Pair { certificate: one.certificate.clone(), key: other.key };
        assert!(mixed.load().unwrap_err().to_string().contains("do not belong together"));
    }

    #[test]
    fn files_that_are_missing_or_malformed_are_named_and_never_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let good = pair(folder.path(), "good");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "-----BEGIN PRIVATE KEY-----\nhunter2\n").unwrap();
        let missing = folder.path().join("missing");
        for (certificate, key, setting) in [
            (&missing, &good.key, "NEBULA_TLS_CERT"),
            (&good.key, &good.key, "NEBULA_TLS_CERT"),
            (&good.certificate, &missing, "NEBULA_TLS_KEY"),
            (&good.certificate, &secret, "NEBULA_TLS_KEY"),
        ] {
            let pair = Pair { certificate: certificate.clone(), key: key.clone() };
            let error = format!("{:#}", pair.load().map(drop).unwrap_err());
            assert!(error.contains(setting) && !error.contains("hunter2"), "{error}");
        }
    }
}
