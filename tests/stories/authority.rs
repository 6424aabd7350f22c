//! Certificate authorities: compatibility with nebula-cert, keys in a PKCS#11 token, and revocation.

mod exchange;
mod revocation;
mod token;
