//! TLS: certificates from files, and those that the gateway signs itself.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result};
use nebula_tests::binary::run;
use nebula_tests::eventually;
use nebula_tests::stack::{ADMIN, Stack};
use openssl::hash::MessageDigest;
use openssl::x509::X509;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Certificate, Client, StatusCode};

/// An address of this machine at which it is another one for itself.
fn own_address() -> Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Sends nothing.
    socket.connect("198.51.100.1:9").context("this machine has no address but the loopback")?;
    Ok(socket.local_addr()?.ip())
}

/// Writes a certificate and its key; answers a client that trusts this certificate alone.
fn renew(certificate: &Path, key: &Path, address: IpAddr) -> Result<Client> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![address.to_string(), "127.0.0.1".into()])?;
    fs::write(key, signing_key.serialize_pem())?;
    fs::write(certificate, cert.pem())?;
    Ok(Client::builder().tls_certs_only([Certificate::from_der(cert.der())?]).no_proxy().build()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_other_machines_encrypt_and_a_renewed_certificate_is_taken_without_a_restart() -> Result<()>
{
    let mut stack = Stack::start().await?;
    let (certificate, key) = (stack.path("tls.crt"), stack.path("tls.key"));
    let address = own_address()?;
    let client = renew(&certificate, &key, address)?;
    let port = stack.url().rsplit(':').next().context("a port")?.to_owned();
    let paths = [&certificate, &key].map(|path| path.display().to_string());
    let listen = format!("0.0.0.0:{port}");
    stack
        .restart_with(&[
            ("NEBULA_LISTEN", &listen),
            ("NEBULA_TLS_CERT", &paths[0]),
            ("NEBULA_TLS_KEY", &paths[1]),
        ])
        .await?;

    let outside = format!("https://{address}:{port}/health/live");
    let answer = client.get(&outside).send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    let told = answer.headers().get("strict-transport-security").context("browsers are not told")?;
    assert!(told.to_str()?.contains("max-age=31536000"), "{told:?}");
    let plain = client.get(outside.replace("https:", "http:")).send().await?;
    assert_eq!(plain.status(), StatusCode::BAD_REQUEST);
    assert!(plain.text().await?.contains("https://"));
    // A proxy or script on this machine may go on as before.
    let local = client.get(format!("{}/health/live", stack.url())).send().await?;
    assert_eq!(local.status(), StatusCode::OK);
    assert!(local.headers().get("strict-transport-security").is_none());

    // Half a renewal changes nothing.
    let old = fs::read(&certificate)?;
    let renewed = renew(&certificate, &key, address)?;
    let new = fs::read(&certificate)?;
    fs::write(&certificate, &old)?;
    let log = stack.log("gateway");
    eventually("the gateway to say that the old certificate stays", || async {
        Ok(fs::read_to_string(&log)?.contains("do not belong together").then_some(()))
    })
    .await?;
    assert_eq!(client.get(&outside).send().await?.status(), StatusCode::OK);
    fs::write(&certificate, &new)?;
    eventually("the renewed certificate", || async { Ok(renewed.get(&outside).send().await.ok()) }).await?;
    Ok(())
}

fn failed(output: &Output) -> String {
    assert!(!output.status.success(), "it succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nebulactl_accepts_a_certificate_that_the_gateway_signed_by_its_fingerprint_only() -> Result<()> {
    let mut stack = Stack::start().await?;
    let folder = stack.path("tls");
    stack.restart_with(&[("NEBULA_TLS_SELF_SIGNED", &folder.display().to_string())]).await?;
    let server = stack.url().replace("http:", "https:");
    let ctl = |arguments: &[&str]| -> Result<_> {
        let mut command = stack.ctl()?;
        command.env("XDG_CONFIG_HOME", stack.path("pinned")).env("NEBULA_SERVER", &server).args(arguments);
        Ok(command)
    };
    let fingerprint = || -> Result<String> {
        let certificate = X509::from_pem(&fs::read(folder.join("tls.crt"))?)?;
        Ok(hex::encode(certificate.digest(MessageDigest::sha256())?))
    };
    let right = fingerprint()?;
    assert!(fs::read_to_string(stack.log("gateway"))?.contains(&right), "the log names the fingerprint");
    let password = stack.path("password").display().to_string();
    let login = ["login", ADMIN, "--password-file", &password];
    let unknown = failed(&ctl(&login)?.output()?);
    assert!(unknown.contains("--fingerprint"), "{unknown}");
    let wrong = failed(&ctl(&[&login[..], &["--fingerprint", &"0".repeat(64)]].concat())?.output()?);
    assert!(wrong.contains(&right), "{wrong}");
    assert!(!failed(&ctl(&login)?.output()?).is_empty());
    run(&mut ctl(&[&login[..], &["--fingerprint", &right]].concat())?)?;
    run(&mut ctl(&["ls"])?)?;

    // Another certificate at the same address is not taken for the one that was accepted.
    fs::remove_dir_all(&folder)?;
    stack.restart_with(&[]).await?;
    assert_ne!(fingerprint()?, right);
    let ctl = |arguments: &[&str]| -> Result<_> {
        let mut command = stack.ctl()?;
        command.env("XDG_CONFIG_HOME", stack.path("pinned")).env("NEBULA_SERVER", &server).args(arguments);
        Ok(command)
    };
    assert!(failed(&ctl(&["ls"])?.output()?).contains("certificate"));
    Ok(())
}
