//! HTTP client of the gateway: adds the access token to requests and turns failures into [`Error`].

use std::time::Duration;

use nebula_api::auth::{RefreshRequest, TokenPair};
use nebula_api::{Envelope, Failure};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::device_folder::is_device;
use crate::error::{Code, Error, Result, UsageError};
use crate::output::Output;
use crate::pin;
use crate::settings::{Session, Settings};
use crate::tunnel_route::leads_into_tunnel;

/// For requests and responses without file content.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// One gateway.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
    settings: Settings,
    /// Taken instead of a session.
    personal_token: Option<PersonalToken>,
}

/// A token that acts for an account without a session.
pub(crate) struct PersonalToken(String);

impl PersonalToken {
    /// From a file or the environment, where it may have a newline at its end.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().trim().to_owned())
    }
}

/// Without the token, which must not get into a log.
impl std::fmt::Debug for PersonalToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonalToken")
    }
}

/// Checks the URL of a server and normalises it, since sessions are stored by URL.
pub(crate) fn parse_server(text: &str) -> std::result::Result<String, UsageError> {
    let url = Url::parse(text.trim())
        .map_err(|error| UsageError::new(format!("{error}; write it as {DEFAULT_FORM}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(UsageError::new(format!("write it as {DEFAULT_FORM}")));
    }
    let has_extra = url.password().is_some() || url.query().is_some() || url.fragment().is_some();
    if !url.username().is_empty() || has_extra {
        return Err(UsageError::new("leave out names, passwords and queries; nebulactl login signs in"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// HTTP client with the settings that all calls to this server share.
pub(crate) fn http(server: &str) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("nebulactl/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        // The gateway closes a connection that is idle for 5 s; a request that is just on its way would be lost.
        .pool_idle_timeout(Duration::from_secs(3))
        .tcp_keepalive(REQUEST_TIMEOUT);
    if is_local(server) {
        // A proxy from the environment cannot reach this machine's loopback.
        builder = builder.no_proxy();
    }
    if let Some(certificate) = pin::kept(&Settings::locate(), server) {
        // The very certificate, so that its name says no more.
        builder = builder.tls_certs_only([certificate]).tls_danger_accept_invalid_hostnames(true);
    }
    builder
        .build()
        .map_err(|error| Error::new(Code::Io, format!("cannot set up HTTP: {}", root_cause(&error))))
}

const DEFAULT_FORM: &str = "http://host:port or https://host";

impl Client {
    /// For this server, with the sessions in these settings.
    pub(crate) fn new(server: &str, settings: Settings) -> Result<Self> {
        Ok(Self { http: http(server)?, server: server.to_owned(), settings, personal_token: None })
    }

    /// The same, which acts by a personal token if there is one.
    pub(crate) fn with_personal_token(self, personal_token: Option<PersonalToken>) -> Self {
        Self { personal_token, ..self }
    }

    /// URL without a slash at the end.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A request without a token, for [`Self::transmit`] or [`Self::send`].
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server))
    }

    /// `GET` with the access token.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T> {
        let build = || Ok(self.request(Method::GET, path).query(query).timeout(REQUEST_TIMEOUT));
        data(self.send(build).await?).await
    }

    /// `POST` with the access token.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let build = || Ok(self.request(Method::POST, path).json(body).timeout(REQUEST_TIMEOUT));
        data(self.send(build).await?).await
    }

    /// `POST` with the access token, whose answer the gateway may hold back for `wait` seconds.
    pub(crate) async fn post_waiting<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        wait: u32,
    ) -> Result<T> {
        let time = REQUEST_TIMEOUT + Duration::from_secs(wait.into());
        let build = || Ok(self.request(Method::POST, path).json(body).timeout(time));
        data(self.send(build).await?).await
    }

    /// `PATCH` with the access token.
    pub(crate) async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let build = || Ok(self.request(Method::PATCH, path).json(body).timeout(REQUEST_TIMEOUT));
        data(self.send(build).await?).await
    }

    /// The same of what a query names.
    pub(crate) async fn patch_with<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: &impl Serialize,
    ) -> Result<T> {
        let build = || Ok(self.request(Method::PATCH, path).query(query).json(body).timeout(REQUEST_TIMEOUT));
        data(self.send(build).await?).await
    }

    /// `PUT` with the access token.
    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let build = || Ok(self.request(Method::PUT, path).json(body).timeout(REQUEST_TIMEOUT));
        data(self.send(build).await?).await
    }

    /// `DELETE` with the access token.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        self.send(|| Ok(self.request(Method::DELETE, path).timeout(REQUEST_TIMEOUT))).await.map(drop)
    }

    /// `DELETE` with the access token, whose response has data.
    pub(crate) async fn delete_for<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let build = || Ok(self.request(Method::DELETE, path).timeout(REQUEST_TIMEOUT));
        data(self.send(build).await?).await
    }

    /// The same of what a query names.
    pub(crate) async fn delete_for_with<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T> {
        let build = || Ok(self.request(Method::DELETE, path).query(query).timeout(REQUEST_TIMEOUT));
        data(self.send(build).await?).await
    }

    /// `DELETE` with the access token, of what a query names.
    pub(crate) async fn delete_with(&self, path: &str, query: &[(&str, String)]) -> Result<()> {
        let build = || Ok(self.request(Method::DELETE, path).query(query).timeout(REQUEST_TIMEOUT));
        self.send(build).await.map(drop)
    }

    /// `GET` without a token; returns the response with any status.
    pub(crate) async fn get_public(&self, path: &str) -> Result<Response> {
        self.transmit(self.request(Method::GET, path).timeout(REQUEST_TIMEOUT)).await
    }

    /// `POST` without a token, for the routes of login and logout, whose responses have no envelope.
    pub(crate) async fn post_public(&self, path: &str, body: &impl Serialize) -> Result<Response> {
        accept(self.transmit(self.request(Method::POST, path).json(body).timeout(REQUEST_TIMEOUT)).await?)
            .await
    }

    /// Sends a request with the access token. If the token is refused, `build` is called again for one
    /// repetition with a new token.
    pub(crate) async fn send(&self, build: impl Fn() -> Result<RequestBuilder>) -> Result<Response> {
        let token = self.token(None).await?;
        let response = self.transmit(build()?.bearer_auth(&token)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return accept(response).await;
        }
        // The clock of this machine may be wrong, or the gateway may have a new signing key.
        let token = self.token(Some(&token)).await?;
        accept(self.transmit(build()?.bearer_auth(&token)).await?).await
    }

    /// Sends a request as it is.
    pub(crate) async fn transmit(&self, request: RequestBuilder) -> Result<Response> {
        request.send().await.map_err(|error| {
            let reason = if error.is_timeout() { "no answer in time".to_owned() } else { root_cause(&error) };
            let hint = if reason.contains("certificate verify failed") {
                "If the gateway has signed its certificate itself, accept it by the fingerprint in its log: \
                 nebulactl login --fingerprint DIGITS"
            } else {
                "On its machine `make up` starts it; --server or NEBULA_SERVER names another one."
            };
            Error::new(Code::Unreachable, format!("cannot reach {}: {reason}", self.server)).hint(hint)
        })
    }

    /// A valid access token other than `refused`. An expired one is refreshed, under a lock.
    async fn token(&self, refused: Option<&str>) -> Result<String> {
        if let Some(token) = &self.personal_token {
            return if refused.is_none() { Ok(token.0.clone()) } else { Err(self.token_refused()) };
        }
        let usable = |session: &Session| session.is_fresh() && refused != Some(&session.access_token);
        let session = self.session()?;
        if usable(&session) {
            return Ok(session.access_token);
        }
        let lock = self.settings.lock().await?;
        // Another process that held the lock has probably refreshed the token.
        let session = self.session()?;
        if usable(&session) {
            return Ok(session.access_token);
        }
        match self.refresh(&session).await {
            Ok(response) => {
                let session = Session::new(session.username, json::<TokenPair>(response).await?);
                let token = session.access_token.clone();
                self.settings.set_session(&lock, &self.server, Some(session))?;
                Ok(token)
            }
            Err(error) if error.status == Some(401) => {
                self.settings.set_session(&lock, &self.server, None)?;
                let reason = error.failure().detail.clone();
                Err(self.not_signed_in(format!("the session with {} has ended: {reason}", self.server)))
            }
            Err(error) => Err(error),
        }
    }

    async fn refresh(&self, session: &Session) -> Result<Response> {
        let body = RefreshRequest { refresh_token: session.refresh_token.clone() };
        let mut request =
            self.request(Method::POST, "/api/auth/refresh").json(&body).timeout(REQUEST_TIMEOUT);
        if let Some(key) = session.refresh_key {
            request = request.header("idempotency-key", key.to_string());
        }
        accept(self.transmit(request).await?).await
    }

    fn token_refused(&self) -> Error {
        let detail =
            format!("{} does not accept the personal token: it is unknown, or has ended", self.server);
        Error::new(Code::NotSignedIn, detail).hint("Make another one, signed in: nebulactl token create NAME")
    }

    fn session(&self) -> Result<Session> {
        let session = self.settings.session(&self.server)?;
        session.ok_or_else(|| self.not_signed_in(format!("you are not signed in to {}", self.server)))
    }

    /// The hint names the servers that there is a session with: the gateway may have another address now.
    fn not_signed_in(&self, detail: String) -> Error {
        let mut servers = self.settings.servers().unwrap_or_default();
        servers.retain(|server| *server != self.server);
        let mut hint = "Sign in: nebulactl login".to_owned();
        if !servers.is_empty() {
            hint += &format!("; or name one that you are signed in to: --server {}", servers.join(", "));
        }
        if is_device() {
            hint += ". It takes an account: this machine's device has none.";
        }
        Error::new(Code::NotSignedIn, detail).hint(hint)
    }
}

