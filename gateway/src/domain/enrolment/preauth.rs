//! A device's request to be let in. Nothing is stored before it is approved: the code follows from the secret
//! of the device, and the number of the request, which the administrator sees, from the code. So requests
//! cannot fill a table, and every gateway answers them alike.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::code_hash;

/// Bytes of the secret.
const SECRET: usize = 32;
/// The letters of codes, and their number in one: 125 bits.
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const CODE_LENGTH: usize = 25;

/// The secret of a device that asks to be let in.
pub(crate) struct PollToken([u8; SECRET]);

impl PollToken {
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    pub(crate) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The code by which the device joins once it is approved.
    pub(crate) fn code(&self) -> String {
        let digest = Sha256::new().chain_update("enrolment code of ").chain_update(self.0).finalize();
        let letters = digest.iter().take(CODE_LENGTH);
        letters.map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
    }

    /// The number of the request.
    pub(crate) fn request(&self) -> String {
        hex::encode(code_hash(&self.code()))
    }
}

/// The hash of the code that a request is about.
pub(crate) fn requested_hash(request: &str) -> Option<Vec<u8>> {
    hex::decode(request).ok().filter(|hash| hash.len() == SECRET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_follows_from_the_token_and_the_request_tells_neither() {
        let token = PollToken::new();
        let again = PollToken::parse(&token.text()).unwrap();
        assert_eq!((again.code(), again.request()), (token.code(), token.request()));
        assert_eq!(token.code().len(), 25);
        assert_eq!(requested_hash(&token.request()), Some(code_hash(&token.code())));
        assert_ne!(PollToken::new().code(), token.code());
        for wrong in ["", "a", &token.text()[1..], &token.request()] {
            assert!(PollToken::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(requested_hash("c0ffee"), None);
    }
}
