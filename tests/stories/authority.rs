//! Certificate authorities: compatibility with nebula-cert, keys in a PKCS#11 token, revocation, and
//! authorities that end or cannot be used.

mod exchange;
mod expiry;
mod revocation;
mod token;
