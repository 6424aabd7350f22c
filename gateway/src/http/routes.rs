//! The table of routes: who may call which handler. Method, path and documentation stand at the handler, in
//! `#[utoipa::path]`, and `/openapi.json` lists them all.
//!
//! A handler requires a token by taking an [`Actor`](super::extractor::Actor). The SQL function that it calls
//! checks the account's rights, so that a mistake here cannot open another project.

use std::sync::LazyLock;

use actix_web::web;
use nebula_api::Failure;
use nebula_api::dnapi::ApiErrors;
use utoipa::OpenApi;

use super::openapi::{self, Document};
use super::route::{self, Access, Entry};
use super::upload::tus;
use super::{
    access, account, auth, authority, bookmark, certificate, device, dnapi, enrolment, event, file, firewall,
    folder, health, hls, install, invitation, job, member, metrics, network, node, node_interface, peer,
    personal_token, picture, playback, pool, preauth, project, project_options, quota, revocation, rotation,
    session, share, system, totp, trash, upload,
};

/// Writes a line of the table as access and handler.
macro_rules! routes {
    ($($access:ident $module:ident::$handler:ident;)*) => {
        pub(crate) fn table() -> Vec<Entry> {
            let lines = [$(pastey::paste! {
                route::entries::<$module::[<__path_ $handler>], _, _>(
                    stringify!([<$module _ $handler>]), Access::$access, $module::$handler)
            }),*];
            lines.into_iter().flatten().collect()
        }

        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "pg_nebula",
                description = "Private overlay network and media cloud: accounts, devices, files, jobs."
            ),
            paths($($module::$handler),*),
            components(schemas(Failure, ApiErrors))
        )]
        struct Handlers;
    };
}

#[rustfmt::skip]
routes! {
    Anyone auth::login;
    Anyone auth::refresh;
    Anyone auth::logout;
    Account auth::me;
    Account session::list;
    Account session::end_others;
    Account session::end;
    Account personal_token::create;
    Account personal_token::list;
    Account personal_token::end;
    Operator account::list;
    Operator account::change;
    Operator account::delete;
    Operator account::sessions;
    Operator account::remove_totp;
    Account account::set_password;
    Account totp::show;
    Account totp::begin;
    Account totp::confirm;
    Account totp::end;
    Operator invitation::create_account;
    Operator invitation::list_accounts;
    Admin  invitation::create;
    Admin  invitation::list;
    Anyone invitation::show;
    Anyone invitation::accept;
    Account invitation::join;
    Admin  invitation::revoke;
    Operator personal_token::list_of_account;

    Anyone device::ca;
    MemberOrCode device::register;
    OwnDevice device::status;
    Admin  device::release;

    Anyone dnapi::enroll;
    Anyone dnapi::call;
    Anyone preauth::begin;
    Anyone preauth::poll;
    Admin  preauth::approve;
    Anyone dnapi::downloads;
    Admin  enrolment::create;
    Admin  enrolment::list;
    Admin  enrolment::revoke;
    Anyone install::script;
    Anyone install::program;
    Viewer project_options::options;
    Owner  project_options::set_options;
    Admin  project_options::set_groups;
    Admin  revocation::device;
    Admin  revocation::status;
    Admin  revocation::certificate;
    Viewer firewall::rules;
    Admin  firewall::add_rule;
    Admin  firewall::drop_rule;
    Viewer access::explain;
    Viewer access::preview;
    Viewer firewall::routes;
    Admin  firewall::add_route;
    Admin  firewall::drop_route;

    Viewer project::list;
    Operator project::create;
    Viewer member::list;
    Owner  member::set;
    Owner  member::remove;
    Account quota::list;
    Operator quota::set;
    Viewer pool::list;
    Operator pool::create;
    Operator pool::change;
    Operator pool::remove;
    Viewer pool::map;
    Viewer device::list;
    Viewer certificate::list;
    Operator authority::list;
    Operator rotation::list;
    Operator rotation::begin;
    Operator rotation::force;
    Operator rotation::cancel;
    Operator node::list;
    Operator node::register;
    Viewer node::list_enabled;
    Operator node::update;
    Operator node::remove;
    Operator node::tie;
    Operator node::secrets;
    Operator node::make_secret;
    Operator node::retire_secret;
    Operator node_interface::set;
    Operator node_interface::remove;
    Operator node_interface::set_local_device;
    Viewer peer::list;
    Member peer::create;
    Member peer::move_to;
    Member peer::cancel_move;
    Member peer::remove;
    Member peer::update;
    Member peer::remove_one;
    Member peer::config;
    Viewer job::list;
    Viewer job::status;
    Member job::cancel;
    Member job::retry;

    Viewer network::picture;
    Viewer network::samples;

    Viewer event::list;
    Viewer event::follow;
    Viewer event::export;
    Viewer event::watch;

    Member upload::upload;
    Anyone tus::options;
    Member tus::create;
    Member tus::status;
    Member tus::append;
    Member tus::remove;
    Viewer file::list;
    Viewer file::show;
    Member file::relocate;
    Member file::convert;
    Member file::tag;
    Viewer file::tags;
    Viewer file::link;
    Viewer playback::decide;
    Viewer folder::list;
    Member folder::relocate;
    Member folder::trash;
    Member trash::add;
    Viewer trash::list;
    Member trash::restore;
    Member trash::purge;
    Member trash::empty;
    Viewer bookmark::set;
    Account bookmark::remove;
    Viewer bookmark::list;
    Member share::create;
    Viewer share::list;
    Anyone share::open;
    Member share::revoke;
    Anyone share::page;
    ViewerOrLink file::content;
    ViewerOrLink hls::master;
    ViewerOrLink hls::media;
    ViewerOrLink hls::init;
    ViewerOrLink hls::segment;
    ViewerOrLink hls::subtitle;
    Viewer hls::seek;
    ViewerOrLink picture::poster;
    ViewerOrLink picture::index;
    ViewerOrLink picture::sheet;

    Operator system::show;
    Anyone health::live;
    Anyone health::ready;
    Anyone metrics::show;
    Anyone openapi::show;
}

