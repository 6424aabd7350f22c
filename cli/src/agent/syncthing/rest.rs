//! Syncthing's REST interface.

use std::path::Path;
use std::time::Duration;

use nebula_api::agent::{FolderReport, Instruction};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Certificate, Method, StatusCode};
use serde_json::Value;

use super::applied_options::AppliedOptions;
use super::desired_config;
use super::error::unusable;
use super::home_dir::ApiAccess;
use crate::client::root_cause;
use crate::error::{Code, Error, Result};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Syncthing's identity and counters.
pub(super) struct SystemStatus {
    /// Device id.
    pub(super) id: String,
    pub(super) version: String,
    /// Bytes received since it started.
    pub(super) received: u64,
}

/// A client of one Syncthing.
pub(super) struct Rest {
    http: reqwest::Client,
    base: String,
}

impl Rest {
    /// Trusts only this certificate. It names the machine, not the loopback, so that the host name is not
    /// checked.
    pub(super) fn new(access: &ApiAccess) -> Result<Self> {
        let mut headers = HeaderMap::new();
        let mut key =
            HeaderValue::from_str(&access.key).map_err(|_| unusable("its API key cannot be sent"))?;
        key.set_sensitive(true);
        headers.insert("X-API-Key", key);
        let certificate = Certificate::from_pem(&access.certificate)
            .map_err(|error| unusable(format!("its certificate cannot be used: {}", root_cause(&error))))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .default_headers(headers)
            .tls_certs_only([certificate])
            .tls_danger_accept_invalid_hostnames(true)
            .build()
            .map_err(|error| unusable(format!("cannot set up HTTP: {}", root_cause(&error))))?;
        Ok(Self { http, base: format!("https://{}/rest", access.address) })
    }

    pub(super) async fn status(&self) -> Result<SystemStatus> {
        let status = self.get("/system/status").await?;
        let version = self.get("/system/version").await?;
        let connections = self.get("/system/connections").await?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(SystemStatus {
            id: text(&status["myID"]).ok_or_else(|| unusable("it does not say who it is"))?,
            version: text(&version["version"]).unwrap_or_default(),
            received: connections["total"]["inBytesTotal"].as_u64().unwrap_or_default(),
        })
    }

    /// Sets the options that keep Syncthing on the overlay.
    pub(super) async fn restrict_to_overlay(&self, overlay: &str) -> Result<()> {
        let found = self.get("/config/options").await?;
        match desired_config::missing(&desired_config::options(overlay), &found) {
            Some(missing) => self.send(Method::PATCH, "/config/options", &missing).await,
            None => Ok(()),
        }
    }

    /// Shares the project's folder with the project's devices, and removes devices that are no longer
    /// members.
    pub(super) async fn share(
        &self,
        own: &str,
        instruction: &Instruction,
        path: &Path,
        applied: &mut AppliedOptions,
    ) -> Result<()> {
        let known = self.get("/config/devices").await?;
        let known = known.as_array().map(Vec::as_slice).unwrap_or_default();
        let devices = desired_config::devices(own, instruction);
        for device in &devices {
            let id = device["deviceID"].as_str().unwrap_or_default();
            let found = known.iter().find(|found| found["deviceID"] == id).unwrap_or(&Value::Null);
            applied.record(id, device, found)?;
            let desired = self.with_defaults(device, "device", &applied.withdrawn(id, device, found)).await?;
            if desired_config::missing(&desired, found).is_some() {
                self.send(Method::POST, "/config/devices", &desired).await?;
            }
        }
        let folders = self.get("/config/folders").await?;
        let folders = folders.as_array().map(Vec::as_slice).unwrap_or_default();
        let folder = desired_config::folder(own, instruction, path);
        let id = instruction.folder_id.as_str();
        let found = folders.iter().find(|found| found["id"] == id);
        applied.record(id, &folder, found.unwrap_or(&Value::Null))?;
        match found {
            None => self.send(Method::POST, "/config/folders", &folder).await?,
            Some(found) => {
                let desired =
                    self.with_defaults(&folder, "folder", &applied.withdrawn(id, &folder, found)).await?;
                if let Some(missing) = desired_config::missing(&desired, found) {
                    self.send(Method::PATCH, &format!("/config/folders/{id}"), &missing).await?;
                }
                let others = folders.iter().filter(|other| other["id"] != id);
                let shared: Vec<String> =
                    others.flat_map(|other| desired_config::members(&other["devices"])).collect();
                let members = desired_config::members(&folder["devices"]);
                for gone in desired_config::members(&found["devices"]) {
                    // A device that another folder is shared with is the owner's.
                    if !members.contains(&gone) && !shared.contains(&gone) {
                        self.send(Method::DELETE, &format!("/config/devices/{gone}"), &Value::Null).await?;
                    }
                }
            }
        }
        let devices = devices.iter().map(|device| (device["deviceID"].as_str().unwrap_or_default(), device));
        let wanted: Vec<_> = devices.chain([(id, &folder)]).collect();
        applied.retain(&wanted)
    }

    /// `desired`, with the defaults of new folders or devices for these options. Releases without the
    /// endpoint keep the present values.
    async fn with_defaults(&self, desired: &Value, of: &str, names: &[&str]) -> Result<Value> {
        let mut desired = desired.clone();
        if names.is_empty() {
            return Ok(desired);
        }
        let request = self.http.get(format!("{}/config/defaults/{of}", self.base));
        let defaults = self.execute(request).await?.unwrap_or_default();
        for name in names {
            if let Some(default) = defaults.get(name) {
                desired[name] = default.clone();
            }
        }
        Ok(desired)
    }

    /// State of a folder; `None` if there is no folder of that id.
    pub(super) async fn folder(&self, id: &str) -> Result<Option<FolderReport>> {
        let request = self.http.get(format!("{}/db/status", self.base)).query(&[("folder", id)]);
        let Some(status) = self.execute(request).await? else { return Ok(None) };
        let number = |name: &str| status[name].as_u64().unwrap_or_default();
        let (total, missing) = (number("globalBytes"), number("needBytes"));
        let completion =
            if total == 0 { 100.0 } else { 100.0 * total.saturating_sub(missing) as f64 / total as f64 };
        Ok(Some(FolderReport {
            id: id.to_owned(),
            completion,
            missing_bytes: missing,
            total_bytes: total,
            rate: 0.0,
            state: status["state"].as_str().unwrap_or_default().to_owned(),
        }))
    }

    pub(super) async fn shut_down(&self) -> Result<()> {
        self.send(Method::POST, "/system/shutdown", &Value::Null).await
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let request = self.http.get(format!("{}{path}", self.base));
        self.execute(request)
            .await?
            .ok_or_else(|| unusable(format!("it does not know {path}; it may be older than 1.12")))
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Result<()> {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = if body.is_null() { request } else { request.json(body) };
        self.execute(request).await.map(drop)
    }

    /// Sends a request; `None` for status 404.
    async fn execute(&self, request: reqwest::RequestBuilder) -> Result<Option<Value>> {
        let unreachable = |error: &reqwest::Error| {
            Error::new(
                Code::Unreachable,
                format!("it does not answer at {}: {}", self.base, root_cause(error)),
            )
        };
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let (status, path) = (response.status(), response.url().path().to_owned());
        let text = response.text().await.map_err(|error| unreachable(&error))?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(unusable(format!("it answers {status} to {path}: {}", text.trim())));
        }
        Ok(Some(serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}
