//! A reader answers a value or an error for any bytes, and a value that was read encodes to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nebula_certificate::{Certificate, CertificateAuthority, PublicKey, Version};

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 4 {
        0 => read(Version::V1, bytes),
        1 => read(Version::V2, bytes),
        2 => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            for certificate in Certificate::parse(text).unwrap_or_default() {
                assert_eq!(Certificate::parse(&certificate.pem()).unwrap(), [certificate]);
            }
        }
        _ => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            drop(PublicKey::parse(text));
            // Without a passphrase, so that an encrypted key is parsed but costs no time.
            let (cert, key) = text.split_at(text.floor_char_boundary(text.len() / 2));
            drop(CertificateAuthority::load(cert, key, None));
        }
    }
});

fn read(version: Version, bytes: &[u8]) {
    if let Ok(certificate) = Certificate::decode(version, bytes) {
        assert_eq!(certificate.encoded(), bytes, "nebula would see another certificate than we do");
        drop(certificate.fingerprint());
        drop(certificate.alternate_fingerprint());
    }
}
