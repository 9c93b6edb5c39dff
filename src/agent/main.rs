//! The program that Sandglass puts into sandboxes.

fn main() {
    println!("{}", sandglass_agent::VERSION);
}
