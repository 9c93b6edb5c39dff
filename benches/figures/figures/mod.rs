//! The figures, one per file.

mod containers;
mod e2b;
mod idle;
mod lateness;
mod memory;
mod pings;
mod rehydration;
mod start;
mod stream;
mod work;
mod writes;

use futures_util::future::LocalBoxFuture;

use crate::table::Row;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Too short to measure, to see that it works.
    pub(crate) quick: bool,
}

impl Pace {
    /// Returns one of two values.
    pub(crate) fn pick<T>(self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }
}

/// A figure to measure.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) measure: fn(Pace) -> LocalBoxFuture<'static, Vec<Row>>,
}

/// All figures, in the order in which they are measured.
pub(crate) const FIGURES: &[Figure] = &[
    Figure { name: "pings", measure: |pace| Box::pin(pings::measure(pace)) },
    Figure { name: "websockets", measure: |pace| Box::pin(pings::measure_websockets(pace)) },
    Figure { name: "batches", measure: |pace| Box::pin(pings::measure_batches(pace)) },
    Figure { name: "lateness", measure: |pace| Box::pin(lateness::measure(pace)) },
    Figure { name: "memory", measure: |pace| Box::pin(memory::measure(pace)) },
    Figure { name: "rehydration", measure: |pace| Box::pin(rehydration::measure(pace)) },
    Figure { name: "writes", measure: |pace| Box::pin(writes::measure(pace)) },
    Figure { name: "stream", measure: |pace| Box::pin(stream::measure(pace)) },
    Figure { name: "containers", measure: |pace| Box::pin(containers::measure(pace)) },
    Figure { name: "work", measure: |pace| Box::pin(work::measure(pace)) },
    Figure { name: "e2b", measure: |pace| Box::pin(e2b::measure(pace)) },
    Figure { name: "start", measure: |pace| Box::pin(start::measure(pace)) },
    Figure { name: "idle", measure: |pace| Box::pin(idle::measure(pace)) },
];
