//! The demonstration's display: draining bars on a terminal, lines elsewhere.

use std::io::{IsTerminal, stdout};

use super::out::show;

const BAR: usize = 32;

/// One sandbox on the display.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) status: String,
    /// The share of the idle timeout that is left: 1 to 0.
    pub(super) left: f64,
    pub(super) note: String,
}

/// The display.
pub(super) struct Screen {
    terminal: bool,
    drawn: usize,
    shown: Vec<Row>,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { terminal: stdout().is_terminal(), drawn: 0, shown: Vec::new() }
    }

    /// Prints a sentence of the story.
    pub(super) fn say(&mut self, sentence: &str) {
        self.drawn = 0;
        show(format_args!("{sentence}\n"));
    }

    /// Prints an event, except on a terminal, where the rows show it.
    pub(super) fn log(&mut self, seconds: f64, sentence: &str) {
        if !self.terminal {
            show(format_args!("{seconds:6.1} s  {sentence}\n"));
        }
    }

    /// Draws the rows in place on a terminal; elsewhere prints a line for each changed status.
    pub(super) fn draw(&mut self, seconds: f64, rows: &[Row]) {
        if self.terminal {
            self.redraw(rows);
            return;
        }
        for row in rows {
            let before = self.shown.iter().find(|shown| shown.name == row.name);
            if before.is_none_or(|before| before.status != row.status) {
                show(format_args!("{seconds:6.1} s  {} is {}  {}\n", row.name, row.status, row.note));
            }
        }
        self.shown = rows.to_vec();
    }

    fn redraw(&mut self, rows: &[Row]) {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        for Row { name, status, left, note } in rows {
            let filled = (left.clamp(0.0, 1.0) * BAR as f64).ceil() as usize;
            let colour = match (status.as_str(), *left < 0.34) {
                ("running", false) => 32,
                ("running", true) => 33,
                _ => 90,
            };
            let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled));
            text.push_str(&format!("\r\x1b[K  {name:<8} \x1b[{colour}m{bar}\x1b[0m {status:<11} {note}\n"));
        }
        self.drawn = rows.len();
        show(format_args!("{text}"));
    }
}
