//! Queries of lists that are short enough to be read whole, and by what their items are sorted and found.

use actix_web::web;
use chrono::{DateTime, Utc};
use nebula_api::Page;
use nebula_api::certificate::Certificate;
use nebula_api::enrolment::Enrolment;
use nebula_api::firewall::{Route, Rule};
use nebula_api::node::Node;
use nebula_api::pool::PoolUsage;
use nebula_api::project::Project;
use nebula_api::share::Share;
use serde::Deserialize;
use uuid::Uuid;

use crate::domain::page::{self, Filter, Listed, Place};
use crate::error::ApiError;

/// Query of a list of things that belong to projects.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ProjectQuery {
    /// Only this project; without it, every project the caller sees.
    pub(crate) project_id: Option<Uuid>,
    /// Only items with this part in their names and notes, in small letters or capitals.
    q: Option<String>,
    /// Only items in this state; for lists whose items have one.
    state: Option<String>,
    /// Order; with a minus, from the end. An unknown one is refused with those that the list has.
    sort: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items of a page: 1 to 1000; without it, all at once.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<i32>,
}

/// Query of a list of things that belong to no project.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct WholeQuery {
    /// Only items with this part in their names, in small letters or capitals.
    q: Option<String>,
    /// Only items in this state; for lists whose items have one.
    state: Option<String>,
    /// Order; with a minus, from the end. An unknown one is refused with those that the list has.
    sort: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items of a page: 1 to 1000; without it, all at once.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<i32>,
}

impl ProjectQuery {
    /// The page of a list that was read whole.
    pub(crate) fn page<T: Listed>(&self, all: Vec<T>) -> Result<web::Json<Page<T>>, ApiError> {
        let filter = Filter { q: self.q.as_deref(), state: self.state.as_deref() };
        let (sort, cursor) = (self.sort.as_deref(), self.cursor.as_deref());
        page::of_whole(all, filter, Place { sort, cursor, max: self.max }).map(web::Json)
    }
}

impl WholeQuery {
    /// The page of a list that was read whole.
    pub(crate) fn page<T: Listed>(&self, all: Vec<T>) -> Result<web::Json<Page<T>>, ApiError> {
        let filter = Filter { q: self.q.as_deref(), state: self.state.as_deref() };
        let (sort, cursor) = (self.sort.as_deref(), self.cursor.as_deref());
        page::of_whole(all, filter, Place { sort, cursor, max: self.max }).map(web::Json)
    }
}

/// A time as text that sorts as times do.
fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// Numbers as text that sorts as numbers do.
fn number(value: i64) -> String {
    format!("{value:020}")
}

/// Writes what a list is sorted by: the name of each order and its key.
macro_rules! listed {
    ($($kind:ty, $usual:literal: $item:ident => $id:expr, $text:expr, $state:expr, { $($sort:literal => $key:expr),+ $(,)? };)+) => {$(
        impl Listed for $kind {
            const SORTS: &'static [&'static str] = &[$($sort),+];
            const USUAL: &'static str = $usual;

            fn key(&self, sort: &str) -> String {
                let $item = self;
                match sort {
                    $($sort => $key,)+
                    _ => String::new(),
                }
            }

            fn id(&self) -> String {
                let $item = self;
                $id.to_string()
            }

            fn text(&self) -> String {
                let $item = self;
                $text
            }

            fn state(&self) -> Option<&str> {
                let $item = self;
                let _ = $item;
                $state
            }
        }
    )+};
}

listed! {
    Project, "name": one => one.project_id, one.name.clone(), None,
        { "name" => one.name.to_lowercase(), "made" => time(one.created_at) };
    PoolUsage, "name": one => one.pool_id, format!("{} {}", one.name, one.cidr), None,
        { "name" => one.name.to_lowercase(), "cidr" => one.cidr.clone() };
    Rule, "number": one => one.rule_id.unwrap_or_default(),
        format!("{} {} {}", one.note, one.for_group.clone().unwrap_or_default(), one.remote_groups.join(" ")),
        Some(&one.direction), { "number" => number(one.rule_id.unwrap_or_default()), "note" => one.note.to_lowercase() };
    Route, "network": one => format!("{}/{}", one.project_id, one.network), one.network.clone(), None,
        { "network" => one.network.clone() };
    Enrolment, "-made": one => one.enrolment_id,
        format!("{} {} {}", one.name.clone().unwrap_or_default(), one.created_by, one.groups.join(" ")),
        Some(&one.state), { "made" => time(one.created_at), "expires" => time(one.expires_at),
            "name" => one.name.clone().unwrap_or_default().to_lowercase() };
    Node, "name": one => one.node_id, format!("{} {}", one.name, one.endpoint), None,
        { "name" => one.name.to_lowercase(), "peers" => number(one.active_peers.into()) };
    Share, "-made": one => one.share_id,
        [&one.file_name, &one.folder, &one.note].into_iter().flatten().cloned().collect::<Vec<_>>().join(" "),
        Some(&one.state), { "made" => time(one.made_at), "used" => one.last_used_at.map(time).unwrap_or_default(),
            "name" => one.file_name.clone().or(one.folder.clone()).unwrap_or_default().to_lowercase() };
    Certificate, "-expires": one => one.fingerprint, format!("{} {}", one.device_name, one.fingerprint), None,
        { "expires" => time(one.not_after), "issued" => time(one.issued_at), "name" => one.device_name.to_lowercase() };
}
