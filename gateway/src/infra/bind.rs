//! The addresses that the gateway listens on.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::net::sockopt::{set_ip_freebind, set_ipv6_freebind, set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

/// Connections that may wait to be accepted: agents of a restarted gateway come back all at once.
const BACKLOG: i32 = 4096;

/// The first address, which may have a host name, and the further ones.
pub(crate) fn listen_addresses(setting: &str) -> Result<(&str, Vec<SocketAddr>)> {
    let mut addresses = setting.split(',').map(str::trim);
    let first = addresses.next().unwrap_or_default();
    ensure!(!first.is_empty(), "NEBULA_LISTEN names no address; for example 127.0.0.1:8080");
    let parse = |text: &str| {
        let wrong = || format!("NEBULA_LISTEN: {text:?} after a comma is not like 10.42.0.1:8080");
        text.parse().with_context(wrong)
    };
    Ok((first, addresses.map(parse).collect::<Result<_>>()?))
}

/// Sockets for the first setting: all addresses of its name that can be bound. Fails if none can.
pub(crate) fn bound(first: &str) -> io::Result<Vec<TcpListener>> {
    let (mut listeners, mut failure) = (Vec::new(), io::Error::from(io::ErrorKind::NotFound));
    for address in first.to_socket_addrs()? {
        match socket(&address, false) {
            Ok(listener) => listeners.push(listener),
            Err(error) => failure = error,
        }
    }
    if listeners.is_empty() { Err(failure) } else { Ok(listeners) }
}

/// A socket for an address that this machine need not have yet: that of the overlay comes and goes with nebula.
pub(crate) fn free_bound(address: &SocketAddr) -> io::Result<TcpListener> {
    socket(address, true)
}

/// The remedy for an address that cannot be listened on, as the end of a sentence.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "is another gateway, or another program, running there?",
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address (ip addr lists those it has)"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
        _ if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            "the kernel of this machine has no IPv6"
        }
        _ => "write host:port, for example 127.0.0.1:8080",
    }
}

fn socket(address: &SocketAddr, free: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv4() {
        set_ip_freebind(&socket, free)?;
    } else if free {
        set_ipv6_freebind(&socket, true)?;
        set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_another_machine_is_not_taken_for_a_port_in_use() {
        let error = bound("192.0.2.1:0").unwrap_err();
        assert!(advice(&error).contains("does not have that address"), "{error}");
        let first = bound("127.0.0.1:0").unwrap();
        let taken = first[0].local_addr().unwrap().to_string();
        assert!(advice(&bound(&taken).unwrap_err()).contains("another gateway"));
    }

    #[test]
    fn the_first_address_may_be_a_name_and_the_others_may_come_later() {
        let (first, further) = listen_addresses("localhost:8080, 192.0.2.1:0,[2001:db8::1]:0").unwrap();
        assert_eq!((first, further.len()), ("localhost:8080", 2));
        for address in &further {
            let listener = free_bound(address).unwrap();
            assert_eq!(listener.local_addr().unwrap().ip(), address.ip());
        }
        for wrong in ["", "a:1,b:2", "127.0.0.1:8080,"] {
            assert!(listen_addresses(wrong).is_err(), "{wrong}");
        }
    }
}
