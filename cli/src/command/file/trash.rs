//! `trash` and `restore`: what was deleted, and the way back.

use chrono::Utc;
use clap::{Args, Subcommand};
use nebula_api::file::{File, Place};
use nebula_api::file_name::composed;
use nebula_api::folder::Changed;
use nebula_api::project::Project;

use super::{path, size, split};
use crate::client::Client;
use crate::command::project;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{ago, clean};

#[derive(Args, Debug)]
pub(crate) struct Trash {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    project: project::Choice,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the files in the trash
    Ls(project::Choice),
    /// Delete a file in the trash for good
    Rm {
        /// Path, name or id of the file
        name: String,
        #[command(flatten)]
        project: project::Choice,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Delete everything in the trash for good
    Empty {
        #[command(flatten)]
        project: project::Choice,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// Path, name or id of the file; of several, the last one that was deleted
    name: String,
    /// Another name, or a path, where its own is taken
    #[arg(long = "as", value_name = "PATH")]
    other: Option<String>,
    #[command(flatten)]
    project: project::Choice,
}

pub(crate) async fn run(context: &Context, arguments: Trash) -> Result<()> {
    let client = context.client()?;
    match arguments.command {
        None => list(context, &client, &arguments.project).await,
        Some(Command::Ls(project)) => list(context, &client, &project).await,
        Some(Command::Rm { name, project, confirmation }) => {
            let project = project.resolve(&client).await?;
            let file = only(&client, &project, &name).await?;
            let shown = clean(&path(&file));
            if !confirmation.given(context, &format!("Delete {shown} ({}) for good?", size(&file)))? {
                return Ok(());
            }
            client.delete(&format!("/api/trash/{}", file.file_id)).await?;
            context.output.confirm(&file, || format!("Deleted {shown} for good."))
        }
        Some(Command::Empty { project, confirmation }) => {
            let project = project.resolve(&client).await?;
            let files = all(&client, &project).await?;
            let question = format!("Delete {} files in the trash for good?", files.len());
            if !files.is_empty() && !confirmation.given(context, &question)? {
                return Ok(());
            }
            let query = [("projectId", project.project_id.to_string())];
            let changed: Changed = client.delete_for_with("/api/trash", &query).await?;
            context.output.confirm(&changed, || format!("Deleted {} files for good.", changed.files))
        }
    }
}

async fn list(context: &Context, client: &Client, project: &project::Choice) -> Result<()> {
    let files = all(client, &project.resolve(client).await?).await?;
    context.output.show(&files, || {
        if files.is_empty() {
            return "The trash is empty.".to_owned();
        }
        let now = Utc::now();
        let rows = files.iter().map(|file| {
            let when = file.deleted_at.map_or_else(String::new, |at| ago(at, now));
            [clean(&path(file)), size(file), when, file.file_id.to_string()]
        });
        context.output.table(["NAME", ">SIZE", "DELETED", "ID"], rows.collect())
    })
}

pub(crate) async fn restore(context: &Context, arguments: Restore) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let file = find(&client, &project, &arguments.name).await?;
    let place = arguments.other.as_deref().map(split);
    let (folder, name) = place.map_or((None, None), |(folder, name)| (folder, Some(name)));
    let route = format!("/api/trash/{}/restore", file.file_id);
    let file: File = client.post(&route, &Place { folder, name }).await?;
    context.output.confirm(&file, || format!("Restored {}.", clean(&path(&file))))
}

async fn all(client: &Client, project: &Project) -> Result<Vec<File>> {
    client.get("/api/trash", &[("projectId", project.project_id.to_string())]).await
}

/// Finds the only file in the trash that a name can mean: what is deleted for good does not come back.
async fn only(client: &Client, project: &Project, name: &str) -> Result<File> {
    let composed = composed(name);
    let files = all(client, project).await?;
    let is_id = |file: &File| file.file_id.to_string().eq_ignore_ascii_case(name);
    let (is_path, is_name) = (|file: &File| path(file) == composed, |file: &File| file.name == composed);
    let kinds: [&dyn Fn(&File) -> bool; 3] = [&is_id, &is_path, &is_name];
    let mut found = kinds.iter().map(|is| files.iter().filter(|file| is(file)).collect::<Vec<_>>());
    match found.find(|found| !found.is_empty()).as_deref() {
        None => Err(missing(project, name)),
        Some([one]) => Ok((*one).clone()),
        Some(several) => {
            let detail = format!("{} files in the trash are named \"{name}\"", several.len());
            Err(Error::new(Code::InvalidArgument, detail).hint("Give the id of one: nebulactl trash"))
        }
    }
}

/// Finds a file in the trash. They come with the last deleted first.
async fn find(client: &Client, project: &Project, name: &str) -> Result<File> {
    let composed = composed(name);
    let named = |file: &File| {
        file.name == composed || path(file) == composed || file.file_id.to_string().eq_ignore_ascii_case(name)
    };
    all(client, project).await?.into_iter().find(named).ok_or_else(|| missing(project, name))
}

fn missing(project: &Project, name: &str) -> Error {
    let detail = format!("there is no file \"{name}\" in the trash of the project {}", project.name);
    Error::new(Code::NotFound, detail).hint("List them: nebulactl trash")
}
