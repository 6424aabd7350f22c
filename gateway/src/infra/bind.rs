//! The addresses that the gateway listens on.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use anyhow::{Context, Result, ensure};
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
