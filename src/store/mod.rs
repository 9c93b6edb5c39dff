//! Stores behind the persistence port.
