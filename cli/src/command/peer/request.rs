//! The request that creates a peer, repeated until it is clear what became of it.
//!
//! An answer can get lost on the way, or a proxy gives up before the gateway has answered. The peer may exist then,
//! and its private key is here alone. The same request is therefore sent again: the gateway answers the peer that
//! has this identifier and this key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use nebula_api::peer::{CreatePeers, Peer, PeerConfig, PeerResult};
use zeroize::Zeroizing;

use super::key::KeyPair;
use super::{conf, find};
use crate::client::Client;
use crate::context::Context;
use crate::error::{Code, Error, Result};

/// Three more requests, after 1, 2 and 4 s: a gateway starts again within that time.
const AGAIN: ExponentialBuilder =
    ExponentialBuilder::new().with_min_delay(Duration::from_secs(1)).with_max_times(3);

/// Sends a request for one peer.
pub(super) async fn send(context: &Context, client: &Client, request: &CreatePeers) -> Result<Peer> {
    let attempt = || async {
        let results: Vec<PeerResult> = client.post_waiting("/api/peers", request, request.wait).await?;
        match results.into_iter().next() {
            Some(PeerResult { error: Some(error), .. }) => Err(find::item_error(error)),
            Some(PeerResult { peer: Some(peer), .. }) => Ok(peer),
            _ => Err(Error::new(Code::Protocol, "the answer has no peer")
                .hint("Compare the versions: nebulactl --version, nebulactl ping")),
        }
    };
    attempt
        .retry(AGAIN)
        .when(Error::may_be_done)
        .notify(|error, delay| {
            context.output.note(&format!("{error}; the same request again in {} s", delay.as_secs()));
        })
        .await
}

/// Keeps the private key of a peer that may exist in a file from which `peer conf` makes the whole `.conf`.
pub(super) fn keep_key(target: Option<&Path>, name: &str, pair: &KeyPair) -> Result<PathBuf> {
    let config = PeerConfig { file_name: format!("{}.conf", stem(name)), conf: String::new() };
    let text = Zeroizing::new(format!("[Interface]\nPrivateKey = {}\n", pair.private()));
    conf::write(target, &config, &text)
}

/// A name of a file like the one that the gateway makes from the peer's.
fn stem(name: &str) -> String {
    let plain = name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let kept = plain.trim_matches('-');
    if kept.is_empty() { "peer".to_owned() } else { kept.chars().take(15).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_peer_that_may_exist_is_found_again_in_the_file_that_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let (pair, target) = (KeyPair::generate().unwrap(), folder.path().join("kept.conf"));
        let file = keep_key(Some(&target), "phone", &pair).unwrap();
        assert_eq!(conf::key_in(&conf::read(&file).unwrap()).unwrap().public, pair.public);
    }

    #[test]
    fn every_name_makes_a_file_name() {
        for (name, wanted) in [
            ("Ada's phone", "ada-s-phone"),
            ("../x", "x"),
            ("ü", "peer"),
            ("a very long name of a phone", "a-very-long-nam"),
        ] {
            let config = PeerConfig { file_name: format!("{}.conf", stem(name)), conf: String::new() };
            assert_eq!(conf::file_name(&config).unwrap(), wanted);
        }
    }
}
