//! Builds the eBPF objects.
fn main() -> anyhow::Result<()> {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    // SAFETY: a build script has one thread.
    unsafe {
        std::env::set_var(
            "PATH",
            format!("{workspace}/target/bpf-toolchain/bin:{}", std::env::var("PATH")?),
        );
        std::env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf");
    }
    aya_build::build_ebpf(
        [aya_build::Package {
            name: "veth-ebpf",
            root_dir: concat!(env!("CARGO_MANIFEST_DIR"), "/../veth-ebpf"),
            ..Default::default()
        }],
        aya_build::Toolchain::Custom("debian-bpf"),
    )
}
