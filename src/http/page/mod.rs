//! The pages for people: the dashboard at `/` and the specification's page at `/docs`. Plain HTML, style and modules, all of
//! them in the binary; what they show, they ask the same interface for that everybody else uses.
//!
//! - `assets`: the files, their types and their tags;
//! - `serve`: the handlers, and the policy that browsers hold the pages to.
//!
//! In `assets/`, one module has one idea. `boot.js` loads a page, and `main.js` puts the dashboard together:
//!
//! | module | idea |
//! |---|---|
//! | `stream.js` | the connection to the status stream, and its resumption |
//! | `store.js` | what there is, from the snapshot and the events |
//! | `clock.js` | the supervisor's time, and durations for people |
//! | `view.js` | which sandboxes are shown, and in which order |
//! | `glass.js` | what acts on a sandbox next, when, and how much of its sand is left |
//! | `table.js`, `row.js`, `bar.js` | the visible rows, one row, its draining bar |
//! | `blank.js` | what stands in an empty table's place |
//! | `summary.js`, `chart.js`, `ends.js` | the whole in a sentence and totals, the last hour, who ended and why |
//! | `details.js`, `why.js`, `actions.js` | one sandbox, and what can be done with it |
//! | `health.js`, `link.js`, `notice.js` | how Sandglass is, how the connection is, what has to be said |
//! | `key.js`, `api.js` | the API key of this tab, and calls with it |
//! | `dom.js`, `words.js` | elements, and words for people |
//! | `docs.js`, `schema.js` | the specification's page |

mod assets;
mod serve;

pub(super) use assets::{is_page, names};
pub(super) use serve::{__path_asset, __path_dashboard, __path_docs, asset, dashboard, docs};
