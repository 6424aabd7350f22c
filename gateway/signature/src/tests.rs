//! The examples of the RFCs, and signatures that must be refused.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::*;

/// RFC 9421, appendix B.1.5.
const SHARED: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

/// Appendix B.2, `test-request`.
fn published() -> SignableRequest<'static> {
    SignableRequest::new("POST", "/foo", "date", "Tue, 20 Apr 2021 02:07:55 GMT")
        .authority("Example.com")
        .field("content-type", "application/json")
}

/// Appendix B.2.5: covered components, parameters and signature.
#[test]
fn the_example_of_hmac_sha256() {
    let secret = BASE64_STANDARD.decode(SHARED).unwrap();
    let parameters = r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
    let base = published().base(["date", "@authority", "content-type"].into_iter(), parameters).unwrap();
    let expected = r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
    assert_eq!(base, expected);
    let mac = mac(&secret, base.as_bytes()).unwrap();
    assert_eq!(BASE64_STANDARD.encode(mac), "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
}

/// RFC 9530, appendix D, with and without the line feed.
#[test]
fn the_examples_of_content_digest() {
    let examples: [(&[u8], _); 2] = [
        (b"{\"hello\": \"world\"}", "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"),
        (b"{\"hello\": \"world\"}\n", "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"),
    ];
    for (body, expected) in examples {
        assert_eq!(digest(body).unwrap(), expected);
        assert!(digest_fits(expected, body));
        assert!(digest_fits(&format!("sha-512=:AAAA:, {expected}"), body));
        assert!(!digest_fits(expected, b"{}"));
    }
    for other in ["", "sha-256", "sha-256=abc", "sha-512=:AAAA:", "sha-256=::", "sha-256=:AAAA:;;"] {
        assert!(!digest_fits(other, b""), "{other}");
    }
}

const BODY: &[u8] = b"{\"version\":1}";
const SECRET: [u8; 32] = [7; 32];

fn request(digest: &str) -> SignableRequest<'_> {
    SignableRequest::new("POST", "/v1/dnclient", "content-digest", digest)
}

/// Signs these components as a foreign client would.
fn foreign(request: &SignableRequest<'_>, covered: &[&str], parameters: &str) -> (String, String) {
    let list: Vec<String> = covered.iter().map(|name| format!("\"{name}\"")).collect();
    let parameters = format!("({}){parameters}", list.join(" "));
    let mac = mac(&SECRET, request.base(covered.iter().copied(), &parameters).unwrap().as_bytes());
    (format!("theirs={parameters}"), format!("theirs=:{}:", BASE64_STANDARD.encode(mac.unwrap())))
}

#[test]
fn only_an_unchanged_signed_request_verifies() {
    let (digest, other) = (digest(BODY).unwrap(), digest(b"{}").unwrap());
    let secret = Secret { key_id: "k1", bytes: &SECRET };
    let headers = sign(&request(&digest), &secret, 1_790_000_000, "0123456789abcdef").unwrap();
    assert_eq!(
        headers.input,
        r#"node=("@method" "@path" "content-digest");created=1790000000;nonce="0123456789abcdef";keyid="k1";alg="hmac-sha256""#
    );
    let read = |request: &SignableRequest<'_>| {
        ReadSignature::read(request, &headers.input, &headers.signature, |key| key == "k1").unwrap()
    };
    let signed = read(&request(&digest));
    assert!(signed.is_by(&SECRET) && !signed.is_by(&[8; 32]) && !signed.is_by(b""));
    assert_eq!((signed.key_id.as_str(), signed.created, signed.expires), ("k1", 1_790_000_000, None));
    assert_eq!(signed.nonce, "0123456789abcdef");
    for altered in [
        request(&other),
        SignableRequest::new("PUT", "/v1/dnclient", "content-digest", &digest),
        SignableRequest::new("POST", "/v1/dnclients", "content-digest", &digest),
        request(&digest).field("content-digest", &other),
    ] {
        assert!(!read(&altered).is_by(&SECRET), "{altered:?}");
    }
    let later = headers.input.replace("1790000000", "1790000001");
    let later = ReadSignature::read(&request(&digest), &later, &headers.signature, |_| true).unwrap();
    assert!(!later.is_by(&SECRET));
}

