//! Watchers of the status stream: most read everything, some never read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use super::{questions, say};

/// The watchers' setup.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) port: u16,
    pub(crate) readers: usize,
    pub(crate) silent: usize,
}

/// What the readers have received.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Events of all readers together.
    pub(crate) events: usize,
    /// Gaps between events, and other signs of missed events.
    pub(crate) gaps: usize,
    /// The last event that all readers have.
    pub(crate) least: u64,
    /// The last event that any reader has.
    pub(crate) most: u64,
}

#[derive(Default)]
struct Counts {
    begun: AtomicUsize,
    events: AtomicUsize,
    gaps: AtomicUsize,
    ended: AtomicBool,
}

pub(super) async fn run(Setup { port, readers, silent }: Setup) {
    let url = format!("ws://127.0.0.1:{port}/v1/stream");
    let counts = Arc::new(Counts::default());
    let mut kept = Vec::new();
    for _ in 0..silent {
        kept.push(connect_async(&url).await.expect("the stream takes it").0);
    }
    let mut places = Vec::new();
    for _ in 0..readers {
        let (mut stream, _) = connect_async(&url).await.expect("the stream takes it");
        let place = Arc::new(std::sync::atomic::AtomicU64::new(0));
        places.push(place.clone());
        let counts = counts.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                if let Message::Text(text) = message {
                    counts.note(&text, &place);
                }
            }
            // No reader should be disconnected.
            counts.gaps.fetch_add(usize::from(!counts.ended.load(Ordering::Relaxed)), Ordering::Relaxed);
        });
    }
    while counts.begun.load(Ordering::Relaxed) < readers {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    say(&readers);
    let mut questions = questions();
    while questions.recv().await.is_some() {
        let at = |place: &Arc<std::sync::atomic::AtomicU64>| place.load(Ordering::Relaxed);
        say(&Seen {
            events: counts.events.load(Ordering::Relaxed),
            gaps: counts.gaps.load(Ordering::Relaxed),
            least: places.iter().map(at).min().unwrap_or_default(),
            most: places.iter().map(at).max().unwrap_or_default(),
        });
    }
    counts.ended.store(true, Ordering::Relaxed);
    drop(kept);
}

impl Counts {
    /// Looks only at the beginning of a message, since there are tens of thousands per second.
    fn note(&self, text: &str, place: &std::sync::atomic::AtomicU64) {
        let head = &text[..text.len().min(120)];
        let seq = || {
            let number = head.split("\"seq\":").nth(1)?;
            number.split(|symbol: char| !symbol.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        if head.contains("\"type\":\"event\"") {
            let seq = seq().unwrap_or_default();
            let before = place.swap(seq, Ordering::Relaxed);
            self.events.fetch_add(1, Ordering::Relaxed);
            self.gaps.fetch_add(usize::from(seq != before + 1), Ordering::Relaxed);
        } else if head.contains("\"type\":\"snapshot\"") {
            if head.contains("\"first\":true") {
                place.store(seq().unwrap_or_default(), Ordering::Relaxed);
                self.begun.fetch_add(1, Ordering::Relaxed);
            }
        } else if head.contains("\"type\":\"lagged\"") {
            self.gaps.fetch_add(1, Ordering::Relaxed);
        }
    }
}
