//! The two seams to the outside, in the core's own words: [`store`] for persistence, [`runtime`] for the container
//! engine. Adapters implement them and see neither actors nor HTTP.

pub mod runtime;
pub mod store;