#[test]
fn the_signer_chooses_the_order_of_components_and_parameters() {
    let digest = digest(BODY).unwrap();
    let request = request(&digest).authority("gateway:8080");
    let covered = ["content-digest", "@authority", "@path", "@method"];
    let parameters = r#";keyid="k\"1";nonce="n";expires=9;created=1;tag="x";alg="hmac-sha256""#;
    let (input, signature) = foreign(&request, &covered, parameters);
    let signed = ReadSignature::read(&request, &input, &signature, |key| key == "k\"1").unwrap();
    assert!(signed.is_by(&SECRET));
    assert_eq!(signed.expires, Some(9));
    // Beside the signature of another signer, which is ignored.
    let input = format!(r#"a=("@bogus");keyid="z", {input}"#);
    let signature = format!("a=:AAAA:, {signature}");
    assert!(ReadSignature::read(&request, &input, &signature, |key| key == "k\"1").unwrap().is_by(&SECRET));
}

#[test]
fn a_signature_that_lacks_a_component_or_parameter_is_refused() {
    let digest = digest(BODY).unwrap();
    let request = request(&digest);
    let good = r#";created=1;nonce="n";keyid="k1""#;
    let fault = |covered: &[&str], parameters: &str| {
        let (input, signature) = foreign(&request, covered, parameters);
        ReadSignature::read(&request, &input, &signature, |key| key == "k1").unwrap_err()
    };
    assert_eq!(fault(&["@method", "@path"], good), SignatureError::Uncovered("content-digest"));
    assert_eq!(fault(&["content-digest"], good), SignatureError::Uncovered("@method"));
    for (parameters, expected) in [
        (r#";created=1;nonce="n";keyid="k2""#, SignatureError::UnknownKey),
        (r#";created=1;nonce="n""#, SignatureError::UnknownKey),
        (r#";nonce="n";keyid="k1""#, SignatureError::Parameter("created")),
        (r#";created="1";nonce="n";keyid="k1""#, SignatureError::Parameter("created")),
        (r#";created=1;keyid="k1""#, SignatureError::Parameter("nonce")),
        (r#";created=1;nonce="n";keyid="k1";expires=x"#, SignatureError::Parameter("expires")),
        (r#";created=1;nonce="n";keyid="k1";alg="rsa-v1_5-sha256""#, SignatureError::Parameter("alg")),
        (r#";created=1;nonce="n";keyid="k1";alg=1"#, SignatureError::Parameter("alg")),
    ] {
        assert_eq!(fault(&COVERED, parameters), expected, "{parameters}");
    }
    let read = |input: &str, signature: &str| {
        ReadSignature::read(&request, input, signature, |key| key == "k1").unwrap_err()
    };
    let list = r#"("@method" "@path" "content-digest""#;
    assert_eq!(read("", ""), SignatureError::UnknownKey);
    assert_eq!(read("a=(", "a=:AAAA:"), SignatureError::Malformed("Signature-Input"));
    for signature in ["", "b=:AAAA:", "a=AAAA", "a=(1)", "a"] {
        assert_eq!(
            read(&format!("a={list}){good}"), signature),
            SignatureError::Malformed("Signature"),
            "{signature}"
        );
    }
    let twice = format!(r#"a={list} "@path"){good}"#);
    assert_eq!(read(&twice, "a=:AAAA:"), SignatureError::Malformed("Signature-Input"));
    for name in ["x-absent", "@query", "@authority"] {
        let absent = format!(r#"a={list} "{name}"){good}"#);
        assert_eq!(read(&absent, "a=:AAAA:"), SignatureError::Unsupported(name.to_owned()));
    }
    let part = format!(r#"a=("@method" "@path" "content-digest";key="sha-256"){good}"#);
    assert_eq!(read(&part, "a=:AAAA:"), SignatureError::Unsupported("content-digest".to_owned()));
}