/// Turns an unsuccessful response into its error.
pub(crate) async fn accept(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let url = response.url().path().to_owned();
    if let Ok(failure) = response.json::<Failure>().await {
        return Err(Error::answered(status.as_u16(), failure));
    }
    // The response is not from the gateway but from a proxy, or from another program on its port.
    let mut error = Error::new(Code::Protocol, format!("the server answered {status} to {url}"))
        .hint("Is this a pg_nebula gateway? Look at --server, or at the proxy in front of it.");
    error.status = Some(status.as_u16());
    Err(error)
}

/// Reads the data in the envelope.
pub(crate) async fn data<T: DeserializeOwned>(response: Response) -> Result<T> {
    Ok(json::<Envelope<T>>(response).await?.data)
}

/// Reads a response without an envelope.
pub(crate) async fn json<T: DeserializeOwned>(response: Response) -> Result<T> {
    let path = response.url().path().to_owned();
    response.json().await.map_err(|error| {
        let what = if error.is_decode() { "is not what this nebulactl understands" } else { "broke off" };
        Error::new(Code::Protocol, format!("the answer to {path} {what}"))
            .hint("Compare the versions: nebulactl --version, nebulactl ping")
    })
}

/// The innermost error; the outer ones only say that the request failed.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Warns that a secret is about to travel where others can read it.
pub(crate) fn warn_if_exposed(output: Output, server: &str, secret: &str) {
    if is_exposed(server) {
        output.warning(&format!("{server} is not encrypted: others on the way can read the {secret}"));
    }
}

