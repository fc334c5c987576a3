//! Tells the bindings which Python they are built for, and refuses one that they are not made for.

fn main() {
    #[cfg(feature = "python")]
    check_python();
}

/// In place of PyO3's own check of the version, which .cargo/config.toml turns off.
#[cfg(feature = "python")]
fn check_python() {
    pyo3_build_config::use_pyo3_cfgs();
    let config = pyo3_build_config::get();
    let version = config.version();
    let oldest = if config.target_abi().kind().is_free_threaded() {
        13
    } else {
        11
    };
    assert!(
        version.major == 3 && (oldest..=15).contains(&version.minor),
        "pyants is for CPython 3.11 to 3.15, and for free-threaded 3.13 to 3.15, not for {version}"
    );
}
