/// The agent's program: static, for Linux on the processor that Sandglass was built for. Empty if Sandglass was built for
/// another system than Linux, where no agent can be built.
pub const AGENT: &[u8] = include_bytes!(env!("SANDGLASS_AGENT"));

/// Tells programs of the agent apart: a hash of [`AGENT`], 16 hexadecimal digits.
pub const AGENT_VERSION: &str = env!("SANDGLASS_AGENT_VERSION");

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The limit of the design: it is put into every sandbox that works.
    const SIZE_BOUND: usize = 4 << 20;

    #[test]
    fn the_agent_is_a_small_static_program() {
        assert_eq!(AGENT[..4], *b"\x7fELF");
        assert!(AGENT.len() <= SIZE_BOUND, "{} bytes", AGENT.len());
        // A program that needs a loader names it in a segment of its own, PT_INTERP (type 3).
        let number = |at: usize, length: usize| {
            AGENT[at..at + length].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
        };
        let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        let kinds: Vec<_> = (0..count).map(|segment| number(start + segment * size, 4)).collect();
        assert!(kinds.contains(&1) && !kinds.contains(&3), "{kinds:?}");
    }

    #[test]
    fn no_paths_of_the_machine_that_built_it_are_in_the_agent() {
        let home = std::env::var("HOME").expect("a home");
        for path in [concat!(env!("CARGO_MANIFEST_DIR"), "/src"), &format!("{home}/.cargo/registry")] {
            assert!(!AGENT.windows(path.len()).any(|window| window == path.as_bytes()), "{path}");
        }
    }
}
