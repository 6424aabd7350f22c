//! The global options, as every command gets them.

use crate::agent::state;
use crate::client::Client;
use crate::device_folder::existing_folder;
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
    /// A client of the server that [`Self::server`] names.
    pub(crate) fn client(&self) -> Result<Client> {
        let settings = Settings::locate();
        Client::new(&self.server(&settings)?, settings)
    }

    /// The server that was named, else that of the last login, else the gateway of this machine's device.
    pub(crate) fn server(&self, settings: &Settings) -> Result<String> {
        if let Some(named) = &self.server {
            return Ok(named.clone());
        }
        // A folder that this user may not read, or that is damaged, counts as missing.
        let of_device = || state::identity(&existing_folder()).ok()?.map(|identity| identity.server);
        settings.server(of_device)
    }
}
