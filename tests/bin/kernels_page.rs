//! Prints `docs/kernels.md`.

fn main() {
    print!("{}", veth_agent::preflight::markdown());
}
