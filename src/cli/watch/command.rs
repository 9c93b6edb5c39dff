//! Prints the stream's messages until Ctrl-C.

use std::io::{IsTerminal, Write, stdout};

use serde_json::Value;

use super::{
    super::{args::Watch, serve::Signals},
    connection::{Connection, Heard, stream_url},
    holds::Holds,
    line::{Line, Style},
};
use crate::logging::say;

/// Watches until a signal, or until the output is closed.
pub(in crate::cli) async fn watch(args: Watch) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut printer = Printer::new(args.json, args.no_activity);
    let mut connection = Connection::new(stream_url(&args)?, args.server.api_key);
    loop {
        let heard = tokio::select! {
            heard = connection.next() => heard?,
            _ = signals.next() => return Ok(()),
        };
        if printer.print(&heard).is_err() {
            // The reader, such as `head`, has closed the output.
            return Ok(());
        }
    }
}

struct Printer {
    json: bool,
    style: Style,
    no_activity: bool,
    holds: Holds,
}

impl Printer {
    fn new(json: bool, no_activity: bool) -> Self {
        let terminal = stdout().is_terminal();
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json: json || !terminal, style: Style { colours }, no_activity, holds: Holds::default() }
    }

    /// Prints messages to standard output, and news of the connection to standard error.
    fn print(&mut self, heard: &Heard) -> std::io::Result<()> {
        match heard {
            Heard::Trouble(trouble) => {
                say(format_args!("sandglass: {trouble}; trying again"));
                Ok(())
            }
            Heard::Message(message, text) => {
                let mut out = stdout().lock();
                if !self.json {
                    self.print_lines(&mut out, message)?;
                } else if !(self.no_activity && is_activity(message)) {
                    writeln!(out, "{text}")?;
                }
                out.flush()
            }
        }
    }

    fn print_lines(&mut self, out: &mut impl Write, message: &Value) -> std::io::Result<()> {
        let empty = Vec::new();
        match message["type"].as_str() {
            Some("hello") => {
                let resumed = message["resumed"] == true;
                let how = if resumed { "going on where it was" } else { "what is there now, and then what happens" };
                let instance = message["instance"].as_str().unwrap_or_default();
                say(format_args!("sandglass: watching {instance}: {how}"));
            }
            Some("snapshot") => {
                for sandbox in message["sandboxes"].as_array().unwrap_or(&empty) {
                    self.holds.forget(sandbox);
                    let held = self.holds.changes(&message["time"], sandbox);
                    writeln!(out, "{}", Line::of_sandbox(&message["time"], sandbox, &held).render(self.style))?;
                }
            }
            Some("event") => {
                let held = self.holds.changes(&message["time"], &message["sandbox"]);
                // A hold is more than the use that it is, too.
                if !(self.no_activity && is_activity(message) && held.is_empty()) {
                    writeln!(out, "{}", Line::of_event(message, &held).render(self.style))?;
                }
            }
            Some("lagged") => {
                say(format_args!("sandglass: too slow, {} events were missed", message["missed"]));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a message only says that a sandbox was used.
fn is_activity(message: &Value) -> bool {
    message["change"] == "activity"
}
