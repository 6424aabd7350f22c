//! The global options, as every command gets them.

use crate::agent::state;
use std::path::PathBuf;

use crate::client::{Client, PersonalToken};
use crate::device_folder::existing_folder;
use crate::error::Result;
use crate::output::Output;
use crate::secret_file;
use crate::settings::Settings;

/// The global options.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    /// The server named on the command line or in the environment.
    pub(crate) server: Option<String>,
    /// Whether it was named on the command line.
    pub(crate) is_server_named: bool,
    /// Holds the personal token to act by.
    pub(crate) token_file: Option<PathBuf>,
}

impl Context {
    /// A client of the server that [`Self::server`] names.
    pub(crate) fn client(&self) -> Result<Client> {
        let token = self.personal_token()?;
        Ok(self.session_client()?.with_personal_token(token))
    }

    /// The same for commands that begin and end a session, which no personal token does.
    pub(crate) fn session_client(&self) -> Result<Client> {
        let settings = Settings::locate();
        Client::new(&self.server(&settings)?, settings)
    }

    fn personal_token(&self) -> Result<Option<PersonalToken>> {
        let token = match &self.token_file {
            Some(path) => Some(secret_file::read(path, "token")?),
            None => std::env::var("NEBULA_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        Ok(token.map(PersonalToken::new))
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
