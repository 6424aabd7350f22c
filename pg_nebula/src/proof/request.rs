//! The request and the caller that the current statement is for, which `nebula.append_event` records.

use std::cell::RefCell;

use nebula_core::request::Request;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::GATEWAY;

/// Caller and request of the last proof in this transaction. The arguments of a statement are computed before its function runs, so
/// that is the proof of the statement under way.
#[derive(Default)]
struct Current {
    holder: Option<[u8; 16]>,
    id: Option<String>,
    client: Option<String>,
}

thread_local! {
    static CURRENT: RefCell<Current> = RefCell::default();
}

/// Notes for whom and for which request the statement is.
pub(super) fn note(holder: [u8; 16], request: Request<'_>) {
    let id = request.id.map(str::to_owned);
    let client = request.client.map(|client| client.to_string());
    CURRENT.set(Current { holder: Some(holder), id, client });
}

/// Forgets them, at the end of the transaction.
pub(super) fn forget() {
    CURRENT.take();
}

#[pg_extern]
fn acting_account() -> Option<Uuid> {
    let holder = CURRENT.with_borrow(|current| current.holder);
    holder.filter(|holder| *holder != GATEWAY).map(Uuid::from_bytes)
}

#[pg_extern]
fn acts_for_gateway() -> bool {
    CURRENT.with_borrow(|current| current.holder == Some(GATEWAY))
}

#[pg_extern]
fn request_id() -> Option<String> {
    CURRENT.with_borrow(|current| current.id.clone())
}

#[pg_extern]
fn request_client() -> Option<Inet> {
    CURRENT.with_borrow(|current| current.client.clone()).map(Inet)
}
