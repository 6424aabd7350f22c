//! The gateway's HTTP interface: input validation and sessions of users.

mod input;
mod session;
mod statements;
