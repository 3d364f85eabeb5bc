//! Every mistake has one error, at the words that caused it, with the fix in it: `mistakes/<mistake>.rs` and its `.stderr`.
//!
//! After a change of a sentence: `TRYBUILD=overwrite cargo test -p eos-ui-tests`, and read the difference.
//! What is odd but legal is in `pass`, and compiled by `tests/tests/registration.rs`.

use std::path::Path;
use std::process::Command;

#[test]
fn every_mistake_is_told_where_it_was_made() {
    leave_librdkafka_out();
    trybuild::TestCases::new().compile_fail("mistakes/*.rs");
}

/// The cases are checked and never linked, so nobody misses librdkafka, whose C code takes longer to compile than all else
/// here. Cargo is told, by a setting of the folder where the cases are checked, that its build script has run already.
fn leave_librdkafka_out() {
    let rustc = Command::new("rustc").args(["--print", "host-tuple"]).output().expect("rustc can be run");
    let host = String::from_utf8(rustc.stdout).expect("text");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tests").join("trybuild/.cargo");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let setting = format!("[target.{}.rdkafka]\nrustc-link-lib = [\"rdkafka\"]\n", host.trim());
    std::fs::write(folder.join("config.toml"), setting).expect("a setting can be written");
}
