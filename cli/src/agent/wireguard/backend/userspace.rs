//! WireGuard in a program, wireguard-go, over its socket.

use std::path::PathBuf;

use wireguard_uapi::xplatform::error::{GetDeviceError, ParseGetResponseError, SetDeviceError};
use wireguard_uapi::xplatform::set::{AllowedIp, Device, Peer};
use wireguard_uapi::xplatform::{self};

use super::{Backend, Delta, Observed, PeerChange, observed, refused};
use crate::agent::wireguard::key::KEY_BYTES;
use crate::error::{Code, Error, Result};

pub(in crate::agent::wireguard) struct Userspace {
    socket: PathBuf,
}

impl Userspace {
    pub(in crate::agent::wireguard) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    fn client(&self) -> xplatform::Client<&PathBuf> {
        xplatform::Client::create(&self.socket)
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::new(Code::Io, format!("cannot ask WireGuard at {}: {error}", self.socket.display()))
    }
}

impl Backend for Userspace {
    fn apply(&self, delta: &Delta) -> Result<()> {
        let device = Device {
            private_key: delta.private_key.as_ref().map(|key| *key.bytes()),
            listen_port: delta.listen_port,
            peers: delta.peers.iter().map(peer).collect(),
            ..Device::default()
        };
        self.client().set(device).map_err(|error| match &error {
            SetDeviceError::ServerError(number) => numbered(number),
            error => self.failed(error),
        })
    }

    fn read(&self) -> Result<Observed> {
        use ParseGetResponseError::{IncompleteResponse, InternalBuildGetDeviceError, ServerError};
        match self.client().get() {
            Ok(device) => observed(device),
            // wireguard-go leaves the port out while it has none, which the parser takes for a fault.
            Err(GetDeviceError::ParseGetDevice(IncompleteResponse | InternalBuildGetDeviceError(_))) => {
                Ok(Observed::default())
            }
            Err(GetDeviceError::ParseGetDevice(ServerError(number))) => Err(numbered(&number)),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

fn peer(change: &PeerChange) -> Peer {
    let peer = Peer::from_public_key(*change.key.bytes());
    if change.remove {
        return peer.remove(true);
    }
    let networks = change.allowed_ips.iter().flatten();
    let networks = networks.map(|one| AllowedIp { ipaddr: one.network(), cidr_mask: one.prefix() });
    Peer {
        preshared_key: change
            .preshared
            .as_ref()
            .map(|key| key.as_ref().map_or([0; KEY_BYTES], |key| *key.bytes())),
        endpoint: change.endpoint,
        persistent_keepalive_interval: change.keepalive,
        replace_allowed_ips: change.allowed_ips.is_some().then_some(true),
        allowed_ips: networks.collect(),
        ..peer
    }
}

/// The number of an error, as `errno=-98` has it.
fn numbered(number: &str) -> Error {
    number.parse().map_or_else(|_| Error::new(Code::Io, format!("WireGuard refuses: {number}")), refused)
}
