//! The addresses at which devices reach the gateway. No route may lead them into the overlay, which a device
//! builds from what the gateway says.

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use actix_web::http::Uri;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long an answer of the resolver is used.
const MAX_AGE: Duration = Duration::from_secs(60);
/// A resolver that is slower does not hold up a configuration.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Addresses of `NEBULA_PUBLIC_URL`; none without it.
#[derive(Debug, Default)]
pub(crate) struct GatewayAddress {
    host: Option<String>,
    resolved: RwLock<Option<(Instant, Vec<IpAddr>)>>,
}

impl GatewayAddress {
    pub(crate) fn new(public_url: Option<&str>) -> Self {
        let host = public_url.and_then(|url| Some(url.parse::<Uri>().ok()?.host()?.to_owned()));
        Self { host, ..Self::default() }
    }

    /// Asks the resolver if its last answer is old; if it fails, that answer stays.
    pub(crate) async fn resolve(&self) -> Vec<IpAddr> {
        let Some(host) = &self.host else { return Vec::new() };
        let is_fresh = |(at, _): &(Instant, _)| at.elapsed() < MAX_AGE;
        let resolved = self.resolved.read().unwrap_or_else(PoisonError::into_inner).clone();
        if resolved.as_ref().is_some_and(is_fresh) {
            return self.known();
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let answer = match bare.parse() {
            Ok(address) => Ok(vec![address]),
            Err(_) => match timeout(LOOKUP_TIMEOUT, lookup_host((bare, 0))).await {
                Ok(Ok(found)) => Ok(found.map(|socket| socket.ip()).collect()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the resolver does not answer".to_owned()),
            },
        };
        let known = answer.unwrap_or_else(|error| {
            tracing::warn!(host, error, "the host of NEBULA_PUBLIC_URL cannot be resolved");
            self.known()
        });
        *self.resolved.write().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), known.clone()));
        known
    }

    /// The last answer.
    pub(crate) fn known(&self) -> Vec<IpAddr> {
        let resolved = self.resolved.read().unwrap_or_else(PoisonError::into_inner);
        resolved.as_ref().map_or_else(Vec::new, |(_, addresses)| addresses.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_addresses_are_those_of_the_public_url() {
        for (url, addresses) in [
            (None, vec![]),
            (Some("https://192.0.2.5:8443"), vec!["192.0.2.5"]),
            (Some("http://[2001:db8::5]"), vec!["2001:db8::5"]),
        ] {
            let gateway = GatewayAddress::new(url);
            let wanted: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(gateway.resolve().await, wanted);
            assert_eq!(gateway.known(), wanted);
        }
        let named = GatewayAddress::new(Some("http://localhost:8080"));
        assert!(named.resolve().await.iter().all(IpAddr::is_loopback) && !named.known().is_empty());
    }
}
