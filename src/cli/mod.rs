//! The command line: the commands and their exit codes.

mod args;
mod clean;
mod client;
mod demo;
mod drill;
mod key;
mod out;
mod screen;
mod serve;
mod watch;
mod work;

pub use args::Cli;

use std::{process::ExitCode, time::Duration};

use crate::{actor::run_system, app::AppError, config::ConfigError, logging};

/// How long the process waits at its end for a stuck reader of the standard error stream.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Something that the operator can fix: an address in use, a store that cannot be opened.
const OPERATOR: u8 = 1;
/// The command line or the configuration is wrong; clap uses the same code.
const USAGE: u8 = 2;
/// Another supervisor is in charge of the prefix.
const HELD: u8 = 3;
/// The demonstration did not go as expected.
const NOT_AS_TOLD: u8 = 4;
/// A drill broke a promise.
const BROKEN_PROMISE: u8 = 5;
/// A bug in Sandglass.
const BUG: u8 = 70;

/// Runs a command and prints on standard error why it failed.
pub fn run(cli: Cli) -> ExitCode {
    let outcome = run_system(async move {
        match cli.command {
            args::Command::Serve(serve) => serve::serve(serve).await,
            args::Command::Watch(watch) => watch::watch(watch).await,
            args::Command::Exec(exec) => work::exec(exec).await,
            args::Command::Shell(shell) => work::shell(shell).await,
            args::Command::Cp(copy) => work::cp(copy).await,
            args::Command::Logs(logs) => work::logs(logs).await,
            args::Command::Stats(stats) => work::stats(stats).await,
            args::Command::Clean(clean) => clean::clean(clean).await,
            args::Command::Key(command) => key::key(&command),
            args::Command::Demo(demo) => demo::demo(demo).await,
            args::Command::Drill(drill) => drill::drill(drill).await,
        }
    });
    let code = match outcome.map_err(anyhow::Error::from).flatten() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = format!("{error:#}");
            if !message.is_empty() {
                logging::say(format_args!("sandglass: {message}"));
            }
            ExitCode::from(code_of(&error))
        }
    };
    logging::flush(LAST_WORDS);
    code
}

fn code_of(error: &anyhow::Error) -> u8 {
    if let Some(work::ExitWith { code, .. }) = error.downcast_ref() {
        *code
    } else if error.is::<ConfigError>() {
        USAGE
    } else if error.is::<demo::NotAsTold>() {
        NOT_AS_TOLD
    } else if error.is::<drill::PromiseBroken>() {
        BROKEN_PROMISE
    } else if matches!(error.downcast_ref(), Some(AppError::Held { .. })) {
        HELD
    } else if matches!(error.downcast_ref(), Some(AppError::Bug(_))) {
        BUG
    } else if error.is::<AppError>()
        || error.is::<out::CannotPrint>()
        || error.is::<clean::CannotClean>()
        || error.is::<demo::CannotStart>()
        || error.is::<drill::CannotDrill>()
        || error.is::<watch::Refused>()
    {
        OPERATOR
    } else {
        BUG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_has_an_exit_code_of_its_own() {
        assert_eq!(code_of(&AppError::Bug("a thread has ended".to_owned()).into()), BUG);
        assert_eq!(code_of(&anyhow::anyhow!("something nobody thought of")), BUG);
    }
}
