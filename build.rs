//! Names the admission script by its SHA-1, so that a stop need not compute it.

use std::path::Path;

fn main() {
    let path = "src/store/admit.lua";
    println!("cargo:rerun-if-changed={path}");
    let Ok(script) = std::fs::read(path) else {
        println!("cargo:warning=cannot read {path}");
        return;
    };
    let digest = sha1_smol::Sha1::from(&script).digest().to_string();
    #[allow(clippy::disallowed_methods, reason = "a build script is told its folder by the environment")]
    let out = std::env::var_os("OUT_DIR").unwrap_or_default();
    if let Err(e) = std::fs::write(Path::new(&out).join("admit.sha1"), digest) {
        println!("cargo:warning=cannot write admit.sha1: {e}");
    }
}
