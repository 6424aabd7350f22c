//! Settings: flags, or environment variables of the same names.

use std::fmt;
use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use nebula_api::endpoint;
use nebula_machine::Sensors;
use nebula_storage::Reserve;

use crate::domain::authority::{AuthorityFolder, KeySource};
use crate::domain::rate_limit::Maxima;
use crate::infra::connections::BodyLimits;
use crate::infra::tls::TlsSource;
use crate::infra::trusted_proxies::TrustedProxies;

/// Flags of the command line. All are optional here; [`Settings::from_flags`] demands those that the server
/// needs.
#[derive(Args, Clone)]
pub struct Flags {
    /// PostgreSQL with pg_nebula: postgresql://nebula_gateway:password@host:5432/nebula
    #[arg(long, env = "NEBULA_DATABASE_URL", value_name = "URL", hide_env_values = true, global = true)]
    pub(crate) database_url: Option<String>,
    /// The same database for LISTEN, past a pooler in transaction mode; without it, the database URL
    #[arg(long, env = "NEBULA_DATABASE_LISTEN_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) database_listen_url: Option<String>,
    /// Where bytes live: file:///absolute/folder, or s3://bucket?endpoint=http://host:port
    #[arg(long, env = "NEBULA_STORAGE_URL", value_name = "URL")]
    pub(crate) storage_url: Option<String>,
    /// Address and port to listen on; port 0 takes a free one. After commas further ones, which this machine may get
    /// later, such as its address in the overlay
    #[arg(long, env = "NEBULA_LISTEN", value_name = "ADDRESS:PORT[,…]", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Address and port for /metrics alone, which is not answered elsewhere then
    #[arg(long, env = "NEBULA_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<String>,
    /// Address at which devices reach the gateway, in links and QR codes; without it, the one of the request
    #[arg(long, env = "NEBULA_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Certificate for TLS, with those between it and its authority, PEM; read again when it changes. Then clients of
    /// other machines must use https
    #[arg(long, env = "NEBULA_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of that certificate, PEM
    #[arg(long, env = "NEBULA_TLS_KEY", value_name = "FILE", hide_env_values = true, requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Folder for a certificate that the gateway signs itself at the first start, for addresses such as that in the
    /// overlay. Clients may use https then
    #[arg(long, env = "NEBULA_TLS_SELF_SIGNED", value_name = "FOLDER", conflicts_with = "tls_cert")]
    pub(crate) tls_self_signed: Option<PathBuf>,
    /// Proxies in front of the gateway: addresses and networks, with commas. Only their headers say who the client
    /// is (X-Forwarded-For or Forwarded) and where it called (X-Forwarded-Host, X-Forwarded-Proto)
    #[arg(long, env = "NEBULA_TRUSTED_PROXIES", value_name = "NETWORKS", default_value = "")]
    pub(crate) trusted_proxies: String,
    /// Certificate of the authority, as nebula-cert writes it; several during a rotation
    #[arg(long, env = "NEBULA_CA_CERT", value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Private key of the authority: a file, plain or encrypted and readable by its owner alone, or a pkcs11:
    /// URI
    #[arg(long, env = "NEBULA_CA_KEY", value_name = "FILE|URI", hide_env_values = true)]
    pub(crate) ca_key: Option<PathBuf>,
    /// Folder of the authorities of all projects but the first, which the gateway makes there, and of those for
    /// rotation: NAME.crt beside NAME.key or NAME.uri; without it, `authorities` beside the certificate
    #[arg(long, env = "NEBULA_CA_DIR", value_name = "FOLDER")]
    pub(crate) ca_dir: Option<PathBuf>,
    /// Passphrase of an encrypted key; better by environment, because everyone on the machine can read
    /// arguments
    #[arg(long, env = "NEBULA_CA_PASSPHRASE", value_name = "TEXT", hide_env_values = true)]
    pub(crate) ca_passphrase: Option<String>,
    /// Key that signs access tokens: a file of at least 32 random bytes
    #[arg(long, env = "NEBULA_TOKEN_KEY", value_name = "FILE", hide_env_values = true)]
    pub(crate) token_key: Option<String>,
    /// Connections to PostgreSQL at most
    #[arg(long, env = "NEBULA_DATABASE_CONNECTIONS", value_name = "COUNT", default_value_t = 16)]
    pub(crate) database_connections: usize,
    /// Largest upload in bytes; without it the disk is the limit
    #[arg(long, env = "NEBULA_MAX_UPLOAD", value_name = "BYTES")]
    pub(crate) max_upload: Option<u64>,
    /// Seconds for which the body of a request may pause; for files eight times as long
    #[arg(long, env = "NEBULA_BODY_SILENCE", value_name = "SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) body_silence: u32,
    /// Seconds that the body of a request may take, but for files
    #[arg(long, env = "NEBULA_BODY_TIME", value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) body_time: u32,
    /// Hours that the upload of a file may take
    #[arg(long, env = "NEBULA_UPLOAD_HOURS", value_name = "HOURS", default_value_t = 24,
          value_parser = clap::value_parser!(u32).range(1..=720))]
    pub(crate) upload_hours: u32,
    /// Devices that an account may register in a project per minute; 0 sets no limit
    #[arg(long, env = "NEBULA_REGISTRATIONS_PER_MINUTE", value_name = "COUNT", default_value_t = 30)]
    pub(crate) registrations_per_minute: u32,
    /// Enrolment codes that are none, from an address in ten minutes; 0 sets no limit
    #[arg(long, env = "NEBULA_WRONG_CODES", value_name = "COUNT", default_value_t = 20)]
    pub(crate) wrong_codes: u32,
    /// Uploads that an account, and an address, may begin per minute; 0 sets no limit
    #[arg(long, env = "NEBULA_UPLOADS_PER_MINUTE", value_name = "COUNT", default_value_t = 3000)]
    pub(crate) uploads_per_minute: u32,
    /// Files and live events that an account, and an address, may begin to fetch per minute; 0 sets no limit
    #[arg(long, env = "NEBULA_STREAMS_PER_MINUTE", value_name = "COUNT", default_value_t = 3000)]
    pub(crate) streams_per_minute: u32,
    /// Room that uploads and renditions leave free on a disk: 2GiB, 5%, bytes; without it 2 %, between 1 and
    /// 10 GiB
    #[arg(long, env = "NEBULA_DISK_RESERVE", value_name = "SIZE|PERCENT")]
    pub(crate) disk_reserve: Option<Reserve>,
    /// Days after which objects in the storage that belong to no file are deleted; without it they are only
    /// reported
    #[arg(long, env = "NEBULA_ORPHAN_DAYS", value_name = "DAYS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) orphan_days: Option<u32>,
    /// When stored objects are compared with the database, as a cron expression in UTC; empty: never
    #[arg(long, env = "NEBULA_SCRUB", value_name = "CRON", default_value = "23 * * * *")]
    pub(crate) scrub: String,
    /// Folder in which Linux shows batteries and chargers; without it /sys/class/power_supply
    #[arg(long, env = "NEBULA_POWER_SUPPLY_DIR", value_name = "FOLDER")]
    pub(crate) power_supply_dir: Option<PathBuf>,
    /// Folder in which Linux shows temperatures; without it /sys/class/thermal
    #[arg(long, env = "NEBULA_THERMAL_DIR", value_name = "FOLDER")]
    pub(crate) thermal_dir: Option<PathBuf>,
    /// Days that deleted files stay in the trash before they are deleted for good
    #[arg(long, env = "NEBULA_TRASH_DAYS", value_name = "DAYS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) trash_days: u32,
    /// How long device certificates are valid, cut to the end of the authority
    #[arg(long, env = "NEBULA_CERTIFICATE_DAYS", value_name = "DAYS", default_value_t = 30)]
    pub(crate) certificate_days: u32,
}

