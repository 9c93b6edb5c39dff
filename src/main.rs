//! The program: parse the command line, run the command, say how it ended.

use std::process::ExitCode;

use clap::Parser;
use sandglass::cli::{self, Cli};

/// Measured with the figures: less memory per sandbox than with the C library's, and more pings per second.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
