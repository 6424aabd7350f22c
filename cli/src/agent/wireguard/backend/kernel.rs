//! WireGuard of the kernel, over netlink.

use std::net::IpAddr;

use wireguard_uapi::err::{ConnectError, GetDeviceError, LinkDeviceError, NlError, SetDeviceError};
use wireguard_uapi::set::{AllowedIp, Device, Peer, WgPeerF};
use wireguard_uapi::{DeviceInterface, RouteSocket, WgSocket};

use super::{Backend, Delta, Observed, PeerChange, observed, refused};
use crate::agent::wireguard::key::KEY_BYTES;
use crate::error::{Code, Error, Result};

const NO_KEY: [u8; KEY_BYTES] = [0; KEY_BYTES];
/// The kernel knows no such type of link.
const EOPNOTSUPP: i32 = 95;

pub(in crate::agent::wireguard) struct Kernel {
    name: String,
}

impl Kernel {
    pub(in crate::agent::wireguard) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    /// Creates the link; false if this kernel has no WireGuard.
    pub(in crate::agent::wireguard) fn create(name: &str) -> Result<bool> {
        let mut socket = RouteSocket::connect().map_err(|error| not_connected(&error))?;
        match socket.add_device(name) {
            Ok(()) => Ok(true),
            Err(LinkDeviceError::NlError(NlError::Nlmsgerr(answer))) if answer.error == -EOPNOTSUPP => {
                Ok(false)
            }
            Err(LinkDeviceError::NlError(error)) => Err(failed(&error)),
            Err(error) => Err(Error::new(Code::Io, format!("cannot create {name}: {error}"))),
        }
    }
}

impl Backend for Kernel {
    fn apply(&self, delta: &Delta) -> Result<()> {
        let mut device = Device::from_ifname(self.name.as_str());
        device.private_key = delta.private_key.as_ref().map(|key| key.bytes());
        device.listen_port = delta.listen_port;
        let pairs = |change: &PeerChange| -> Vec<(IpAddr, u8)> {
            let networks = change.allowed_ips.iter().flatten();
            networks.map(|network| (network.network(), network.prefix())).collect()
        };
        let networks: Vec<_> = delta.peers.iter().map(pairs).collect();
        device.peers =
            delta.peers.iter().zip(&networks).map(|(change, networks)| peer(change, networks)).collect();
        let mut socket = WgSocket::connect().map_err(|error| not_connected(&error))?;
        socket.set_device(device).map_err(|error| match error {
            SetDeviceError::NlError(error) => failed(&error),
            error @ SetDeviceError::NlSerError(_) => Error::new(Code::Io, error.to_string()),
        })
    }

    fn read(&self) -> Result<Observed> {
        let mut socket = WgSocket::connect().map_err(|error| not_connected(&error))?;
        let device = socket.get_device(DeviceInterface::from_name(self.name.as_str()));
        observed(device.map_err(|error| match error {
            GetDeviceError::NlError(error) => failed(&error),
            error => Error::new(Code::Io, format!("cannot read {}: {error}", self.name)),
        })?)
    }
}

fn peer<'a>(change: &'a PeerChange, networks: &'a [(IpAddr, u8)]) -> Peer<'a> {
    let mut peer = Peer::from_public_key(change.key.bytes());
    if change.remove {
        return peer.flags(vec![WgPeerF::RemoveMe]);
    }
    peer.preshared_key = change.preshared.as_ref().map(|key| key.as_ref().map_or(&NO_KEY, |key| key.bytes()));
    peer.endpoint = change.endpoint.as_ref();
    peer.persistent_keepalive_interval = change.keepalive;
    if change.allowed_ips.is_some() {
        peer.flags = vec![WgPeerF::ReplaceAllowedIps];
    }
    peer.allowed_ips =
        networks.iter().map(|(ipaddr, prefix)| AllowedIp { ipaddr, cidr_mask: Some(*prefix) }).collect();
    peer
}

fn failed(error: &NlError) -> Error {
    match error {
        NlError::Nlmsgerr(answer) => refused(answer.error),
        error => Error::new(Code::Io, format!("WireGuard: {error}")),
    }
}

fn not_connected(error: &ConnectError) -> Error {
    Error::new(Code::Io, format!("cannot ask the kernel's WireGuard: {error}"))
}
