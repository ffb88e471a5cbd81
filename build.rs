//! Writes the SHA-1 of the commit script, by which a program requests it from a server. So no program computes
//! it at run time.

use std::path::Path;

const SCRIPT: &str = "src/store/server/commit.lua";

fn main() {
    #[allow(clippy::disallowed_methods, reason = "a build script is told its folder by the environment")]
    let out = std::env::var_os("OUT_DIR").unwrap_or_default();
    println!("cargo:rerun-if-changed={SCRIPT}");
    let Ok(script) = std::fs::read(SCRIPT) else {
        println!("cargo:warning=cannot read {SCRIPT}");
        return;
    };
    let digest = sha1_smol::Sha1::from(&script).digest().to_string();
    if let Err(e) = std::fs::write(Path::new(&out).join("commit.sha1"), digest) {
        println!("cargo:warning=cannot write commit.sha1: {e}");
    }
}
