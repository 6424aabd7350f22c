//! Files of a project: the list, and the search for one by its path.

use chrono::Utc;
use clap::Args;
use nebula_api::file::File;
use nebula_api::file_name::composed;
use nebula_api::folder::Folder;
use nebula_api::project::Project;
use uuid::Uuid;

use super::project;
use crate::client::Client;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{ago, bytes, clean, counted, with_progress};

pub(crate) mod relocate;
pub(crate) mod remove;
pub(crate) mod tag;
pub(crate) mod trash;

#[derive(Args, Debug)]
pub(crate) struct List {
    /// Folder whose files are listed [default: the top]
    folder: Option<String>,
    /// Also what is below the folder
    #[arg(long, short)]
    recursive: bool,
    /// The folders in the folder, without files
    #[arg(long, conflicts_with_all = ["recursive", "search", "tag", "kind", "state", "sort"])]
    folders: bool,
    /// Only files whose names have all of these words, also below the folder
    #[arg(long, short, value_name = "WORDS")]
    search: Option<String>,
    /// Only files with this tag, also below the folder; repeat it for files with all of several
    #[arg(long)]
    tag: Vec<String>,
    /// Only film, sound, picture or other, also below the folder
    #[arg(long, value_parser = ["film", "sound", "picture", "other"])]
    kind: Option<String>,
    /// Only waiting, processing, ready or failed, also below the folder
    #[arg(long, value_parser = ["waiting", "processing", "ready", "failed"])]
    state: Option<String>,
    /// Below each film, picture or sound, what was done with it and what was left out
    #[arg(long, short, conflicts_with = "folders")]
    long: bool,
    /// name, date, size or duration; with a minus, from the end [default: -date]
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    #[command(flatten)]
    project: project::Choice,
}

impl List {
    /// Whether files below the folder are shown, too: those that are looked for may be anywhere.
    fn is_deep(&self) -> bool {
        let searches = [&self.search, &self.kind, &self.state].iter().any(|filter| filter.is_some());
        self.recursive || searches || !self.tag.is_empty()
    }

    fn query(&self, project: &Project, folder: &str) -> Vec<(&'static str, String)> {
        let mut query = vec![("projectId", project.project_id.to_string()), ("folder", folder.to_owned())];
        if self.is_deep() {
            query.push(("below", "true".to_owned()));
        }
        if !self.tag.is_empty() {
            query.push(("tags", self.tag.join(",")));
        }
        for (name, value) in
            [("q", &self.search), ("kind", &self.kind), ("state", &self.state), ("sort", &self.sort)]
        {
            query.extend(value.iter().map(|value| (name, value.clone())));
        }
        query
    }
}

pub(crate) async fn list(context: &Context, arguments: List) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let folder = folder_of(arguments.folder.as_deref().unwrap_or_default());
    let is_flat = !arguments.is_deep();
    let folders = if arguments.folders || is_flat && !context.output.json {
        folders(&client, &project, &folder).await?
    } else {
        Vec::new()
    };
    let now = Utc::now();
    let above = if folder.is_empty() { 0 } else { folder.len() + 1 };
    let folder_rows = folders.iter().map(|one| {
        let name = one.folder.get(above..).unwrap_or(&one.folder);
        let size = bytes(one.size.unsigned_abs());
        [format!("{}/", clean(name)), size, counted(one.files, "file"), ago(one.uploaded_at, now)]
    });
    const HEADINGS: [&str; 4] = ["NAME", ">SIZE", "STATE", "WHEN"];
    if arguments.folders {
        return context.output.show(&folders, || context.output.table(HEADINGS, folder_rows.collect()));
    }
    let mut files: Vec<File> = client.get("/api/files", &arguments.query(&project, &folder)).await?;
    // The name may be that of a file.
    if is_flat && !folder.is_empty() && files.is_empty() && folders.is_empty() {
        files.extend(find_in(&client, &project, &folder).await.ok());
    }
    context.output.show(&files, || {
        if files.is_empty() && folders.is_empty() {
            return nothing(&project, &folder, is_flat);
        }
        let rows = files.iter().map(|file| {
            let state = with_progress(&file.state, file.progress);
            let name = if is_flat { clean(&file.name) } else { clean(&path(file)) };
            [name, size(file), context.output.state(&clean(&state)), ago(file.uploaded_at, now)]
        });
        let table = context.output.table(HEADINGS, folder_rows.chain(rows).collect());
        let notes = files
            .iter()
            .filter_map(waiting)
            .chain(files.iter().filter_map(|file| noted(file, arguments.long)));
        notes.fold(table, |text, line| format!("{text}\n{line}"))
    })
}

fn nothing(project: &Project, folder: &str, is_flat: bool) -> String {
    match (folder, is_flat) {
        ("", true) => format!("No files in {} yet: nebulactl upload FILE", clean(&project.name)),
        (_, true) => format!("There is no folder and no file {}.", clean(folder)),
        _ => "No such files.".to_owned(),
    }
}

