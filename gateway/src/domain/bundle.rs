//! The zip a device gets: everything it needs to start, except its private key, which never leaves it.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::database::device::Role;
use crate::domain::nebula_yml::{DeviceConfig, PkiSource};
use crate::error::ApiError;

/// Content of the zip.
#[derive(Debug)]
pub(crate) struct Bundle<'a> {
    /// Content of `ca.crt`.
    pub(crate) ca: &'a str,
    /// Content of `node.crt`: the certificates, version 1 first.
    pub(crate) certificate: &'a str,
    /// Overlay address.
    pub(crate) ip: &'a str,
    /// Last day of the certificates.
    pub(crate) valid_until: &'a str,
    /// The oldest nebula that reads the certificates.
    pub(crate) nebula: &'a str,
    /// `nebula.yml` is made from it.
    pub(crate) config: &'a DeviceConfig,
}

impl Bundle<'_> {
    /// The zip, in memory (a few kB). Equal contents make equal bytes.
    pub(crate) fn zip(&self) -> Result<Vec<u8>, ApiError> {
        let files = [
            ("ca.crt", self.ca.to_owned()),
            ("node.crt", self.certificate.to_owned()),
            ("nebula.yml", self.config.yaml(self.nebula, PkiSource::Files)),
            ("README.md", self.readme()),
        ];
        let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(16 * 1024)));
        // Compressing a few kB would take as long as signing the certificates in them.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644);
        for (name, content) in files {
            zip.start_file(name, options).map_err(|error| ApiError::internal(&error))?;
            zip.write_all(content.as_bytes()).map_err(|error| ApiError::internal(&error))?;
        }
        Ok(zip.finish().map_err(|error| ApiError::internal(&error))?.into_inner())
    }

    fn readme(&self) -> String {
        let (name, role) = (&self.config.device.name, self.config.device.role);
        let port = self.config.port();
        let place = match role {
            Role::Host => "It needs no open port.".to_owned(),
            Role::Lighthouse | Role::Relay => {
                format!("It must be reachable on UDP port {port}: open that port in its firewall and router.")
            }
        };
        let no_lighthouse = if self.config.has_no_lighthouse() {
            "\nThe project had no lighthouse when this bundle was made, so the device finds no other device yet. \
             Register a\nlighthouse, then register this device again: it keeps its address and gets a bundle \
             that names it.\n"
        } else {
            ""
        };
        README
            .replace("{name}", name)
            .replace("{role}", role.word())
            .replace("{ip}", self.ip)
            .replace("{nebula}", self.nebula)
            .replace("{until}", self.valid_until)
            .replace("{place}", &place)
            .replace("{no_lighthouse}", no_lighthouse)
    }
}

const README: &str = "# {name}: {role} at {ip}

{place} It needs nebula {nebula} or later. The certificate is valid until {until}.
{no_lighthouse}
## Files

| file | what it is |
|---|---|
| `ca.crt` | the authorities this device trusts |
| `node.crt` | its certificate; public |
| `nebula.yml` | its configuration |
| `node.key` | its private key: not in here, because it was made on the device and stays there |

`node.key` is the private half of the public key that was registered. Copy it beside the other files under this name and
let nobody else read it: `chmod 600 node.key`. If it is lost, make a new pair with
`nebula-cert keygen -out-key node.key -out-pub node.pub` and register the device again with `node.pub`.

## Try it

In the folder with the four files, as root (nebula makes a network interface):

    nebula -test -config nebula.yml
    nebula -config nebula.yml

## Keep it running (Linux with systemd)

    sudo apt install nebula
    sudo install -d -m 0700 /etc/nebula
    sudo install -m 0600 ca.crt node.crt node.key nebula.yml /etc/nebula/
    sudo tee /etc/systemd/system/nebula-node.service <<'END'
    [Unit]
    Description=nebula overlay
    Wants=network-online.target
    After=network-online.target

    [Service]
    WorkingDirectory=/etc/nebula
    ExecStart=/usr/bin/nebula -config nebula.yml
    ExecReload=/bin/kill -HUP $MAINPID
    Restart=always

    [Install]
    WantedBy=multi-user.target
    END
    sudo systemctl daemon-reload
    sudo systemctl enable --now nebula-node

File names in `nebula.yml` are relative to the folder nebula is started in, hence the `WorkingDirectory`.

## Renew it

Register the device again before {until}, with the same device id and key: the address stays. Replace `node.crt`,
`ca.crt` and `nebula.yml`, then `sudo systemctl reload nebula-node`.
";

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn bundle(role: Role) -> Vec<u8> {
        let config = crate::domain::nebula_yml::tests::device_config(role, &["192.0.2.10:4242"]);
        let (ca, certificate, ip, valid_until, nebula) = ("CA\n", "NODE\n", "10.42.0.7", "2030-01-31", "1.6");
        Bundle { ca, certificate, ip, valid_until, nebula, config: &config }.zip().unwrap()
    }

    #[test]
    fn the_zip_holds_four_files_in_order_and_no_key() {
        let bytes = bundle(Role::Host);
        let mut zip = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
        let names: Vec<_> =
            (0..zip.len()).map(|at| zip.by_index(at).unwrap().name().unwrap().into_owned()).collect();
        assert_eq!(names, ["ca.crt", "node.crt", "nebula.yml", "README.md"]);
        for name in names {
            let mut text = String::new();
            zip.by_name(&name).unwrap().read_to_string(&mut text).unwrap();
            assert!(!text.contains("PRIVATE KEY"), "{name}");
        }
        assert_eq!(bytes, bundle(Role::Host), "equal contents make equal bytes");
    }

    #[test]
    fn the_readme_names_the_device_and_its_role() {
        for (role, place) in [(Role::Host, "no open port"), (Role::Lighthouse, "UDP port 4242")] {
            let bytes = bundle(role);
            let mut zip = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
            let mut text = String::new();
            zip.by_name("README.md").unwrap().read_to_string(&mut text).unwrap();
            for wanted in ["laptop", role.word(), "10.42.0.7", "2030-01-31", place] {
                assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
            }
            assert!(!text.contains('{'), "a placeholder is left: {text}");
            assert_eq!(text.contains("no lighthouse"), role == Role::Host);
        }
    }
}
