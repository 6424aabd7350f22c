//! Tells when addresses or routes of this machine change, as when it comes into another network.

use std::io;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UdpSocket;
use tokio::time::sleep;

/// Addresses and routes of IPv4 and of IPv6, as the kernel numbers its groups.
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;
/// A network comes with several changes: link, address, routes.
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// Where the kernel tells no changes, as in a sandbox without netlink.
const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// News of the kernel. tokio has no type for netlink; one for datagrams reads it, too.
pub(crate) struct RouteWatch(Option<UdpSocket>);

impl RouteWatch {
    pub(crate) fn new() -> Self {
        Self(open().ok())
    }

    /// Waits for the next change, and until those that belong to it have come. What a caller that gives up has
    /// missed comes with the next call.
    pub(crate) async fn changed(&mut self) {
        let Some(socket) = &self.0 else { return sleep(POLL_INTERVAL).await };
        if socket.readable().await.is_err() {
            self.0 = None;
            return;
        }
        sleep(SETTLE_TIME).await;
        let mut buffer = [0_u8; 8192];
        // An error is that messages were dropped because there were too many.
        while !socket.try_recv(&mut buffer).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {}
    }
}

fn open() -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // The protocol without a number is that of routes.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    UdpSocket::from_std(socket.into())
}