/// The reason why a file waits that could be converted otherwise, such as a full disk.
fn waiting(file: &File) -> Option<String> {
    let reason = file.error.as_ref().filter(|_| file.state == "waiting")?;
    Some(format!("{} {}", clean(&file.name), clean(reason)))
}

/// The summary of a file or, in the short list, its warnings.
fn noted(file: &File, long: bool) -> Option<String> {
    let name = clean(&path(file));
    if long {
        let told = told(file);
        return (!told.is_empty()).then(|| format!("\n{name}\n{told}"));
    }
    match file.warnings.len() {
        0 => None,
        1 => Some(format!("{name}: {}", clean(&file.warnings[0]))),
        count => Some(format!("{name}: {count} warnings; nebulactl ls -l shows them")),
    }
}

/// The summary of a file, one sentence a line.
pub(crate) fn told(file: &File) -> String {
    let lines: Vec<_> = file.summary.iter().map(|sentence| format!("  {}", clean(sentence))).collect();
    lines.join("\n")
}

pub(crate) fn size(file: &File) -> String {
    bytes(file.size.unsigned_abs())
}

/// Folder and name of a file, as people write them.
pub(crate) fn path(file: &File) -> String {
    join(&file.folder, &file.name)
}

pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A folder as people write it: slashes at its ends count for nothing.
pub(crate) fn folder_of(text: &str) -> String {
    composed(text.trim_matches('/'))
}

/// Folder and name of a path. Without a slash the folder is not said.
pub(crate) fn split(path: &str) -> (Option<String>, String) {
    match path.rsplit_once('/') {
        Some((folder, name)) => (Some(folder_of(folder)), composed(name)),
        None => (None, composed(path)),
    }
}

/// The folders directly in a folder.
pub(crate) async fn folders(client: &Client, project: &Project, folder: &str) -> Result<Vec<Folder>> {
    let query = [("projectId", project.project_id.to_string()), ("folder", folder.to_owned())];
    client.get("/api/folders", &query).await
}

/// Whether there is such a folder.
pub(crate) async fn is_folder(client: &Client, project: &Project, folder: &str) -> Result<bool> {
    let query = [
        ("projectId", project.project_id.to_string()),
        ("folder", folder.to_owned()),
        ("below", "true".to_owned()),
        ("max", "1".to_owned()),
    ];
    let files: Vec<File> = client.get("/api/files", &query).await?;
    Ok(folder.is_empty() || !files.is_empty())
}

/// Reads one file by id.
pub(crate) async fn by_id(client: &Client, file_id: Uuid) -> Result<File> {
    client.get(&format!("/api/files/{file_id}"), &[]).await
}

/// Finds a file of a project by path, by name (in any folder, if there is one of this name), or by id.
pub(crate) async fn find(client: &Client, choice: &project::Choice, path: &str) -> Result<File> {
    let project = choice.resolve(client).await?;
    find_in(client, &project, path).await
}

/// The same in a project that is known.
pub(crate) async fn find_in(client: &Client, project: &Project, path: &str) -> Result<File> {
    let (folder, name) = split(path);
    let mut query = vec![("projectId", project.project_id.to_string()), ("name", name.clone())];
    query.extend(folder.iter().map(|folder| ("folder", folder.clone())));
    let mut files: Vec<File> = client.get("/api/files", &query).await?;
    files.retain(|file| file.name == name);
    // One at the top is meant by its name alone.
    if let Some(top) = files.iter().position(|file| file.folder.is_empty()) {
        return Ok(files.swap_remove(top));
    }
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => return Ok(file),
        (Some(file), false) => {
            files.push(file);
            let mut paths: Vec<_> = files.iter().map(|file| clean(&self::path(file))).collect();
            paths.sort_unstable();
            return Err(Error::new(
                Code::InvalidArgument,
                format!("there are {} files \"{name}\" in the project {}", paths.len(), project.name),
            )
            .hint(format!("Name its folder, too: {}", paths.join(", "))));
        }
        (None, _) => {}
    }
    if let Ok(file_id) = path.parse()
        && let Ok(file) = by_id(client, file_id).await
        && file.project_id == project.project_id
    {
        return Ok(file);
    }
    Err(Error::new(Code::NotFound, format!("there is no file \"{path}\" in the project {}", project.name))
        .hint("List them: nebulactl ls"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_folder_or_leaves_it_open() {
        let some = |folder: &str, name: &str| (Some(folder.to_owned()), name.to_owned());
        assert_eq!(split("a.mkv"), (None, "a.mkv".to_owned()));
        assert_eq!(split("/a.mkv"), some("", "a.mkv"));
        assert_eq!(split("films/80s/a.mkv"), some("films/80s", "a.mkv"));
        assert_eq!(split("u\u{308}/u\u{308}.mkv"), some("ü", "ü.mkv"));
        assert_eq!(folder_of("/films/80s/"), "films/80s");
        assert_eq!(join("", "a"), "a");
        assert_eq!(join("films", "a"), "films/a");
    }
}
