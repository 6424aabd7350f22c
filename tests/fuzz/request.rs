//! The readers of tokens, signatures, digests, ranges and conditions answer a value or a refusal to any text,
//! and nothing that was not signed passes.

#![no_main]

#[allow(dead_code, reason = "one function of the gateway's file is called here")]
#[path = "../../gateway/src/files/range.rs"]
mod range;

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use nebula_core::access_token::{Token, sign};
use nebula_signature::{ReadSignature, SignableRequest, digest_fits, seal};
use range::{Conditions, Decision, Object};

const SECRET: [u8; 32] = [7; 32];
const SIZE: u64 = 1000;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let text = std::str::from_utf8(bytes);
    match (choice % 5, text) {
        (0, Ok(text)) => token(text),
        (1, Ok(text)) => signed_claims(text),
        (2, Ok(text)) => signature(text),
        (3, Ok(text)) => conditions(text),
        (4, _) => drop(seal::open(&SECRET, b"node", bytes)),
        _ => {}
    }
});

/// A token from nowhere: nobody but the holder of the key can sign one.
fn token(text: &str) {
    if let Ok(token) = Token::parse(text) {
        assert!(token.verify(&sign::public_key(SECRET)).is_err(), "nobody has signed it");
    }
}

/// Header and claims as a signer with the right key would never write them.
fn signed_claims(text: &str) {
    let (header, claims) = text.split_once('\n').unwrap_or((text, "{}"));
    let token = sign::token(SECRET, header, claims);
    if let Ok(read) = Token::parse(&token) {
        read.verify(&sign::public_key(SECRET)).expect("it is signed");
        assert!(read.verify(&sign::public_key([8; 32])).is_err());
    }
}

fn signature(text: &str) {
    let mut lines = text.splitn(3, '\n');
    let (input, signature) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let digest = lines.next().unwrap_or_default();
    let request = SignableRequest::new("POST", "/v1/dnclient", "content-digest", digest);
    if let Ok(read) = ReadSignature::read(&request, input, signature, |_| true) {
        assert!(!read.is_by(&SECRET), "nobody has signed it");
    }
    assert!(!digest_fits(digest, b"a body that no corpus has"));
}

fn conditions(text: &str) {
    let lines: Vec<_> = text.split('\n').collect();
    let line = |at: usize| lines.get(at).copied().filter(|line| !line.is_empty());
    let modified = DateTime::<Utc>::from_timestamp(1_790_000_000, 0).expect("a moment");
    let object = Object { size: SIZE, etag: "tag", modified };
    let asked = Conditions {
        range: line(0),
        if_range: line(1),
        if_match: line(2),
        if_none_match: line(3),
        if_modified_since: line(4),
        if_unmodified_since: line(5),
    };
    if let Decision::Part(part) = range::decide(object, asked) {
        assert!(part.start < part.end && part.end <= SIZE, "{part:?}");
    }
    let empty = Object { size: 0, ..object };
    assert!(!matches!(range::decide(empty, asked), Decision::Part(_)), "a part of nothing");
}
