//! `tag`: words by which files are found.

use clap::Args;
use nebula_api::file::{File, Tags};
use nebula_api::folder::Tag as Count;

use super::{find_in, path};
use crate::command::project;
use crate::context::Context;
use crate::error::Result;
use crate::output::clean;

#[derive(Args, Debug)]
pub(crate) struct Tag {
    /// Path, name or id of the file; without one, all tags are listed
    name: Option<String>,
    /// Tags that it gets
    tags: Vec<String>,
    /// A tag that it loses; may be repeated
    #[arg(long, value_name = "TAG")]
    remove: Vec<String>,
    #[command(flatten)]
    project: project::Choice,
}

pub(crate) async fn run(context: &Context, arguments: Tag) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let Some(name) = arguments.name else {
        let query = [("projectId", project.project_id.to_string())];
        let counts: Vec<Count> = client.get("/api/tags", &query).await?;
        return context.output.show(&counts, || {
            let rows = counts.iter().map(|count| [clean(&count.tag), count.files.to_string()]);
            context.output.table(["TAG", ">FILES"], rows.collect())
        });
    };
    let mut file = find_in(&client, &project, &name).await?;
    if !arguments.tags.is_empty() || !arguments.remove.is_empty() {
        let removed: Vec<_> = arguments.remove.iter().map(|tag| tag.to_lowercase()).collect();
        let mut tags = file.tags;
        tags.extend(arguments.tags);
        tags.retain(|tag| !removed.contains(&tag.to_lowercase()));
        file = client.put::<File>(&format!("/api/files/{}/tags", file.file_id), &Tags { tags }).await?;
    }
    context.output.show(&file, || match file.tags.as_slice() {
        [] => format!("{} has no tags.", clean(&path(&file))),
        tags => format!("{}  {}", clean(&path(&file)), clean(&tags.join(", "))),
    })
}