/// Settings of the server. All files they name could be read.
#[derive(Clone)]
pub struct Settings {
    pub(crate) database_url: String,
    /// For LISTEN; without it, the same as the others.
    pub(crate) database_listen_url: Option<String>,
    pub(crate) database_connections: usize,
    pub(crate) storage_url: String,
    /// Largest upload in bytes.
    pub(crate) max_upload: Option<u64>,
    /// Room that stays free on a disk.
    pub(crate) disk_reserve: Reserve,
    /// Age at which objects that belong to no file are deleted.
    pub(crate) orphan_age: Option<Duration>,
    /// When the storage is scrubbed, as a cron expression.
    pub(crate) scrub: String,
    pub(crate) sensors: Sensors,
    /// Age at which files in the trash are deleted for good.
    pub(crate) trash_age: Duration,
    /// Address and port; further ones after commas.
    pub(crate) listen: String,
    /// For metrics alone.
    pub(crate) metrics_listen: Option<String>,
    /// Address at which devices reach the gateway, without a slash at its end.
    pub(crate) public_url: Option<String>,
    pub(crate) proxies: TrustedProxies,
    pub(crate) tls: Option<TlsSource>,
    pub(crate) body_limits: BodyLimits,
    pub(crate) rate_limits: Maxima,
    pub(crate) authorities: KeySource,
    /// At least 32 bytes.
    pub(crate) token_key: Vec<u8>,
    pub(crate) certificate_lifetime: Duration,
}

