//! `rm`: into the trash, or for good.

use clap::Args;
use nebula_api::folder::Changed;
use serde_json::json;

use super::{find_in, folder_of, path, size};
use crate::client::Client;
use crate::command::project;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::clean;

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Path, name or id of the file; with --recursive, a folder
    name: String,
    /// All files in the folder and below it
    #[arg(long, short, conflicts_with = "permanently")]
    recursive: bool,
    /// For good, past the trash
    #[arg(long)]
    permanently: bool,
    #[command(flatten)]
    project: project::Choice,
    #[command(flatten)]
    confirmation: Confirmation,
}

pub(crate) async fn run(context: &Context, arguments: Remove) -> Result<()> {
    let client = context.client()?;
    if arguments.recursive {
        return remove_folder(context, &client, arguments).await;
    }
    let project = arguments.project.resolve(&client).await?;
    let file = match find_in(&client, &project, &arguments.name).await {
        Err(error)
            if super::is_folder(&client, &project, &folder_of(&arguments.name)).await.is_ok_and(|is| is) =>
        {
            return Err(error.hint("It is a folder: nebulactl rm --recursive"));
        }
        found => found?,
    };
    let shown = clean(&path(&file));
    let question = if arguments.permanently {
        format!("Delete {shown} ({}) and what was made from it for good?", size(&file))
    } else {
        format!("Put {shown} ({}) into the trash?", size(&file))
    };
    if !arguments.confirmation.given(context, &question)? {
        return Ok(());
    }
    let route = format!("/api/files/{}", file.file_id);
    if arguments.permanently {
        client.delete_with(&route, &[("permanently", "true".to_owned())]).await?;
        return context.output.confirm(&file, || format!("Deleted {shown} for good."));
    }
    client.delete(&route).await?;
    context.output.confirm(&file, || {
        format!("{shown} is in the trash. Get it back: nebulactl restore {}", file.file_id)
    })
}

async fn remove_folder(context: &Context, client: &Client, arguments: Remove) -> Result<()> {
    let project = arguments.project.resolve(client).await?;
    let folder = folder_of(&arguments.name);
    if folder.is_empty() {
        return Err(Error::new(Code::InvalidArgument, "the top is no folder that can be deleted")
            .hint("Name a folder: nebulactl ls --folders"));
    }
    let shown = clean(&folder);
    if !arguments.confirmation.given(context, &format!("Put all files in {shown}/ into the trash?"))? {
        return Ok(());
    }
    let query = [("projectId", project.project_id.to_string()), ("folder", folder)];
    let Changed { files } = client.delete_for_with("/api/folders", &query).await?;
    context.output.confirm(&json!({ "files": files }), || {
        format!("{files} files of {shown}/ are in the trash. List them: nebulactl trash")
    })
}
