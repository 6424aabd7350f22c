//! The gateway's HTTP interface: its connections to clients and to the database,
//! input validation, sessions of users.

mod account;
mod administration;
mod connection;
mod database;
mod ended;
mod input;
mod invitation;
mod list;
mod notification;
mod openapi;
mod pages;
mod personal_token;
mod proxy;
mod record;
mod refresh;
mod roles;
mod second_factor;
mod secrets;
mod session;
mod statements;
mod tls;
