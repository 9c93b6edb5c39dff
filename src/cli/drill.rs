//! `sandglass drill`: runs the drills and reports.

use std::{
    io::{IsTerminal, stdout},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use serde_json::json;

use super::{
    args,
    out::{print, show},
    serve::Signals,
};
use crate::{
    config::{BASE_TEMPLATE, Overrides, Settings, StoreKind, process_environment},
    drill::{DRILLS, Drill, DrillOutcome, Ground, Options, Pace, check, run},
};

const LAST_MOMENT: Duration = Duration::from_millis(500);

/// A promise was broken.
#[derive(Debug, thiserror::Error)]
#[error("not everything held: {0}")]
pub(super) struct PromiseBroken(String);

/// The drills could not begin, or were stopped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CannotDrill(String);

/// Runs the drills one after the other.
pub(super) async fn drill(args: args::Drill) -> anyhow::Result<()> {
    if args.list {
        let lines = DRILLS.iter().map(|Drill { name, what, .. }| format!("{name:<12} {what}\n"));
        return Ok(print(&lines.collect::<String>())?);
    }
    let chosen = chosen(&args.only)?;
    let mut signals = Signals::new()?;
    let options = options(&args)?;
    let screen = Arc::new(Screen { terminal: stdout().is_terminal(), silent: args.json });
    // One error now is better than the same one from every drill.
    check(&options, &chosen).await.map_err(|error| CannotDrill(format!("{error:#}")))?;
    screen.begin(&options);
    let mut outcomes = Vec::with_capacity(chosen.len());
    for drill in chosen {
        let (told, name) = (screen.clone(), drill.name);
        let ground = Arc::new(Ground::new(options.clone(), Box::new(move |text| told.progress(name, text)))?);
        let stopped = tokio::select! {
            outcome = run(drill, ground.clone()) => {
                screen.outcome(drill, &outcome);
                outcomes.push((drill, outcome));
                None
            }
            signal = signals.next() => Some(signal),
        };
        if let Some(signal) = stopped {
            // The instances were killed with the drill, but the engine may still be carrying out their last requests.
            tokio::time::sleep(LAST_MOMENT).await;
            ground.clear(drill.needs).await.context("failed to clean up")?;
            return Err(CannotDrill(format!("stopped by {signal}; everything that was started is removed")).into());
        }
    }
    if args.json {
        print(&format!("{}\n", report(&outcomes)))?;
    }
    screen.end(&outcomes);
    let names = |wanted: fn(&DrillOutcome) -> bool| {
        let fitting = outcomes.iter().filter(|(_, outcome)| wanted(outcome));
        fitting.map(|(drill, _)| drill.name).collect::<Vec<_>>().join(", ")
    };
    let broken = names(|outcome| matches!(outcome, DrillOutcome::Done(findings) if !findings.hold()));
    let undone = names(|outcome| matches!(outcome, DrillOutcome::Broken(_)));
    match (broken.is_empty(), undone.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(PromiseBroken(broken).into()),
        (true, false) => Err(CannotDrill(format!("these drills could not be done: {undone}")).into()),
    }
}

fn chosen(only: &[String]) -> Result<Vec<&'static Drill>, CannotDrill> {
    if let Some(unknown) = only.iter().find(|name| !DRILLS.iter().any(|drill| drill.name == name.as_str())) {
        let names: Vec<_> = DRILLS.iter().map(|drill| drill.name).collect();
        return Err(CannotDrill(format!("there is no drill {unknown:?}; there are {}", names.join(", "))));
    }
    Ok(DRILLS.iter().filter(|drill| only.is_empty() || only.iter().any(|name| name == drill.name)).collect())
}

