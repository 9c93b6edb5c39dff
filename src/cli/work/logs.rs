//! `sandglass logs`.

use std::io::{Write, stdout};

use reqwest::Method;

use super::super::{args::Logs, client::Client, serve::Signals, watch::Refused};

/// Prints what the container of a sandbox has written.
pub(in crate::cli) async fn logs(args: Logs) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    let mut query: Vec<(&str, String)> = Vec::new();
    query.extend(args.tail.map(|lines| ("tail", lines.to_string())));
    if let Some(since) = &args.since {
        query.push(("since", since_of(since)?));
    }
    query.extend(args.follow.then(|| ("follow", "true".to_owned())));
    let mut signals = Signals::new()?;
    let request = client.request(Method::GET, &args.sandbox, &["logs"]).query(&query);
    let mut response = client.send(request).await.map_err(Refused::from)?;
    loop {
        let chunk = tokio::select! {
            chunk = response.chunk() => chunk?,
            _ = signals.next() => return Ok(()),
        };
        let Some(chunk) = chunk else { return Ok(()) };
        let mut out = stdout().lock();
        if out.write_all(&chunk).and_then(|()| out.flush()).is_err() {
            // The reader, such as `head`, has closed the output.
            return Ok(());
        }
    }
}

/// Epoch seconds of "10m", which is that long ago, or of a number.
fn since_of(text: &str) -> Result<String, Refused> {
    if text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    let ago = humantime::parse_duration(text);
    let ago =
        ago.map_err(|error| Refused(format!("--since {text}: {error}; give epoch seconds, or how long ago: 10m")))?;
    Ok((crate::clock::wall_seconds() - ago.as_secs_f64()).max(0.0).to_string())
}
