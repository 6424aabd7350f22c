//! Waiting for the conversion of uploads: `upload --wait`.

use std::time::Instant;

use nebula_api::file::File;

use crate::client::Client;
use crate::command::file;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::live_updates::LiveUpdates;
use crate::output::{clean, duration};

/// Waits until a file is ready or has failed.
pub(super) async fn follow(context: &Context, client: &Client, mut file: File) -> Result<File> {
    let name = clean(&file.name);
    let bar = context.output.share_bar(&name);
    let started = Instant::now();
    let mut updates = LiveUpdates::new(client);
    let mut told = None;
    while matches!(file.state.as_str(), "waiting" | "processing") {
        bar.set_position((f64::from(file.progress.unwrap_or_default()) * 1000.0) as u64);
        if file.error.is_some() && file.error != told {
            context
                .output
                .message(&format!("  {name} {}", clean(file.error.as_deref().unwrap_or_default())))?;
            told = file.error.take();
        }
        updates.changed().await;
        file = file::by_id(client, file.file_id).await?;
    }
    bar.finish_and_clear();
    if file.state == "failed" {
        let reason = file.error.as_deref().unwrap_or("the reason is with its job");
        let error = Error::new(Code::WrongState, format!("{name} could not be converted: {reason}"));
        if !context.output.json {
            context
                .output
                .error(&error.hint("The upload itself is kept: nebulactl get --original, nebulactl rm"));
        }
    } else {
        context.output.message(&format!(
            "{name}  {} after {}",
            clean(&file.state),
            duration(started.elapsed())
        ))?;
        if !file.summary.is_empty() {
            context.output.message(&file::told(&file))?;
        }
    }
    Ok(file)
}
