//! `quota`.

use std::str::FromStr;

use clap::{Args, Subcommand};
use nebula_api::quota::{Quota, SetQuota};

use super::project;
use crate::context::Context;
use crate::error::{Code, Error, Result, UsageError};
use crate::output::{bytes, clean};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what projects and accounts store, and may store
    Ls,
    /// Set how much a project, or an account, may store (administrators)
    Set(Set),
}

#[derive(Args, Debug)]
pub(crate) struct Set {
    /// Most that may be stored, uploads and what is made from them: 500GB, 1.5TB, a number of bytes, or none
    max: Max,
    /// Account, in all of its projects together, instead of a project
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    #[command(flatten)]
    project: project::Choice,
}

/// The argument of `quota set`: bytes, or any number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Max(Option<i64>);

impl FromStr for Max {
    type Err = UsageError;

    fn from_str(text: &str) -> std::result::Result<Self, UsageError> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self(None));
        }
        let malformed = || UsageError::new("it is a size such as 500GB or 1.5TB, or none");
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: f64 = number.parse().map_err(|_| malformed())?;
        let unit = unit.trim().to_ascii_lowercase();
        let (letter, base) = match unit.trim_end_matches('b').strip_suffix('i') {
            Some(letter) => (letter.to_owned(), 1024.0_f64),
            None => (unit.trim_end_matches('b').to_owned(), 1000.0),
        };
        let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letter);
        let count = number * base.powi(power.ok_or_else(malformed)? as i32);
        // Beyond this a number of bytes is no longer exact, and no disk is as large.
        (count < 9e15).then_some(Self(Some(count.round() as i64))).ok_or_else(malformed)
    }
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.client()?;
    let quotas: Vec<Quota> = client.get("/api/quotas", &[]).await?;
    match command {
        Command::Ls => context.output.show(&quotas, || {
            let rows = quotas.iter().map(|quota| {
                let max = quota.max_bytes.map_or_else(|| "-".to_owned(), shown);
                [quota.subject.clone(), clean(&quota.name), shown(quota.used_bytes), max]
            });
            context.output.table(["OF", "NAME", ">USED", ">QUOTA"], rows.collect())
        }),
        Command::Set(Set { max: Max(max_bytes), account, project }) => {
            let (subject, id, name) = match account {
                Some(name) => {
                    let found = quotas.iter().find(|quota| quota.subject == "account" && quota.name == name);
                    let found = found.ok_or_else(|| {
                        Error::new(
                            Code::NotFound,
                            format!("there is no account \"{name}\", or you may not see it"),
                        )
                        .hint("List them: nebulactl quota ls")
                    })?;
                    ("account", found.id, name)
                }
                None => {
                    let project = project.resolve(&client).await?;
                    ("project", project.project_id, project.name)
                }
            };
            let body = SetQuota { max_bytes };
            client.put::<Option<()>>(&format!("/api/quotas/{subject}/{id}"), &body).await?;
            context.output.confirm(&body, || match max_bytes {
                Some(max) => format!("The {subject} {} may store {}.", clean(&name), shown(max)),
                None => format!("The {subject} {} may store any amount.", clean(&name)),
            })
        }
    }
}

fn shown(count: i64) -> String {
    bytes(count.max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_a_thousand_and_of_1024() {
        for (text, expected) in [
            ("none", None),
            ("0", Some(0)),
            ("500", Some(500)),
            ("500GB", Some(500_000_000_000)),
            ("1.5 TB", Some(1_500_000_000_000)),
            ("2gib", Some(2 << 30)),
            ("10M", Some(10_000_000)),
        ] {
            assert_eq!(text.parse::<Max>().unwrap(), Max(expected), "{text}");
        }
        for text in ["", "GB", "-1", "1.2.3", "5X", "1e9", "99999PB"] {
            assert!(text.parse::<Max>().is_err(), "{text}");
        }
    }
}
