//! `enrolment approve`: lets a device in that asked for it.

use clap::Args;
use nebula_api::preauth::Approval;
use reqwest::Url;

use super::super::project;
use super::new_device::NewDevice;
use crate::context::Context;
use crate::error::{Result, UsageError};

#[derive(Args, Debug)]
pub(crate) struct Approve {
    #[command(flatten)]
    project: project::Choice,
    /// Address that the device shows, or the number of its request
    #[arg(value_parser = parse_request)]
    request: String,
    #[command(flatten)]
    new_device: NewDevice,
}

pub(super) async fn run(context: &Context, arguments: Approve) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let body = arguments.new_device.into_request(project.project_id);
    let path = format!("/api/enrolments/approve?request={}", arguments.request);
    let approval: Approval = client.post(&path, &body).await?;
    context.output.confirm(&approval, || {
        format!("Approved: the device joins until {}.", approval.expires_at.format("%Y-%m-%d %H:%M UTC"))
    })
}

/// The number of a request, also from an address that ends with it.
fn parse_request(text: &str) -> std::result::Result<String, UsageError> {
    let of_address = Url::parse(text).ok().and_then(|url| {
        url.query_pairs().find(|(name, _)| name == "approve").map(|(_, value)| value.into_owned())
    });
    let request = of_address.unwrap_or_else(|| text.trim().to_owned());
    if request.len() == 64 && request.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(request);
    }
    Err(UsageError::new("copy the whole address that the device shows, or what follows approve= in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_the_address_that_the_device_shows() {
        let number = "0f".repeat(32);
        for text in [number.clone(), format!("https://home.example:8080/?approve={number}")] {
            assert_eq!(parse_request(&text).as_ref(), Ok(&number));
        }
        for wrong in ["", "c0ffee", "https://home.example/?code=A", &"xy".repeat(32)] {
            assert!(parse_request(wrong).is_err(), "{wrong}");
        }
    }
}
