//! `mv`: files and folders get other folders and names.

use clap::Args;
use nebula_api::file::{File, Place};
use nebula_api::folder::{Changed, MoveFolder};
use nebula_api::project::Project;
use serde_json::{Value, json};

use super::{find_in, folder_of, is_folder, join, path, split};
use crate::client::Client;
use crate::command::project;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::clean;

#[derive(Args, Debug)]
pub(crate) struct Move {
    /// Files and folders, and last the folder that they go into, or the new path of a single one; a folder that
    /// is not there yet has a slash at its end
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    paths: Vec<String>,
    #[command(flatten)]
    project: project::Choice,
}

pub(crate) async fn run(context: &Context, mut arguments: Move) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let target = arguments.paths.pop().unwrap_or_default();
    let into = target.ends_with('/')
        || arguments.paths.len() > 1
        || is_folder(&client, &project, &folder_of(&target)).await?;
    let mut moved: Vec<Value> = Vec::new();
    for source in &arguments.paths {
        let found = if source.ends_with('/') { None } else { Some(find_in(&client, &project, source).await) };
        let line = match found {
            Some(Ok(file)) => move_file(&client, file, &target, into, &mut moved).await?,
            other => {
                let folder = folder_of(source);
                if folder.is_empty() || !is_folder(&client, &project, &folder).await? {
                    return Err(match other {
                        Some(Err(error)) => error,
                        _ => Error::new(Code::NotFound, format!("there is no folder \"{folder}\""))
                            .hint("List them: nebulactl ls --folders"),
                    });
                }
                move_folder(&client, &project, folder, &target, into, &mut moved).await?
            }
        };
        context.output.message(&line)?;
    }
    if context.output.json {
        context.output.show(&moved, String::new)?;
    }
    Ok(())
}

async fn move_file(
    client: &Client,
    file: File,
    target: &str,
    into: bool,
    moved: &mut Vec<Value>,
) -> Result<String> {
    let before = path(&file);
    let place = if into {
        Place { folder: Some(folder_of(target)), name: None }
    } else {
        // A name alone renames the file where it is.
        let (folder, name) = split(target);
        Place { folder, name: Some(name) }
    };
    let file: File = client.patch(&format!("/api/files/{}", file.file_id), &place).await?;
    moved.push(json!(file));
    Ok(format!("{} is {} now.", clean(&before), clean(&path(&file))))
}

async fn move_folder(
    client: &Client,
    project: &Project,
    folder: String,
    target: &str,
    into: bool,
    moved: &mut Vec<Value>,
) -> Result<String> {
    let (_, name) = split(&folder);
    let target = folder_of(target);
    let to = if into { join(&target, &name) } else { target };
    let request = MoveFolder { project_id: project.project_id, folder, to };
    let Changed { files } = client.post("/api/folders/move", &request).await?;
    moved.push(json!({ "folder": request.folder, "to": request.to, "files": files }));
    Ok(format!("{}/ is {}/ now, with {files} files.", clean(&request.folder), clean(&request.to)))
}
