//! Tests of eos as a user sees it.