/// Reads the three settings that a drill needs from the flags, the configuration file and the environment, as `serve`
/// does.
fn options(args: &args::Drill) -> anyhow::Result<Options> {
    let mut overrides = Overrides::default();
    if let Some(url) = &args.redis_url {
        overrides.set("store.redis_url", url, "--redis-url");
    }
    if let Some(image) = &args.image {
        overrides.set("templates.base.image", image, "--image");
    }
    let settings = Settings::load(args.config.as_deref(), process_environment(), overrides)?;
    let redis_url = match settings.store.kind() {
        StoreKind::Redis { url, .. } => Some(url.expose().to_owned()),
        StoreKind::Embedded { .. } => None,
    };
    let base = settings.templates.get(BASE_TEMPLATE).context("every configuration has a base template")?;
    Ok(Options {
        program: std::env::current_exe().context("failed to find this program's own file")?,
        image: base.start.image.clone(),
        docker_host: match settings.docker.host.strip_prefix("tcp://") {
            Some(address) if settings.docker.tls => format!("https://{address}"),
            _ => settings.docker.host.clone(),
        },
        redis_url,
        pace: if args.quick { Pace::Quick } else { Pace::Full },
    })
}

/// Prints progress and results.
struct Screen {
    terminal: bool,
    silent: bool,
}

impl Screen {
    fn begin(&self, options: &Options) {
        let store = if options.redis_url.is_some() { "Redis and a file" } else { "a file; for Redis give --redis-url" };
        self.line(&format!("Drilling on Docker at {} with records in {store}.\n", options.docker_host));
        self.line(&format!(
            "{:<12} {:>6} {:>6} {:>6}   {:<24}",
            "", "early", "leaked", "lost", "late by p50/p99/max, ms"
        ));
    }

    /// Replaces the last line on a terminal; prints nothing elsewhere.
    fn progress(&self, name: &str, text: &str) {
        if self.terminal && !self.silent {
            show(format_args!("\r\x1b[K{name:<12} … {text}"));
        }
    }

    fn outcome(&self, drill: &Drill, outcome: &DrillOutcome) {
        if self.terminal && !self.silent {
            show(format_args!("\r\x1b[K"));
        }
        let name = drill.name;
        match outcome {
            DrillOutcome::Done(findings) => {
                let (early, leaked, lost) = (findings.early, findings.leaked, findings.lost);
                let late = findings.lateness.summary();
                let verdict = if findings.hold() { "held" } else { "BROKEN" };
                self.line(&format!(
                    "{name:<12} {early:>6} {leaked:>6} {lost:>6}   {late:<24} {verdict}: {}",
                    findings.done
                ));
                for (what, value) in &findings.measured {
                    self.line(&format!("{:<12} {what}: {value}", ""));
                }
                for wrong in &findings.wrong {
                    self.line(&format!("{:<12} wrong: {wrong}", ""));
                }
            }
            DrillOutcome::Broken(error) => self.line(&format!("{name:<12} could not be done: {error}")),
            DrillOutcome::Skipped(why) => self.line(&format!("{name:<12} left out: {why}")),
        }
    }

    fn end(&self, outcomes: &[(&Drill, DrillOutcome)]) {
        let left_out = outcomes.iter().filter(|(_, outcome)| matches!(outcome, DrillOutcome::Skipped(_))).count();
        if outcomes.iter().all(|(_, outcome)| outcome.holds()) {
            let note = if left_out > 0 { format!(", {left_out} left out") } else { String::new() };
            let done = match outcomes.len() - left_out {
                1 => "1 drill".to_owned(),
                done => format!("{done} drills"),
            };
            self.line(&format!("\nBoth promises held in {done}{note}. Nothing is left."));
        }
    }

    fn line(&self, text: &str) {
        if !self.silent {
            show(format_args!("{}\n", text.trim_end()));
        }
    }
}

fn report(outcomes: &[(&Drill, DrillOutcome)]) -> serde_json::Value {
    let drills = outcomes.iter().map(|(drill, outcome)| {
        let mut told = match outcome {
            DrillOutcome::Done(findings) => json!(findings),
            DrillOutcome::Broken(error) => json!({ "error": error }),
            DrillOutcome::Skipped(why) => json!({ "left_out": why }),
        };
        told["drill"] = json!(drill.name);
        told["holds"] = json!(outcome.holds());
        told
    });
    json!({ "holds": outcomes.iter().all(|(_, outcome)| outcome.holds()), "drills": drills.collect::<Vec<_>>() })
}
