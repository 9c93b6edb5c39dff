//! An event as a line.

use serde_json::Value;

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) colours: bool,
}

/// One line: when, which sandbox, its status, and what happened.
#[derive(Debug)]
pub(super) struct Line {
    time: f64,
    id: String,
    status: String,
    what: String,
}

/// How many characters of a container's last line are shown.
const LAST_LINE: usize = 120;

const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;
const CYAN: u8 = 36;
const GREY: u8 = 90;

impl Line {
    /// A sandbox in a snapshot. `held`: what it says about holds, in words that follow a comma.
    pub(super) fn of_sandbox(time: &Value, sandbox: &Value, held: &str) -> Self {
        let what = match sandbox["ended_at"].is_null() {
            true => format!("is here{held}{}", outlook(time, sandbox)),
            false => format!("has ended: {}", reason(sandbox)),
        };
        Self::new(time, sandbox, &what)
    }

    /// An event. `held`: what it changes about holds, in words that follow a comma.
    pub(super) fn of_event(event: &Value, held: &str) -> Self {
        let (time, sandbox) = (&event["time"], &event["sandbox"]);
        let outlook = format!("{held}{}", outlook(time, sandbox));
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let what = match event["change"].as_str().unwrap_or_default() {
            "appeared" => format!("appeared, from {}", sandbox["image"].as_str().unwrap_or("an unknown image")),
            "status" if sandbox["ended_at"].is_null() => {
                format!("was {}{outlook}", word(&event["from"]))
            }
            "status" => format!("was {}, ends: {}", word(&event["from"]), reason(sandbox)),
            "activity" => format!("used ({}){outlook}", word(&event["source"])),
            "expiring" => format!("unless it is used{outlook}"),
            "progress" => match event["progress"]["detail"].as_str() {
                Some(detail) => format!("{}: {detail}", word(&event["progress"]["phase"])),
                None => word(&event["progress"]["phase"]),
            },
            "removal_failed" => format!("its removal failed, and is tried again: {}", word(&sandbox["error_message"])),
            "restarted" => format!("its container was restarted{outlook}"),
            "changed" if !held.is_empty() => outlook.trim_start_matches(", ").to_owned(),
            "changed" => format!("has other times or ports now{outlook}"),
            "removed" => format!("is gone: {}", reason(sandbox)),
            "forgotten" => "is forgotten".to_owned(),
            other => other.to_owned(),
        };
        Self::new(time, sandbox, &what)
    }

    fn new(time: &Value, sandbox: &Value, what: &str) -> Self {
        let text = |name: &str| printable(sandbox[name].as_str().unwrap_or_default());
        Self {
            time: time.as_f64().unwrap_or_default(),
            id: text("sandbox_id"),
            status: text("status"),
            what: printable(what),
        }
    }

    pub(super) fn render(&self, style: Style) -> String {
        let colour = match self.status.as_str() {
            "running" => GREEN,
            "pending" => CYAN,
            "paused" => YELLOW,
            "failed" => RED,
            _ => GREY,
        };
        let (time, id, what) = (time_of_day(self.time), &self.id, &self.what);
        let status = format!("{:<11}", self.status);
        if style.colours {
            format!("\x1b[{GREY}m{time}\x1b[0m  {id:<24} \x1b[{colour}m{status}\x1b[0m {what}")
        } else {
            format!("{time}  {id:<24} {status} {what}")
        }
    }
}

/// Escapes control characters: untrusted text must not control the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Why a sandbox ends, with the beginning of its container's last line of output.
fn reason(sandbox: &Value) -> String {
    let reason = sandbox["reason"].as_str().unwrap_or("unknown");
    let last = sandbox["last_output"].as_str().and_then(|output| output.lines().last());
    let last: String = last.map_or_else(String::new, |line| format!(": {line}").chars().take(LAST_LINE).collect());
    match sandbox["exit_code"].as_i64() {
        Some(code) => format!("{reason} with code {code}{last}"),
        None => format!("{reason}{last}"),
    }
}

/// When a sandbox ends unless it is used.
fn outlook(time: &Value, sandbox: &Value) -> String {
    match (time.as_f64(), sandbox["terminates_at"].as_f64()) {
        (Some(now), Some(at)) => format!(", ends in {}", seconds(at - now)),
        _ => String::new(),
    }
}

pub(super) fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round();
    match whole {
        whole if whole < 120.0 => format!("{whole} s"),
        whole if whole < 7200.0 => format!("{} min", (whole / 60.0).round()),
        whole => format!("{:.1} h", whole / 3600.0),
    }
}

/// The time of day, UTC.
fn time_of_day(epoch: f64) -> String {
    let seconds = (epoch.max(0.0) as u64) % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Style = Style { colours: false };

    #[test]
    fn an_event_is_one_line_that_says_what_happened() {
        let mut sandbox = json!({
            "sandbox_id": "web", "status": "running", "image": "busybox", "ended_at": null,
            "terminates_at": 3751.5, "reason": null,
        });
        let mut line = |event: Value| {
            sandbox.as_object_mut().unwrap().extend(event["sandbox"].as_object().cloned().unwrap_or_default());
            let mut event = event;
            event["sandbox"] = sandbox.clone();
            event["time"] = json!(3661.5);
            Line::of_event(&event, "").render(PLAIN)
        };
        let used = line(json!({ "change": "activity", "source": "ping" }));
        assert_eq!(used, "01:01:01Z  web                      running     used (ping), ends in 90 s");
        assert!(line(json!({ "change": "status", "from": "pending" })).ends_with("was pending, ends in 90 s"));
        let pulling = json!({ "change": "progress", "progress": { "phase": "pulling", "detail": "1 of 2 MB" } });
        assert!(line(pulling).ends_with("pulling: 1 of 2 MB"));
        let failed = json!({ "change": "removal_failed", "sandbox": { "error_message": "busy\x1b[2J\nhere" } });
        assert!(line(failed).ends_with("tried again: busy\u{fffd}[2J\u{fffd}here"));
        let ended =
            json!({ "status": "failed", "reason": "exited", "exit_code": 3, "ended_at": 5.0, "terminates_at": null });
        let ended = line(json!({ "change": "status", "from": "running", "sandbox": ended }));
        assert!(ended.ends_with("failed      was running, ends: exited with code 3"), "{ended}");
        assert!(line(json!({ "change": "removed" })).ends_with("is gone: exited with code 3"));
        let output = json!({ "change": "removed", "sandbox": { "last_output": "a\nno \u{1b}[2J such file" } });
        assert!(line(output).ends_with("is gone: exited with code 3: no \u{fffd}[2J such file"));
        assert!(line(json!({ "change": "restarted" })).contains("its container was restarted"));
        let over =
            json!({ "change": "changed", "time": 0.0, "sandbox": { "terminates_at": 60.0, "status": "running" } });
        let over = Line::of_event(&over, ", no longer held by ci").render(PLAIN);
        assert!(over.ends_with("running     no longer held by ci, ends in 60 s"), "{over}");
    }

    #[test]
    fn a_time_left_is_told_in_a_unit_that_fits() {
        for (left, told) in [(-3.0, "0 s"), (8.2, "8 s"), (119.4, "119 s"), (600.0, "10 min"), (7200.0, "2.0 h")] {
            assert_eq!(seconds(left), told);
        }
    }
}
