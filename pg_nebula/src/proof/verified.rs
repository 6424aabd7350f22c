//! Signatures that this session has checked, so that a token that comes again costs a look-up instead.

use std::cell::RefCell;
use std::collections::HashMap;

use nebula_core::access_token::{Claims, Token, TokenFault};

use super::{key, refused};
use crate::pg::error::{Error, Result};

/// Tokens that are kept: a session of a pool serves that many accounts at a time at most.
const MAX_KEPT: usize = 512;

thread_local! {
    static VERIFIED: RefCell<HashMap<String, Claims>> = RefCell::new(HashMap::new());
}

/// The claims of a token whose signature is good and whose key is in force. Whether it has expired, and what it stands
/// for, is for the caller to look at.
pub(super) fn claims(token: &str) -> Result<Claims> {
    if let Some(claims) = VERIFIED.with_borrow(|verified| verified.get(token).copied()) {
        key::find(claims.key)?;
        return Ok(claims);
    }
    let read = Token::parse(token).map_err(fault)?;
    let claims = read.verify(&key::find(read.key())?).map_err(fault)?;
    VERIFIED.with_borrow_mut(|verified| {
        if verified.len() >= MAX_KEPT {
            verified.clear();
        }
        verified.insert(token.to_owned(), claims);
    });
    Ok(claims)
}

fn fault(fault: TokenFault) -> Error {
    refused(&fault.to_string(), "Sign in: POST /api/auth/login.")
}
