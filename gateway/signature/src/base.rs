//! The signature base: the lines of a request that are signed (RFC 9421, section 2).

use crate::SignatureError;

/// The parts of a request that a signature can cover.
#[derive(Debug, Clone)]
pub struct SignableRequest<'a> {
    method: &'a str,
    path: &'a str,
    authority: Option<&'a str>,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> SignableRequest<'a> {
    /// A request with one header field, its name in lower case. The path is that of the request line, without
    /// the query; a proxy that changes it breaks the signature.
    #[must_use]
    pub fn new(method: &'a str, path: &'a str, field: &'a str, value: &'a str) -> Self {
        Self { method, path, authority: None, fields: vec![(field, value)] }
    }

    /// Adds the host, with the port unless it is the default one.
    #[must_use]
    pub fn authority(mut self, authority: &'a str) -> Self {
        self.authority = Some(authority);
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn field(mut self, field: &'a str, value: &'a str) -> Self {
        self.fields.push((field, value));
        self
    }

    /// The lines of the covered components, then the parameters as they stand in `Signature-Input`.
    pub(crate) fn base<'b>(
        &self,
        covered: impl Iterator<Item = &'b str>,
        parameters: &str,
    ) -> Result<String, SignatureError> {
        let mut base = String::new();
        for name in covered {
            let value = self.value(name).ok_or_else(|| SignatureError::Unsupported(name.to_owned()))?;
            base.push_str(&format!("\"{name}\": {value}\n"));
        }
        Ok(base + "\"@signature-params\": " + parameters)
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "@method" => Some(self.method.to_owned()),
            "@path" => Some(if self.path.is_empty() { "/" } else { self.path }.to_owned()),
            "@authority" => self.authority.map(str::to_lowercase),
            _ => {
                // A field that is sent several times counts as one list.
                let values = self.fields.iter().filter(|(field, _)| *field == name);
                let values: Vec<&str> = values.map(|(_, value)| value.trim()).collect();
                (!values.is_empty()).then(|| values.join(", "))
            }
        }
    }
}
