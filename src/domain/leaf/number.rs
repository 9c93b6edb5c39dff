//! Numbers with a rule.

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected},
};

use super::Leaf;

/// A whole number from `MIN` to `MAX`. It may be written as 80 or as 80.0, which JSON and many encoders do not tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole<T, const MIN: u64, const MAX: u64>(T);

/// Memory in MiB. The engine accepts no less than 6.
pub type MemoryMb = Whole<u64, 6, { 1 << 24 }>;
/// Processes and threads.
pub type Pids = Whole<u64, 1, { 1 << 22 }>;
/// A TCP port.
pub type Port = Whole<u16, 1, 65_535>;

impl<T, const MIN: u64, const MAX: u64> Whole<T, MIN, MAX> {
    /// The smallest and the largest number.
    pub const RANGE: (u64, u64) = (MIN, MAX);
}

impl<T, const MIN: u64, const MAX: u64> Leaf for Whole<T, MIN, MAX> {
    type Plain = T;

    fn plain(self) -> T {
        self.0
    }
}

impl<'de, T: TryFrom<u64>, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<T, MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        if number.fract() != 0.0 {
            return Err(D::Error::invalid_value(Unexpected::Float(number), &"a whole number"));
        }
        // Every range ends far below the whole numbers that a float cannot represent.
        let fits = (MIN as f64..=MAX as f64).contains(&number);
        let number = Some(number as u64).filter(|_| fits).and_then(|number| T::try_from(number).ok());
        number.map(Self).ok_or_else(|| D::Error::custom(format_args!("must be {MIN} to {MAX}")))
    }
}

/// CPU cores; 0.5 is half of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpus(f64);

impl Cpus {
    /// The fewest and the most cores.
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

/// Ports without duplicates.
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
        assert!(refused("1.5").contains("a whole number"));
    }
}
