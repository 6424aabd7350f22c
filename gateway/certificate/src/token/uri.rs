//! `pkcs11:` URIs (RFC 7512): module, token, key, and the place of the PIN.

use std::fs;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::Error;

/// The attributes of a URI. Without `Debug`, because one may be a PIN.
#[derive(Default)]
pub(super) struct Uri {
    /// Library to load.
    pub(super) module: PathBuf,
    /// Label of the key.
    pub(super) object: Option<String>,
    /// Identifier of the key, bytes.
    pub(super) id: Option<Vec<u8>>,
    token: Option<String>,
    serial: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    pin: Option<Zeroizing<String>>,
    pin_source: Option<String>,
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// [`Error::TokenUri`] naming the attribute, never its value.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let rest = text.strip_prefix("pkcs11:").ok_or_else(|| wrong("it does not begin with pkcs11:"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let attributes = path.split(';').chain(query.split('&')).filter(|attribute| !attribute.is_empty());
        for attribute in attributes {
            let (name, value) = attribute.split_once('=').ok_or_else(|| wrong("an attribute has no ="))?;
            let bytes: Vec<u8> = percent_decode_str(value).collect();
            if name == "id" {
                uri.id = Some(bytes);
                continue;
            }
            let value = String::from_utf8(bytes).map_err(|_| wrong(&format!("{name} is not text")))?;
            match name {
                "module-path" => uri.module = value.into(),
                "object" => uri.object = Some(value),
                "token" => uri.token = Some(value),
                "serial" => uri.serial = Some(value),
                "manufacturer" => uri.manufacturer = Some(value),
                "model" => uri.model = Some(value),
                "pin-value" => uri.pin = Some(Zeroizing::new(value)),
                "pin-source" => uri.pin_source = Some(value),
                // Only a private key can sign.
                "type" if value == "private" => {}
                // An unknown attribute may restrict the choice, so it must not be ignored.
                _ => return Err(wrong(&format!("{name} is not an attribute this understands"))),
            }
        }
        if uri.module.as_os_str().is_empty() {
            return Err(wrong("it has no module-path=, the library of the token"));
        }
        Ok(uri)
    }

    /// Whether the URI matches a token.
    pub(super) fn is_of(&self, label: &str, serial: &str, manufacturer: &str, model: &str) -> bool {
        let fits =
            |wanted: &Option<String>, seen: &str| wanted.as_deref().is_none_or(|wanted| wanted == seen);
        fits(&self.token, label)
            && fits(&self.serial, serial)
            && fits(&self.manufacturer, manufacturer)
            && fits(&self.model, model)
    }

    /// The PIN: in the URI, or in the file it names.
    ///
    /// # Errors
    /// [`Error::TokenUri`] when the file cannot be read.
    pub(super) fn pin(&self) -> Result<Option<Zeroizing<String>>, Error> {
        let Some(source) = &self.pin_source else { return Ok(self.pin.clone()) };
        let path = source.strip_prefix("file:").unwrap_or(source);
        let path = path.strip_prefix("//").unwrap_or(path);
        let text = fs::read_to_string(path)
            .map_err(|error| wrong(&format!("its pin-source {path} cannot be read: {error}")))?;
        Ok(Some(Zeroizing::new(Zeroizing::new(text).trim_end_matches(['\n', '\r']).to_owned())))
    }
}

fn wrong(problem: &str) -> Error {
    Error::TokenUri { problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_uri_is_read() {
        let uri = Uri::parse(
            "pkcs11:token=My%20CA;object=ca;id=%01%ff;type=private\
             ?module-path=/usr/lib/x.so&pin-value=12%3B34",
        );
        let uri = uri.ok().unwrap();
        assert_eq!(uri.module, Path::new("/usr/lib/x.so"));
        assert_eq!((uri.object.as_deref(), uri.id.as_deref()), (Some("ca"), Some(&[1, 255][..])));
        assert_eq!(uri.pin().unwrap().unwrap().as_str(), "12;34");
        assert!(uri.is_of("My CA", "any", "any", "any") && !uri.is_of("Other", "any", "any", "any"));
    }

    #[test]
    fn a_pin_comes_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        fs::write(&file, "1234\n").unwrap();
        for form in ["", "file:", "file://"] {
            let uri = format!("pkcs11:object=ca?module-path=/x.so&pin-source={form}{}", file.display());
            assert_eq!(Uri::parse(&uri).ok().unwrap().pin().unwrap().unwrap().as_str(), "1234");
        }
    }

    #[test]
    fn an_unknown_attribute_is_refused_without_its_value() {
        for (text, problem) in [
            ("http:x", "pkcs11:"),
            ("pkcs11:object=ca", "module-path"),
            ("pkcs11:object?module-path=/x.so", "no ="),
            ("pkcs11:slot-id=secret?module-path=/x.so", "slot-id"),
            ("pkcs11:object=%ff?module-path=/x.so", "not text"),
        ] {
            let error = Uri::parse(text).err().unwrap().to_string();
            assert!(error.contains(problem) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