/// Adds the table to an application.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    static DOCUMENT: LazyLock<web::Data<Document>> =
        LazyLock::new(|| web::Data::new(Document::new(Handlers::openapi(), &table())));
    config.app_data(DOCUMENT.clone());
    route::configure(table(), config);
}

#[cfg(test)]
mod bodies;
#[cfg(test)]
mod document;

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::http::{Method, StatusCode};
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    use super::*;
    use crate::http::body_limit::limit_body;
    use crate::state;

    /// No database is connected: a handler that asked it before refusing the caller would answer 503.
    #[actix_web::test]
    async fn every_route_that_needs_a_token_refuses_callers_without_one() {
        let (state, _folder) = state::tests::unconnected();
        let app = init_service(App::new().app_data(state).configure(configure)).await;
        for entry in table() {
            let uri = entry.path.replace("{projectId}", "0198c0de-0000-7000-8000-000000000000");
            let uri = uri.replace("{deviceId}", "0198c0de-0000-7000-8000-000000000000");
            let uri = uri.replace("{nodeId}", "0198c0de-0000-7000-8000-000000000000");
            let uri = uri.replace("{peerId}", "0198c0de-0000-7000-8000-000000000000");
            let uri =
                uri.replace("{variant}", "v480").replace("{subtitle}", "subtitle-0").replace("{sheet}", "0");
            let uri = uri.replace("{chunk}", "0").replace("{segment}", "0").replace("{subject}", "project");
            let uri = uri.replace(
                "{id}",
                if uri.contains("/jobs/") || uri.contains("/pools/") {
                    "1"
                } else {
                    "0198c0de-0000-7000-8000-000000000000"
                },
            );
            let request = TestRequest::default().method(entry.method.clone()).uri(&uri);
            let response = call_service(&app, request.to_request()).await;
            let refused = response.status() == StatusCode::UNAUTHORIZED;
            let needs_token = entry.access != Access::Anyone;
            assert_eq!(refused, needs_token, "{} {uri}: {}", entry.method, response.status());
            assert_eq!(refused, response.headers().contains_key("www-authenticate"), "{uri}");
        }
    }

    #[actix_web::test]
    async fn a_wrong_method_is_answered_with_the_right_ones() {
        let (state, _folder) = state::tests::unconnected();
        let app = init_service(App::new().app_data(state).configure(configure)).await;
        let response = call_service(&app, TestRequest::put().uri("/api/files").to_request()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers().get("allow").unwrap(), "POST, GET, HEAD");
    }

    #[actix_web::test]
    async fn head_is_answered_wherever_get_is_and_with_the_same_status() {
        let (state, _folder) = state::tests::unconnected();
        let app = App::new().app_data(state).wrap(from_fn(limit_body)).configure(configure);
        let app = init_service(app).await;
        for entry in table().into_iter().filter(|entry| entry.method == Method::GET) {
            let uri = entry.path.replace("/jobs/{id}", "/jobs/1").replace("/pools/{id}", "/pools/1");
            let uri = uri.replace("{id}", "0198c0de-0000-7000-8000-000000000000");
            let ask = |method| TestRequest::default().method(method).uri(&uri).to_request();
            let get = call_service(&app, ask(Method::GET)).await;
            let head = call_service(&app, ask(Method::HEAD)).await;
            assert_eq!(head.status(), get.status(), "{uri}");
            assert!(read_body(head).await.is_empty(), "{uri}");
        }
    }
}
