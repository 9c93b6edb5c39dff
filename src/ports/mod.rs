//! The traits behind which the outside lies: [`store`] for persistence, [`runtime`] for the container engine, [`inside`] for the
//! inside of its containers, [`snapshots`] for images of their files, [`walls`] for what
//! they may reach. Adapters implement them and know neither actors nor HTTP.

pub mod container;
pub mod error;
pub mod inside;
pub mod runtime;
pub mod snapshots;
pub mod store;
pub mod walls;
