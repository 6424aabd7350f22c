//! IPv6 as the kernel of this machine has it.

use std::fs;
use std::net::{Ipv6Addr, UdpSocket};

use rustix::io::Errno;

/// Whether the kernel opens IPv6 sockets, which `ipv6.disable=1` prevents. Other errors say nothing about
/// that.
pub(super) fn has_sockets() -> bool {
    let error = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).err().and_then(|error| error.raw_os_error());
    !error.is_some_and(|code| {
        [Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT, Errno::ADDRNOTAVAIL]
            .iter()
            .any(|errno| errno.raw_os_error() == code)
    })
}

/// Whether a new interface takes IPv6 addresses. The setting is for all interfaces to come; that for all present ones
/// changes it, too.
pub(super) fn has_addresses() -> bool {
    has_sockets()
        && fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6")
            .is_ok_and(|text| text.trim() == "0")
}
