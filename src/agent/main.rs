//! The program that Sandglass puts into sandboxes.
//!
//! `sandglass-agent dial NAME [USER]` connects its stdio with the agent at the abstract unix socket `@NAME`, and starts it first if
//! none is there. `sandglass-agent serve NAME [USER]` is that agent. USER is the one whom requests without a user
//! mean; without it, the one whom the agent runs as.
//!
//! `sandglass-agent walls` runs outside of sandboxes, on the network of the engine's host: it reads requests for the firewall
//! from its stdin, a line of JSON each, and answers on its stdout until its stdin ends.

#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod daemon;
#[cfg(target_os = "linux")]
mod dial;
#[cfg(target_os = "linux")]
mod handover;
#[cfg(target_os = "linux")]
mod peer;

use std::process::ExitCode;

/// The exit code of a program that could not do what it is for; one line of its stderr says why.
const FAILED: u8 = 3;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [_, "--version"] => {
            println!("{}", sandglass_agent::VERSION);
            Ok(())
        }
        [_, "serve", name] => daemon::serve(name, ""),
        [_, "serve", name, user] => daemon::serve(name, user),
        [own, "dial", name] => dial::dial(own, name, ""),
        [own, "dial", name, user] => dial::dial(own, name, user),
        [_, "walls"] => {
            let served = sandglass_agent::walls::serve(std::io::stdin().lock(), std::io::stdout().lock());
            served.map_err(|why| format!("a request for the firewall cannot be read or answered: {why}"))
        }
        _ => Err("usage: sandglass-agent dial NAME [USER] | serve NAME [USER] | walls | --version".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("sandglass-agent: {why}");
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("sandglass-agent: this program runs in Linux containers only");
    ExitCode::from(FAILED)
}
