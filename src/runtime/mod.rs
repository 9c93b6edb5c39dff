//! Container engines behind the runtime port.
