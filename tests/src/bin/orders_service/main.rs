//! The program on the first page of the documentation, word for word (in a file that no formatter touches).

include!("program.rs");
