//! Builds the agent, which `sandglass` carries and puts into sandboxes, whatever they are made of.
//!
//! It is a static program of the processor that `sandglass` is built for, so it is built by a cargo of its own, with its own
//! profile and flags, in a directory that all profiles share.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The package and its program.
const AGENT: &str = "sandglass-agent";

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    for changed in ["Cargo.lock", "Cargo.toml", "src/build.rs"] {
        println!("cargo::rerun-if-changed={changed}");
    }
    for entry in fs::read_dir(root.join("src/agent")).expect("src/agent is readable").flatten() {
        if entry.file_name() != "tests" {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    let program = if variable("CARGO_CFG_TARGET_OS") == "linux" { build(&root) } else { Vec::new() };
    let path = Path::new(&variable("OUT_DIR")).join(AGENT);
    write(&path, &program).unwrap_or_else(|error| fail(&format!("{} cannot be written: {error}", path.display())));
    println!("cargo::rustc-env=SANDGLASS_AGENT={}", path.display());
    println!("cargo::rustc-env=SANDGLASS_AGENT_VERSION={:016x}", hash(&program));
}

/// Builds the agent and reads it.
fn build(root: &Path) -> Vec<u8> {
    // Only the GNU C library is surely there on both kinds of hosts; a host of musl has its own.
    let target = match variable("CARGO_CFG_TARGET_ENV").as_str() {
        "musl" => variable("TARGET"),
        _ => format!("{}-unknown-linux-gnu", variable("CARGO_CFG_TARGET_ARCH")),
    };
    let directory = target_directory().join("agent");
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(root).args(["build", "--locked", "--profile", "agent", "--package", AGENT, "--bin", AGENT]);
    cargo.args(["--target", &target]).arg("--target-dir").arg(&directory);
    // The flags and the wrapper of the outer cargo (clippy is one) are for the outer packages.
    for outer in ["RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "RUSTDOCFLAGS"] {
        cargo.env_remove(outer);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(root).join("\x1f"));
    let built = cargo.status();
    if !built.as_ref().is_ok_and(|status| status.success()) {
        let why = built.map_or_else(|error| error.to_string(), |status| status.to_string());
        fail(&format!(
            "the agent cannot be built ({why}); cargo's own words are above. It is linked statically for {target}: that needs \
             `rustup target add {target}`, a C compiler, and the static C library (libc6-dev on Debian and Ubuntu, \
             glibc-static on Fedora)"
        ));
    }
    let path = directory.join(target).join("agent").join(AGENT);
    fs::read(&path).unwrap_or_else(|error| fail(&format!("{} cannot be read: {error}", path.display())))
}

/// The compiler's flags: a static program, in which no paths of this machine are left.
fn flags(root: &Path) -> Vec<String> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    let cargo_home = env::var("CARGO_HOME").ok().or_else(|| Some(format!("{}/.cargo", env::var("HOME").ok()?)));
    let hidden = [(cargo_home, "cargo"), (root.to_str().map(str::to_owned), "sandglass")];
    for (path, name) in hidden {
        flags.extend(path.map(|path| format!("--remap-path-prefix={path}={name}")));
    }
    flags
}

/// The directory that all profiles share: `OUT_DIR` is `DIRECTORY/PROFILE/build/PACKAGE/out`.
fn target_directory() -> PathBuf {
    let out = PathBuf::from(variable("OUT_DIR"));
    let build = out.ancestors().find(|path| path.file_name().is_some_and(|name| name == "build"));
    let shared = build.and_then(|build| build.parent()?.parent()).unwrap_or(&out);
    shared.to_owned()
}

/// Writes a file, unless it is the same already: what includes it would be built again.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) { Ok(()) } else { fs::write(path, bytes) }
}

/// FNV-1a. It tells programs apart, and needs not withstand anybody.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("cargo has not set {name}")))
}

fn fail(why: &str) -> ! {
    println!("cargo::error={why}");
    std::process::exit(1)
}
