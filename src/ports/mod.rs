//! The traits behind which the outside lies: [`store`] for persistence, [`runtime`] for the container engine. Adapters
//! implement them and know neither actors nor HTTP.

pub mod runtime;
pub mod store;
