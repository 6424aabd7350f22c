//! Carries connections to a port of the loopback here, in a host's namespace, to a Unix socket outside: the way to the
//! gateway is no part of the underlay.

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
        // Whoever connected hears of a failure by the connection's end.
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
