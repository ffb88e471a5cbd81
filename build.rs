//! Names the scripts that a server is asked by digest by their SHA-1, so that nobody need compute it later.

use std::path::Path;

fn main() {
    #[allow(clippy::disallowed_methods, reason = "a build script is told its folder by the environment")]
    let out = std::env::var_os("OUT_DIR").unwrap_or_default();
    for name in ["commit"] {
        let path = format!("src/store/{name}.lua");
        println!("cargo:rerun-if-changed={path}");
        let Ok(script) = std::fs::read(&path) else {
            println!("cargo:warning=cannot read {path}");
            return;
        };
        let digest = sha1_smol::Sha1::from(&script).digest().to_string();
        if let Err(e) = std::fs::write(Path::new(&out).join(format!("{name}.sha1")), digest) {
            println!("cargo:warning=cannot write {name}.sha1: {e}");
        }
    }
}
