//! Certificates that a person has accepted by their fingerprint, for gateways that signed theirs themselves.

use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use reqwest::Url;

use crate::error::{Code, Error, Result, UsageError};
use crate::settings::Settings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// SHA-256 of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

/// Parses 64 hexadecimal digits, with or without colons.
pub(crate) fn parse_fingerprint(text: &str) -> std::result::Result<Fingerprint, UsageError> {
    let digits: String = text.chars().filter(|character| *character != ':').collect();
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut bytes)
        .map_err(|_| UsageError::new("write it as 64 hexadecimal digits, as the gateway logs it"))?;
    Ok(Fingerprint(bytes))
}

/// Looks at the certificate of a server, and keeps it for all further calls if it is the one with this fingerprint.
pub(crate) async fn remember(settings: &Settings, server: &str, wanted: Fingerprint) -> Result<()> {
    let asked = server.to_owned();
    let shown = tokio::task::spawn_blocking(move || certificate_of(&asked)).await;
    let certificate = shown.map_err(|error| Error::new(Code::Io, error.to_string()))??;
    let unreadable = |error: openssl::error::ErrorStack| Error::new(Code::Protocol, error.to_string());
    let found = certificate.digest(MessageDigest::sha256()).map_err(unreadable)?;
    if found[..] != wanted.0 {
        let detail = format!("the certificate of {server} has the fingerprint {}", hex::encode(&*found));
        return Err(Error::new(Code::Refused, detail)
            .hint("Ask who runs the gateway: its log has the right one. Somebody may be in between."));
    }
    let text = STANDARD.encode(certificate.to_der().map_err(unreadable)?);
    settings.set_certificate(server, &text)
}

/// The certificate that was kept for a server.
pub(crate) fn kept(settings: &Settings, server: &str) -> Option<reqwest::Certificate> {
    let text = settings.certificate(server)?;
    reqwest::Certificate::from_der(&STANDARD.decode(text).ok()?).ok()
}

/// The certificate that a server shows, which is not judged here.
fn certificate_of(server: &str) -> Result<X509> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(Code::Unreachable, format!("cannot read the certificate of {server}: {error}"))
            .hint("Is it a gateway with TLS, and the address one with https://?")
    };
    let url = Url::parse(server).map_err(|error| failed(&error))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let mut addresses = (host.as_str(), port).to_socket_addrs().map_err(|error| failed(&error))?;
    let address = addresses.next().ok_or_else(|| failed(&"the name has no address"))?;
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(|error| failed(&error))?;
    stream.set_read_timeout(Some(CONNECT_TIMEOUT)).map_err(|error| failed(&error))?;
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|error| failed(&error))?;
    builder.set_verify(SslVerifyMode::NONE);
    let connect = builder.build().configure().map_err(|error| failed(&error))?;
    let is_name = host.parse::<IpAddr>().is_err();
    let connect = connect.verify_hostname(false).use_server_name_indication(is_name);
    let stream = connect.connect(&host, stream).map_err(|error| failed(&error))?;
    stream.ssl().peer_certificate().ok_or_else(|| failed(&"it shows none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons() {
        let digits = "0123456789abcdef".repeat(4);
        let pairs: Vec<_> = digits.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect();
        let plain = parse_fingerprint(&digits).unwrap();
        assert_eq!(parse_fingerprint(&pairs.join(":").to_uppercase()).unwrap(), plain);
        for wrong in ["", "ab", &digits[1..], "zz"] {
            assert!(parse_fingerprint(wrong).is_err(), "{wrong}");
        }
    }
}
