//! Every mistake has one error, at the words that caused it, with the fix in it: `mistakes/<mistake>.rs` and its `.stderr`.
//!
//! After a change of a sentence: `TRYBUILD=overwrite cargo test -p eos-ui-tests`, and read the difference.
//! What is odd but legal is in `pass`, and compiled by `tests/tests/registration.rs`.

#[test]
fn every_mistake_is_told_where_it_was_made() {
    trybuild::TestCases::new().compile_fail("mistakes/*.rs");
}
