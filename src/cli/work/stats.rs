//! `sandglass stats`.

use std::io::{IsTerminal, stdout};

use reqwest::Method;
use serde_json::Value;

use super::super::{args::Stats, client::Client, out::print, serve::Signals, watch::Refused};

/// Prints what a sandbox uses: once, or on a terminal again and again until Ctrl-C.
pub(in crate::cli) async fn stats(args: Stats) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    let mut signals = Signals::new()?;
    let again = stdout().is_terminal() && !args.once && !args.json;
    let mut first = true;
    loop {
        let request = client.request(Method::GET, &args.sandbox, &["stats"]);
        // Measuring takes a second or two: that is the pace.
        let measured =
            async { Ok::<Value, anyhow::Error>(client.send(request).await.map_err(Refused::from)?.json().await?) };
        let stats = tokio::select! {
            measured = measured => measured?,
            _ = signals.next() => return Ok(()),
        };
        if args.json {
            return Ok(print(&format!("{stats}\n"))?);
        }
        // Three lines up, over those of the last time.
        let up = if first { "" } else { "\x1b[3A" };
        print(&format!("{up}{}", table(&stats, again)))?;
        if !again {
            return Ok(());
        }
        first = false;
    }
}

fn table(stats: &Value, clear: bool) -> String {
    let number = |name: &str| stats[name].as_f64().unwrap_or(0.0);
    let sum = |name: &str| {
        let interfaces = stats["network"].as_object();
        interfaces.map_or(0.0, |all| all.values().filter_map(|one| one[name].as_f64()).sum())
    };
    let end = if clear { "\x1b[K\n" } else { "\n" };
    let cpu = format!(
        "cpu      {:.2} of {} cores, {:.1} s in all, {} processes",
        number("cpus"),
        number("cpus_available"),
        number("cpu_seconds"),
        number("pids")
    );
    let memory = format!(
        "memory   {} of {}, and {} of cached files",
        bytes(number("memory_bytes")),
        bytes(number("memory_limit_bytes")),
        bytes(number("cache_bytes"))
    );
    let traffic = format!(
        "traffic  network {} in, {} out; disk {} read, {} written",
        bytes(sum("received_bytes")),
        bytes(sum("sent_bytes")),
        bytes(number("disk_read_bytes")),
        bytes(number("disk_written_bytes"))
    );
    [cpu, memory, traffic].map(|line| line + end).concat()
}

fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = units.iter().enumerate().find(|(step, _)| count < 1024_f64.powi(*step as i32 + 1));
    let (step, unit) = step.unwrap_or((units.len() - 1, &"TiB"));
    let digits = usize::from(step > 0);
    format!("{:.digits$} {unit}", count / 1024_f64.powi(step as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_units_that_people_can_read() {
        assert_eq!(
            [0.0, 1023.0, 1536.0, 5.0 * 1024.0 * 1024.0 * 1024.0].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]
        );
    }
}
