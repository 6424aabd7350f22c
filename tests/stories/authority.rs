//! Certificate authorities: exchanged with nebula-cert, kept in a token, rotated under running daemons.

mod exchange;
mod token;
