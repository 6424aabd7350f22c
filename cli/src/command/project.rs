//! `project`, and the option `--project` of other commands.

use std::env;

use clap::{Args, Subcommand};
use nebula_api::project::{NewProject, Project};
use uuid::Uuid;

use crate::client::Client;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{ago, clean};

mod options;

const VARIABLE: &str = "NEBULA_PROJECT";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the projects you are a member of
    Ls,
    /// Choose the project that commands are about when --project and NEBULA_PROJECT name none
    Use {
        /// Name or id of the project
        project: String,
    },
    /// Create a project, with a pool of addresses for its devices (operators)
    Create(Create),
    /// Show the options that all devices of a project share, and change them (administrators)
    Options(options::Arguments),
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Name: letters, digits, spaces, dots, underscores, dashes
    name: String,
    /// Network of all its devices, for example 10.50.0.0/16 [default: none; for files alone]
    network: Option<String>,
    /// Range of its first pool [default: the whole network]
    #[arg(long, value_name = "RANGE")]
    pool: Option<String>,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Options(arguments) => options::run(context, arguments).await,
        Command::Use { project } => {
            let client = context.client()?;
            let chosen = pick(all(&client).await?, Some(&project))?;
            client.settings().set_project(client.server(), &chosen.project_id.to_string())?;
            let name = clean(&chosen.name);
            context
                .output
                .confirm(&chosen, || format!("Commands at {} are about {name} now.", client.server()))?;
            if env::var(VARIABLE).is_ok_and(|other| !other.is_empty()) {
                context.output.note(&format!("{VARIABLE} goes first in this shell: unset {VARIABLE}"));
            }
            Ok(())
        }
        Command::Ls => list(context).await,
        Command::Create(create) => create_project(context, create).await,
    }
}

async fn create_project(context: &Context, Create { name, network, pool }: Create) -> Result<()> {
    let client = context.client()?;
    let project = NewProject { name, cidr: network, pool };
    let created: Project = client.post("/api/projects", &project).await?;
    context.output.confirm(&created, || {
        let name = clean(&created.name);
        format!("Created {name}. Let commands be about it: nebulactl project use \"{name}\"")
    })
}

async fn list(context: &Context) -> Result<()> {
    let projects = all(&context.client()?).await?;
    context.output.show(&projects, || {
        let now = chrono::Utc::now();
        let rows = projects.iter().map(|project| {
            let network = project.cidr.clone().unwrap_or_else(|| "-".to_owned());
            let (devices, files) = (project.devices.to_string(), project.files.to_string());
            let id = project.project_id.to_string();
            [clean(&project.name), network, devices, files, ago(project.created_at, now), id]
        });
        context.output.table(["NAME", "NETWORK", ">DEVICES", ">FILES", "CREATED", "ID"], rows.collect())
    })
}

/// The option `--project`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Choice {
    /// Project, by name or id [default: that of `project use`, else the only one you are a member of]
    #[arg(long, env = VARIABLE, hide_env_values = true, value_name = "PROJECT")]
    project: Option<String>,
}

impl Choice {
    /// Finds the project among those of the account. Without the option there must be exactly one.
    pub(crate) async fn resolve(&self, client: &Client) -> Result<Project> {
        // An empty variable counts as unset.
        let wanted = self.project.as_deref().filter(|text| !text.is_empty());
        let projects = all(client).await?;
        if wanted.is_some() {
            return pick(projects, wanted);
        }
        let chosen = remembered(client, projects.iter())?;
        pick(projects, chosen.map(|id| id.to_string()).as_deref())
    }

    /// The project among these that [`Self::resolve`] would find, if there is one.
    pub(crate) fn chosen<'a>(
        &self,
        client: &Client,
        projects: impl Iterator<Item = &'a Project>,
    ) -> Result<Option<Uuid>> {
        let projects: Vec<&Project> = projects.collect();
        let wanted = self.project.as_deref().filter(|text| !text.is_empty());
        Ok(match (wanted, projects.as_slice()) {
            (Some(wanted), _) => {
                let named = projects.iter().find(|project| is_named(project, wanted));
                named.map(|project| project.project_id)
            }
            (None, [only]) => Some(only.project_id),
            (None, several) => remembered(client, several.iter().copied())?,
        })
    }
}

/// The project that `project use` has chosen; none if it does not exist any more.
fn remembered<'a>(client: &Client, mut projects: impl Iterator<Item = &'a Project>) -> Result<Option<Uuid>> {
    let Some(chosen) = client.settings().project(client.server())? else { return Ok(None) };
    Ok(projects.find(|project| is_named(project, &chosen)).map(|project| project.project_id))
}

fn is_named(project: &Project, wanted: &str) -> bool {
    project.name == wanted || project.project_id.to_string().eq_ignore_ascii_case(wanted)
}

/// The projects of the account.
pub(crate) async fn all(client: &Client) -> Result<Vec<Project>> {
    client.get("/api/projects", &[]).await
}

/// The project with this name or identifier.
pub(crate) async fn named(client: &Client, wanted: &str) -> Result<Project> {
    pick(all(client).await?, Some(wanted))
}

fn pick(projects: Vec<Project>, wanted: Option<&str>) -> Result<Project> {
    let names = projects.iter().map(|project| clean(&project.name)).collect::<Vec<_>>().join(", ");
    let fits = |project: &Project| wanted.is_none_or(|text| is_named(project, text));
    let mut found = projects.into_iter().filter(fits);
    match (found.next(), found.next(), wanted) {
        (Some(project), None, _) => Ok(project),
        (Some(_), Some(_), _) => {
            Err(Error::new(Code::InvalidArgument, "you are a member of several projects").hint(format!(
                "Choose one, for good by nebulactl project use, or with --project or NEBULA_PROJECT: {names}"
            )))
        }
        (None, _, _) if names.is_empty() => {
            Err(Error::new(Code::NotFound, "you are not a member of any project")
                .hint("Ask an administrator to make one or to add you."))
        }
        (None, _, wanted) => {
            let detail = format!("you see no project \"{}\"", wanted.unwrap_or_default());
            Err(Error::new(Code::NotFound, detail).hint(format!("Those you see: {names}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use uuid::Uuid;

    use super::*;

    fn project(name: &str) -> Project {
        let (project_id, created_at) = (Uuid::new_v4(), Utc::now());
        Project {
            project_id,
            name: name.to_owned(),
            cidr: None,
            created_at,
            devices: 0,
            files: 0,
            used_bytes: 0,
            max_bytes: None,
        }
    }

    #[test]
    fn a_project_is_found_by_name_id_or_as_the_only_one() {
        assert_eq!(pick(vec![project("home")], None).unwrap().name, "home");
        assert_eq!(pick(vec![project("home"), project("work")], Some("work")).unwrap().name, "work");
        let one = project("home");
        let id = one.project_id.to_string().to_uppercase();
        assert_eq!(pick(vec![project("work"), one], Some(&id)).unwrap().name, "home");
    }

    #[test]
    fn errors_list_the_projects_to_choose_from() {
        let several = pick(vec![project("home"), project("work")], None).unwrap_err();
        assert!(several.failure().hint.as_deref().unwrap().ends_with("home, work"));
        let unknown = pick(vec![project("home")], Some("nowhere")).unwrap_err();
        assert_eq!(unknown.to_string(), "you see no project \"nowhere\"");
        assert!(pick(Vec::new(), None).unwrap_err().to_string().contains("any project"));
    }
}
