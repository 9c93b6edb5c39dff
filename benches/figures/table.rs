//! The results, for people and for programs.

use std::fmt::Write;

use serde::Serialize;

/// One line: the name, our value, the other's, and whether the goal is met.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    what: String,
    ours: Option<Value>,
    peer: Option<Value>,
    ratio: Option<f64>,
    goal: Option<String>,
    held: Option<bool>,
    note: Option<String>,
}

/// A number with its unit.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Value {
    value: f64,
    unit: &'static str,
}

/// A number with its unit.
pub(crate) fn value(value: f64, unit: &'static str) -> Value {
    Value { value, unit }
}

impl Value {
    fn text(self) -> String {
        let Self { value, unit } = self;
        match value.abs() {
            size if size >= 1000.0 => format!("{} {unit}", grouped(value)),
            size if size >= 100.0 => format!("{value:.0} {unit}"),
            size if size >= 10.0 => format!("{value:.1} {unit}"),
            _ => format!("{value:.2} {unit}"),
        }
    }
}

/// Formats a number with commas between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

impl Row {
    /// A row with a measurement only.
    pub(crate) fn of(what: impl Into<String>, ours: Value) -> Self {
        Self { what: what.into(), ours: Some(ours), peer: None, ratio: None, goal: None, held: None, note: None }
    }

    /// A row for a figure that cannot be measured here, with the reason.
    pub(crate) fn left_out(what: impl Into<String>, why: impl Into<String>) -> Self {
        let note = Some(format!("left out: {}", why.into()));
        Self { what: what.into(), ours: None, peer: None, ratio: None, goal: None, held: None, note }
    }

    /// Adds the other's value and the ratio, which may differ from their quotient, since it is the median over
    /// the rounds.
    pub(crate) fn against(self, peer: Value, ratio: f64) -> Self {
        Self { peer: Some(peer), ratio: Some(ratio), ..self }
    }

    /// Adds the goal for the ratio, or, without one, for the value.
    pub(crate) fn at_most(self, most: f64) -> Self {
        let (number, unit) = self.judged();
        Self { goal: Some(format!("≤ {most}{unit}")), held: Some(number <= most), ..self }
    }

    /// Adds the goal for the ratio, or, without one, for the value.
    pub(crate) fn at_least(self, least: f64) -> Self {
        let (number, unit) = self.judged();
        Self { goal: Some(format!("≥ {least}{unit}")), held: Some(number >= least), ..self }
    }

    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    fn judged(&self) -> (f64, String) {
        match (self.ratio, self.ours) {
            (Some(ratio), _) => (ratio, String::new()),
            (None, Some(ours)) => (ours.value, format!(" {}", ours.unit)),
            (None, None) => (f64::NAN, String::new()),
        }
    }

    fn cells(&self) -> [String; 6] {
        let text = |value: Option<Value>| value.map(Value::text).unwrap_or_default();
        [
            self.what.clone(),
            text(self.ours),
            text(self.peer),
            self.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default(),
            self.goal.clone().unwrap_or_default(),
            self.held.map(|held| if held { "yes" } else { "**no**" }).unwrap_or_default().to_owned(),
        ]
    }

    /// Formats the row on one line, with the note.
    pub(crate) fn line(&self) -> String {
        let cells = self.cells();
        let shown = cells.iter().filter(|cell| !cell.is_empty()).map(String::as_str);
        let shown: Vec<_> = shown.chain(self.note.as_deref()).collect();
        shown.join(" | ")
    }
}

/// All rows of a run.
#[derive(Serialize)]
pub(crate) struct Table {
    machine: String,
    quick: bool,
    rows: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    figure: &'static str,
    #[serde(flatten)]
    row: Row,
}

impl Table {
    pub(crate) fn new(machine: String, quick: bool) -> Self {
        Self { machine, quick, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: &'static str, row: Row) {
        self.rows.push(Named { figure, row });
    }

    /// The number of goals that were missed.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|named| named.row.held == Some(false)).count()
    }

    /// Formats a table for Markdown, followed by the notes.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}{}\n\n", self.machine, if self.quick { " (quick: not to be believed)" } else { "" });
        text.push_str("| what | Sandglass | against | ratio | goal | held |\n|---|---:|---:|---:|---|---|\n");
        for Named { row, .. } in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} |", row.cells().join(" | "));
        }
        text.push('\n');
        for Named { row, .. } in &self.rows {
            if let Some(note) = &row.note {
                let _ = writeln!(text, "- {}: {note}", row.what);
            }
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts become JSON")
    }
}
