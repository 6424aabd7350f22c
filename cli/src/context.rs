//! The global options, as every command gets them.

use crate::client::Client;
use crate::error::Result;
use crate::output::Output;
use crate::settings::Settings;

/// The global options.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    /// The server named on the command line or in the environment.
    pub(crate) server: Option<String>,
    /// Whether it was named on the command line.
    pub(crate) is_server_named: bool,
}

impl Context {
    /// A client of that server, or else of the server of the last login.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::new(self.server.as_deref(), Settings::locate())
    }
}