impl Settings {
    /// Checks the flags and reads the files they name.
    ///
    /// # Errors
    /// One sentence: the setting, the problem, the remedy. Never a secret.
    pub fn from_flags(flags: Flags) -> Result<Self> {
        let database_url =
            required(flags.database_url, "NEBULA_DATABASE_URL", "postgresql://user:password@host/nebula")?;
        let storage_url = required(flags.storage_url, "NEBULA_STORAGE_URL", "file:///var/lib/nebula/store")?;
        let ca_cert =
            required(flags.ca_cert, "NEBULA_CA_CERT", "/etc/nebula/ca.crt (nebulactl ca create makes one)")?;
        let ca_key =
            required(flags.ca_key, "NEBULA_CA_KEY", "/etc/nebula/ca.key (nebulactl ca create makes one)")?;
        let token_key = required(
            flags.token_key,
            "NEBULA_TOKEN_KEY",
            "/etc/nebula/token_key (head -c 48 /dev/urandom > token_key makes one)",
        )?;
        ensure!(flags.database_connections > 0, "NEBULA_DATABASE_CONNECTIONS is 0, it must be at least 1");
        ensure!(flags.certificate_days > 0, "NEBULA_CERTIFICATE_DAYS is 0, it must be at least 1");
        let folder = match flags.ca_dir {
            Some(folder) => AuthorityFolder::Set(folder),
            None => AuthorityFolder::Beside(ca_cert.with_file_name("authorities")),
        };
        let tls = match (flags.tls_cert, flags.tls_key, flags.tls_self_signed) {
            (Some(certificate), Some(key), _) => Some(TlsSource::Files { certificate, key }),
            (_, _, Some(folder)) => {
                let names = tls_names(&flags.listen, flags.public_url.as_deref());
                Some(TlsSource::SelfSigned { folder, names })
            }
            _ => None,
        };
        Ok(Self {
            tls,
            database_url,
            database_listen_url: flags.database_listen_url,
            database_connections: flags.database_connections,
            storage_url,
            max_upload: flags.max_upload,
            disk_reserve: flags.disk_reserve.unwrap_or_default(),
            orphan_age: flags.orphan_days.map(|days| seconds(days) * 24 * 3600),
            scrub: flags.scrub,
            sensors: Sensors::new(flags.power_supply_dir, flags.thermal_dir),
            trash_age: seconds(flags.trash_days) * 24 * 3600,
            listen: flags.listen,
            metrics_listen: flags.metrics_listen,
            public_url: flags.public_url.as_deref().map(public_url).transpose()?,
            proxies: flags.trusted_proxies.parse()?,
            body_limits: BodyLimits {
                silence: seconds(flags.body_silence),
                whole: seconds(flags.body_time),
                upload: seconds(flags.upload_hours) * 3600,
            },
            rate_limits: Maxima {
                registrations: NonZeroU32::new(flags.registrations_per_minute),
                wrong_codes: NonZeroU32::new(flags.wrong_codes),
                uploads: NonZeroU32::new(flags.uploads_per_minute),
                streams: NonZeroU32::new(flags.streams_per_minute),
            },
            authorities: KeySource { cert: ca_cert, key: ca_key, folder, passphrase: flags.ca_passphrase },
            token_key: token_key_bytes(&token_key)?,
            certificate_lifetime: seconds(flags.certificate_days) * 24 * 3600,
        })
    }
}

/// Leaves out passwords, keys and passphrases.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("storage_url", &self.storage_url)
            .field("listen", &self.listen)
            .field("ca_cert", &self.authorities.cert)
            .field("certificate_lifetime", &self.certificate_lifetime)
            .finish_non_exhaustive()
    }
}

/// Scheme, host and port, as a device is to use them. They become part of links, QR codes and a shell script. The
/// loopback is allowed, for trying on one machine.
fn public_url(setting: &str) -> Result<String> {
    let malformed =
        || format!("NEBULA_PUBLIC_URL is {setting:?}, it must be like https://nebula.example.org");
    let bare = setting.strip_suffix('/').unwrap_or(setting);
    let (scheme, authority) = bare.split_once("://").with_context(malformed)?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => bail!(malformed()),
    };
    match endpoint::fault(&endpoint::of_authority(authority, port)) {
        Some(fault) if !fault.ends_with("the loopback") => bail!("{}: its address {fault}", malformed()),
        _ => Ok(bare.to_owned()),
    }
}

