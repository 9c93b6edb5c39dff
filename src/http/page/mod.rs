//! The pages for people: the dashboard at `/` and the specification at `/docs`. They are plain HTML, CSS and modules that are
//! part of the binary, and use the same interface as all other clients.
//!
//! - `assets`: the files, their types and their tags;
//! - `serve`: the handlers, and the policy that browsers hold the pages to.
//!
//! Each module in `assets/` has one idea. `boot.js` loads a page, and `main.js` puts the dashboard together:
//!
//! | module | idea |
//! |---|---|
//! | `stream.js` | the connection to the status stream, and how it resumes |
//! | `store.js` | all sandboxes, from the snapshot and the events |
//! | `clock.js` | the supervisor's time, and durations for people |
//! | `view.js` | which sandboxes are shown, and in which order |
//! | `glass.js` | the next deadline of a sandbox, and how much of its time is left |
//! | `table.js`, `row.js`, `bar.js` | the visible rows, one row, its draining bar |
//! | `blank.js` | what an empty table shows |
//! | `summary.js`, `chart.js`, `ends.js` | the totals, the last hour, the recent ends with their reasons |
//! | `details.js`, `why.js`, `actions.js` | one sandbox, and the actions on it |
//! | `health.js`, `link.js`, `notice.js` | the health of Sandglass, the state of the connection, notices |
//! | `key.js`, `api.js` | the API key of this tab, and calls with it |
//! | `dom.js`, `words.js` | elements, and words for people |
//! | `docs.js`, `schema.js` | the specification's page |

mod assets;
mod serve;

pub(super) use assets::{is_page, names};
pub(super) use serve::{__path_asset, __path_dashboard, __path_docs, asset, dashboard, docs};
