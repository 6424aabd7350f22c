//! Forwards connections from a loopback port inside a host's namespace to a Unix socket outside, so that the
//! path to the gateway is not part of the underlay.

use std::io::{self, copy};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(socket)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other("control-link PORT SOCKET"));
    };
    let port: u16 = port.parse().map_err(io::Error::other)?;
    for inside in TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.incoming() {
        let (inside, socket) = (inside?, socket.clone());
        // On a failure the client's connection is closed.
        thread::spawn(move || drop(carry(&inside, &socket)));
    }
    Ok(())
}

fn carry(inside: &TcpStream, socket: &str) -> io::Result<()> {
    let outside = UnixStream::connect(socket)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            drop(copy(&mut &*inside, &mut &outside));
            drop(outside.shutdown(Shutdown::Write));
        });
        drop(copy(&mut &outside, &mut &*inside));
        inside.shutdown(Shutdown::Both)
    })
}
