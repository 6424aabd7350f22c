//! `ls` and `rm`, and the search for a file by name.

use chrono::Utc;
use clap::Args;
use nebula_api::file::File;
use nebula_api::file_name::composed;
use nebula_api::project::Project;
use uuid::Uuid;

use super::project;
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{ago, bytes, clean, with_progress};

#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    project: project::Choice,
}

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Name or id of the file
    name: String,
    #[command(flatten)]
    project: project::Choice,
    #[command(flatten)]
    confirmation: Confirmation,
}

pub(crate) async fn list(context: &Context, arguments: List) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let files = all(&client, &project).await?;
    context.output.show(&files, || {
        if files.is_empty() {
            return format!("No files in {} yet: nebulactl upload FILE", clean(&project.name));
        }
        let now = Utc::now();
        let rows = files.iter().map(|file| {
            let state = with_progress(&file.state, file.progress);
            [clean(&file.name), size(file), context.output.state(&clean(&state)), ago(file.uploaded_at, now)]
        });
        let table = context.output.table(["NAME", ">SIZE", "STATE", "WHEN"], rows.collect());
        files.iter().filter_map(waiting).fold(table, |text, line| format!("{text}\n{line}"))
    })
}

pub(crate) async fn remove(context: &Context, arguments: Remove) -> Result<()> {
    let client = context.client()?;
    let file = find(&client, &arguments.project, &arguments.name).await?;
    let question = format!("Delete {} ({}) and what was made from it?", clean(&file.name), size(&file));
    if !arguments.confirmation.given(context, &question)? {
        return Ok(());
    }
    client.delete(&format!("/api/files/{}", file.file_id)).await?;
    context.output.confirm(&file, || format!("Deleted {}.", clean(&file.name)))
}

/// The reason why a file waits that could be converted otherwise, such as a full disk.
fn waiting(file: &File) -> Option<String> {
    let reason = file.error.as_ref().filter(|_| file.state == "waiting")?;
    Some(format!("{} {}", clean(&file.name), clean(reason)))
}

fn size(file: &File) -> String {
    bytes(file.size.unsigned_abs())
}

/// Reads one file by id.
pub(crate) async fn by_id(client: &Client, file_id: Uuid) -> Result<File> {
    client.get(&format!("/api/files/{file_id}"), &[]).await
}

/// Finds a file of a project by name or id.
pub(crate) async fn find(client: &Client, choice: &project::Choice, name: &str) -> Result<File> {
    let project = choice.resolve(client).await?;
    let files = all(client, &project).await?;
    let composed = composed(name);
    let named = |file: &File| file.name == composed || file.file_id.to_string().eq_ignore_ascii_case(name);
    files.into_iter().find(named).ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no file \"{name}\" in the project {}", project.name))
            .hint("List them: nebulactl ls")
    })
}

async fn all(client: &Client, project: &Project) -> Result<Vec<File>> {
    client.get("/api/files", &[("projectId", project.project_id.to_string())]).await
}
