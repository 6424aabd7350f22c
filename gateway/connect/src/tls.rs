//! The demands of `sslmode`, as settings of OpenSSL.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use postgres_openssl::MakeTlsConnector;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::string::TlsSettings;

/// The value of `sslrootcert` for the authorities that the system trusts.
const SYSTEM: &str = "system";

/// A setting of TLS that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `sslmode` has no such value.
    #[error("sslmode={0} is not known: disable, prefer, require, verify-ca and verify-full are")]
    Mode(String),
    /// Only the mode that checks the name is safe with authorities that certify everybody.
    #[error("sslmode={0} is too weak for sslrootcert=system: use verify-full")]
    WeakForSystem(&'static str),
    /// A file cannot be read.
    #[error("the file {path} ({setting}) cannot be read: {source}")]
    File {
        /// Name of the setting.
        setting: &'static str,
        /// Path of the file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The private key can be read by other users.
    #[error("the key {0} (sslkey) can be read by others; run: chmod 600 {0}")]
    ReadableKey(String),
    /// A certificate without its key, or a key without its certificate.
    #[error("sslcert and sslkey belong together, and one of them is missing")]
    Unpaired,
    /// A file is no PEM, or key and certificate do not fit.
    #[error("{setting} cannot be used: {source}")]
    OpenSsl {
        /// Name of the setting.
        setting: &'static str,
        /// The error of OpenSSL.
        source: ErrorStack,
    },
}

/// A demand on the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    /// Nothing of the certificate.
    Encryption(SslMode),
    /// A certificate of a trusted authority, for any name.
    Authority,
    /// A certificate of a trusted authority, for the name that was asked for.
    Name,
}

impl TlsSettings {
    /// Sets the mode in `config`, and answers what checks the server's certificate.
    pub(crate) fn apply(&self, config: &mut Config) -> Result<MakeTlsConnector, TlsError> {
        let demand = self.demand(config.get_ssl_mode())?;
        config.ssl_mode(match demand {
            Demand::Encryption(mode) => mode,
            Demand::Authority | Demand::Name => SslMode::Require,
        });
        let mut builder = SslConnector::builder(SslMethod::tls()).map_err(of("sslmode"))?;
        self.trust(&mut builder)?;
        self.present(&mut builder)?;
        if matches!(demand, Demand::Encryption(_)) {
            builder.set_verify(SslVerifyMode::NONE);
        }
        let mut connector = MakeTlsConnector::new(builder.build());
        connector.set_callback(move |connection, _| {
            connection.set_verify_hostname(demand == Demand::Name);
            Ok(())
        });
        Ok(connector)
    }

    /// `read` is the mode that `tokio_postgres` has read, in a text that is not understood here. It is never
    /// lowered.
    fn demand(&self, read: SslMode) -> Result<Demand, TlsError> {
        let has_root = self.root_cert.is_some();
        let read = match read {
            SslMode::Disable => "disable",
            SslMode::Require => "require",
            _ => "prefer",
        };
        let mode = self.mode.as_deref().unwrap_or(read);
        let demand = match mode {
            "disable" => Demand::Encryption(SslMode::Disable),
            // libpq's "allow" tries an unencrypted connection first; "prefer" reaches the same servers.
            "prefer" | "allow" => Demand::Encryption(SslMode::Prefer),
            // As in libpq: with an authority to check by, `require` checks.
            "require" if has_root => Demand::Authority,
            "require" => Demand::Encryption(SslMode::Require),
            "verify-ca" => Demand::Authority,
            "verify-full" => Demand::Name,
            other => return Err(TlsError::Mode(other.to_owned())),
        };
        match demand {
            Demand::Authority if self.root_cert.as_deref() == Some(SYSTEM) => {
                Err(TlsError::WeakForSystem(if mode == "require" { "require" } else { "verify-ca" }))
            }
            _ => Ok(demand),
        }
    }

    /// Trusts the authorities of `sslrootcert` and no others; without it, those of the system.
    fn trust(&self, builder: &mut SslConnectorBuilder) -> Result<(), TlsError> {
        let Some(path) = self.root_cert.as_deref().filter(|path| *path != SYSTEM) else { return Ok(()) };
        let setting = "sslrootcert";
        let pem = read(setting, path)?;
        let mut store = X509StoreBuilder::new().map_err(of(setting))?;
        let certificates = X509::stack_from_pem(&pem).map_err(of(setting))?;
        if certificates.is_empty() {
            let source = io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate in PEM");
            return Err(TlsError::File { setting, path: path.to_owned(), source });
        }
        for certificate in certificates {
            store.add_cert(certificate).map_err(of(setting))?;
        }
        builder.set_cert_store(store.build());
        Ok(())
    }

    /// Presents the certificate of `sslcert` to a server that asks for one.
    fn present(&self, builder: &mut SslConnectorBuilder) -> Result<(), TlsError> {
        let (cert, key) = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) => return Ok(()),
            _ => return Err(TlsError::Unpaired),
        };
        read("sslcert", cert)?;
        read("sslkey", key)?;
        let mode = fs::metadata(key).map(|metadata| metadata.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o077 != 0) {
            return Err(TlsError::ReadableKey(key.clone()));
        }
        builder.set_certificate_chain_file(cert).map_err(of("sslcert"))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(of("sslkey"))?;
        builder.check_private_key().map_err(of("sslkey"))
    }
}

fn read(setting: &'static str, path: &str) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::File { setting, path: path.to_owned(), source })
}

fn of(setting: &'static str) -> impl Fn(ErrorStack) -> TlsError {
    move |source| TlsError::OpenSsl { setting, source }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use crate::Server;

    #[test]
    fn a_setting_that_cannot_be_used_is_named_with_the_remedy_and_without_the_password() {
        for (query, words) in [
            ("sslmode=always", "verify-full"),
            ("sslmode=verify-full&sslrootcert=/nonexistent/root.crt", "/nonexistent/root.crt (sslrootcert)"),
            ("sslmode=verify-full&sslrootcert=/etc/hostname", "no certificate"),
            ("sslmode=verify-ca&sslrootcert=system", "use verify-full"),
            ("sslcert=/a", "belong together"),
            ("sslmood=require", "sslmood"),
        ] {
            let error =
                Server::parse(&format!("postgresql://u:hunter2@h/d?{query}")).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("hunter2"), "{query}: {error}");
        }
    }

    #[test]
    fn the_mode_is_not_lost_whatever_the_password_holds() {
        for password in ["p?w", "p/w?", "?", "p%3Fw", "/?", "p?sslmode=disable"] {
            let url = format!("postgresql://u:{password}@h/d?connect_timeout=3&sslmode=require");
            let config = Server::parse(&url).unwrap().config;
            assert_eq!(config.get_ssl_mode(), SslMode::Require, "{password}");
        }
    }

    #[test]
    fn every_mode_of_libpq_is_read() {
        for mode in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
            Server::parse(&format!("postgresql://u@h/d?sslmode={mode}")).unwrap();
            Server::parse(&format!("host=h user=u sslmode='{mode}'")).unwrap();
        }
    }
}
