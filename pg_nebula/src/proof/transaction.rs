//! The accounts that this transaction has proven.

use std::cell::RefCell;

use super::request;
use crate::pg::hooks::{self, TransactionListener};
use crate::pg::session;

struct Proven {
    account: [u8; 16],
    /// End of the token, in PostgreSQL's microseconds: a transaction may stay open longer.
    until: i64,
    /// The actions that personal tokens allow; `None`: all that the account may do.
    actions: Option<Vec<String>>,
}

thread_local! {
    static PROVEN: RefCell<Vec<Proven>> = const { RefCell::new(Vec::new()) };
}

/// Forgets the accounts at the end of the transaction. Subtransactions share them: a signature that was good stays good
/// when the work after it is rolled back.
pub(crate) const LISTENER: TransactionListener = TransactionListener {
    before_commit: || {},
    committed: forget,
    aborted: forget,
    prepared: |_| forget(),
    subtransaction_committed: |_, _| {},
    subtransaction_aborted: |_| {},
};

fn forget() {
    PROVEN.with_borrow_mut(Vec::clear);
    request::forget();
}

/// Notes an account that was proven until this time, for these actions. A transaction that proves an account by several
/// tokens, as one that joins requests does, may do only what each of them allows.
pub(super) fn note(account: [u8; 16], until: i64, actions: Option<Vec<String>>) {
    hooks::register();
    PROVEN.with_borrow_mut(|proven| match proven.iter_mut().find(|known| known.account == account) {
        Some(known) => {
            known.until = known.until.max(until);
            known.actions = match (known.actions.take(), actions) {
                (Some(mut before), Some(now)) => {
                    before.retain(|action| now.contains(action));
                    Some(before)
                }
                (before, now) => before.or(now),
            };
        }
        None => proven.push(Proven { account, until, actions }),
    });
}

/// Whether the tokens that have proven the account allow an action; true where none was needed.
pub(super) fn allows(account: [u8; 16], action: &str) -> bool {
    PROVEN.with_borrow(|proven| {
        let known = proven.iter().find(|known| known.account == account);
        let actions = known.and_then(|known| known.actions.as_ref());
        actions.is_none_or(|actions| actions.iter().any(|allowed| allowed == action))
    })
}

/// Whether this transaction has proven an account.
pub(super) fn is_proven(account: [u8; 16]) -> bool {
    PROVEN.with_borrow(|proven| {
        proven.iter().any(|known| known.account == account && known.until > session::clock())
    })
}
