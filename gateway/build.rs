//! Copies the built console to the folder that the gateway embeds. Without a built one it writes a page that
//! says how to build it, so that cargo alone builds and tests the gateway, without npm.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

const PLACEHOLDER: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Nebula</title>
<h1>The console is not built in</h1>
<p>This gateway was built by cargo alone. <code>make build</code> builds the console too, and embeds it.</p>
<p>The HTTP interface works: see <a href=\"/openapi.json\">/openapi.json</a>.</p>
</html>
";

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let console = out.join("console");
    let dist = Path::new("web/dist");
    if console.exists() {
        fs::remove_dir_all(&console)?;
    }
    println!("cargo::rerun-if-changed=build.rs");
    if dist.join("index.html").is_file() {
        println!("cargo::rerun-if-changed=web/dist");
        copy(dist, &console)
    } else {
        // A missing path would make cargo run this script every time. Its parent changes as soon as it
        // exists.
        println!("cargo::rerun-if-changed=web");
        fs::create_dir_all(&console)?;
        fs::write(console.join("index.html"), PLACEHOLDER)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