/// Whether requests travel unencrypted over a network: the overlay encrypts them.
fn is_exposed(server: &str) -> bool {
    let url = Url::parse(server).ok();
    let address =
        url.as_ref().and_then(Url::host_str).and_then(|host| host.trim_matches(['[', ']']).parse().ok());
    server.starts_with("http:") && !is_local(server) && !address.is_some_and(leads_into_tunnel)
}

fn is_local(server: &str) -> bool {
    let url = Url::parse(server).ok();
    let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls_are_normalised() {
        assert_eq!(parse_server("HTTP://Home.Example:80/").unwrap(), "http://home.example");
        assert_eq!(parse_server("http://[::1]:8080").unwrap(), "http://[::1]:8080");
        assert_eq!(parse_server("https://example.org/nebula/").unwrap(), "https://example.org/nebula");
        for wrong in [
            "",
            "home",
            "home:8080",
            "ftp://home",
            "http://",
            "http://me:secret@home",
            "http://home?a=b",
            "http://home#a",
        ] {
            assert!(parse_server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_loopback_hosts_are_local() {
        for local in ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"] {
            assert!(is_local(local), "{local}");
        }
        for remote in ["http://10.0.0.1", "http://localhost.example.org", "http://127.0.0.1.example.org"] {
            assert!(!is_local(remote), "{remote}");
        }
    }
}