/// Names and addresses of the gateway, for a certificate of its own.
fn tls_names(listen: &str, public_url: Option<&str>) -> Vec<String> {
    let authorities = listen.split(',').map(str::trim);
    let public = public_url.and_then(|url| Some(url.split_once("://")?.1.trim_end_matches('/')));
    let hosts = authorities.chain(public).map(|authority| {
        let (host, _) =
            authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).unwrap_or((authority, ""));
        host.trim_matches(['[', ']']).to_owned()
    });
    let mut names: Vec<_> = hosts
        .chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned))
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

/// The value of a setting that has no default.
pub(crate) fn required<T>(value: Option<T>, name: &str, example: &str) -> Result<T> {
    value.with_context(|| format!("{name} is not set; for example {example}"))
}

/// `hex:…` for tests and secret stores, otherwise the content of a file without the newline at its end.
pub(crate) fn token_key_bytes(setting: &str) -> Result<Vec<u8>> {
    let bytes = match setting.strip_prefix("hex:") {
        Some(digits) => {
            hex::decode(digits).map_err(|_| anyhow!("NEBULA_TOKEN_KEY is not hexadecimal after hex:"))?
        }
        None => {
            let mut bytes = fs::read(setting).context("the file named by NEBULA_TOKEN_KEY cannot be read")?;
            while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                bytes.pop();
            }
            bytes
        }
    };
    if bytes.len() < 32 {
        bail!(
            "NEBULA_TOKEN_KEY has {} bytes, at least 32 are needed; head -c 48 /dev/urandom makes some",
            bytes.len()
        );
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_token_key_is_read_from_hex_or_a_file() {
        assert_eq!(token_key_bytes(&format!("hex:{}", "ab".repeat(32))).unwrap(), [0xab; 32]);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}", "k".repeat(40)).unwrap();
        assert_eq!(token_key_bytes(file.path().to_str().unwrap()).unwrap(), [b'k'; 40]);
    }

    #[test]
    fn weak_token_keys_are_refused_without_repeating_them() {
        let short = token_key_bytes("hex:deadbeef").unwrap_err().to_string();
        assert!(short.contains("4 bytes") && !short.contains("deadbeef"), "{short}");
        assert!(token_key_bytes("hex:zz").is_err());
        assert!(token_key_bytes("/does/not/exist").is_err());
    }

    #[test]
    fn a_public_address_is_scheme_host_and_port() {
        for (setting, kept) in [
            ("https://nebula.example.org/", "https://nebula.example.org"),
            ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
            ("HTTP://localhost:8080", "HTTP://localhost:8080"),
        ] {
            assert_eq!(public_url(setting).unwrap(), kept);
        }
        for wrong in [
            "",
            "nebula.example.org",
            "ftp://a",
            "https://",
            "https://a/path",
            "https://u:p@a",
            "https://a?b",
            "https://a#b",
            "https://a//",
            "https://a:99999",
            "https://a:0",
            "https://:443",
            "http://0.0.0.0:8080",
            "http://1.2.3",
            "http://[fe80::1%25eth0]",
            "http://[::ffff:192.0.2.1]",
            "http://a'b",
            "http://$(id)",
            "http://a\nb",
        ] {
            let error = public_url(wrong).unwrap_err().to_string();
            assert!(error.contains("NEBULA_PUBLIC_URL"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_certificate_of_its_own_names_what_the_gateway_listens_on() {
        let names =
            tls_names("127.0.0.1:8080, 10.42.0.1:8080,[fd00::1]:8080", Some("https://n.example.org:444/"));
        assert_eq!(names, ["10.42.0.1", "127.0.0.1", "::1", "fd00::1", "localhost", "n.example.org"]);
        assert_eq!(
            tls_names("localhost:8080", Some("https://[fd00::2]")),
            ["127.0.0.1", "::1", "fd00::2", "localhost"]
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings = Settings {
            database_url: "postgresql://u:hunter2@h/d".into(),
            database_listen_url: Some("postgresql://u:hunter2@h/d".into()),
            database_connections: 1,
            storage_url: "file:///x".into(),
            max_upload: None,
            disk_reserve: Reserve::Default,
            orphan_age: None,
            scrub: String::new(),
            sensors: Sensors::new(None, None),
            trash_age: seconds(1),
            listen: "127.0.0.1:0".into(),
            public_url: None,
            proxies: TrustedProxies::default(),
            body_limits: BodyLimits { silence: seconds(1), whole: seconds(1), upload: seconds(1) },
            rate_limits: Maxima::none(),
            tls: None,
            metrics_listen: None,
            authorities: KeySource {
                cert: "ca.crt".into(),
                key: "pkcs11:object=ca?pin-value=hunter2".into(),
                folder: AuthorityFolder::Set("ca".into()),
                passphrase: Some("hunter2".into()),
            },
            token_key: b"hunter2".to_vec(),
            certificate_lifetime: Duration::from_secs(1),
        };
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }
}
