//! Numbers with a rule.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use super::Leaf;

/// A whole number from `MIN` to `MAX`. Whether it is written as 80 or as 80.0 is the same to JSON, and to many encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<const MIN: u64, const MAX: u64>(u64);

/// Memory in MiB. The engine takes no less than 6.
pub type MemoryMb = Whole<6, { 1 << 24 }>;
/// Processes and threads.
pub type Pids = Whole<1, { 1 << 22 }>;

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// The smallest and the largest.
    pub const RANGE: (u64, u64) = (MIN, MAX);
}

impl<const MIN: u64, const MAX: u64> Leaf for Whole<MIN, MAX> {
    type Plain = u64;

    fn plain(self) -> u64 {
        self.0
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(WholeVisitor)?;
        let number = u64::try_from(number).ok().filter(|number| (MIN..=MAX).contains(number));
        number.map(Self).ok_or_else(|| D::Error::custom(format_args!("must be {MIN} to {MAX}")))
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = i128;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i128, E> {
        Ok(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i128, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i128, E> {
        // The cast saturates; what is too large for it is too large for every range.
        if number.fract() == 0.0 { Ok(number as i128) } else { Err(E::invalid_value(Unexpected::Float(number), &self)) }
    }
}

/// CPU cores; 0.5 is half of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpus(f64);

impl Cpus {
    /// The fewest and the most.
    pub const RANGE: (f64, f64) = (0.01, 1024.0);
}

impl Leaf for Cpus {
    type Plain = f64;

    fn plain(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cores = f64::deserialize(deserializer)?;
        let (least, most) = Self::RANGE;
        let fits = (least..=most).contains(&cores);
        if fits { Ok(Self(cores)) } else { Err(D::Error::custom(format_args!("must be {least} to {most} cores"))) }
    }
}

/// A TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(u16);

impl Leaf for Port {
    type Plain = u16;

    fn plain(self) -> u16 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(WholeVisitor)?;
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        port.map(Self).ok_or_else(|| D::Error::custom("must be a port from 1 to 65535"))
    }
}

/// Ports, none of them twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Port>")]
pub struct Ports(Vec<u16>);

impl TryFrom<Vec<Port>> for Ports {
    type Error = String;

    fn try_from(ports: Vec<Port>) -> Result<Self, String> {
        let ports = ports.plain();
        let twice = ports.iter().enumerate().find(|(at, port)| ports[..*at].contains(port));
        match twice {
            Some((_, port)) => Err(format!("has {port} twice")),
            None => Ok(Self(ports)),
        }
    }
}

impl Leaf for Ports {
    type Plain = Vec<u16>;

    fn plain(self) -> Vec<u16> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_whole_number_from_1_to_65535_however_it_is_written() {
        let port = |text: &str| serde_json::from_str::<Port>(text).ok().map(Port::plain);
        assert_eq!((port("0"), port("65535"), port("65536"), port("-1")), (None, Some(65535), None, None));
        assert_eq!((port("80.0"), port("4.43e2"), port("80.5"), port("1e300")), (Some(80), Some(443), None, None));
    }

    #[test]
    fn a_number_beyond_its_range_is_told_the_range() {
        let refused = |text: &str| serde_json::from_str::<Pids>(text).unwrap_err().to_string();
        for text in ["0", "-1", "4194305", "18446744073709551615", "-1e300", "1e300"] {
            assert!(refused(text).starts_with("must be 1 to 4194304"), "{text}: {}", refused(text));
        }
        assert!(refused("1.5").contains("a whole number") && refused("\"1\"").contains("a whole number"));
    }
}
