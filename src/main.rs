//! The program: parse the command line, run the command, say how it ended.

use std::process::ExitCode;

use clap::Parser;
use sandglass::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
