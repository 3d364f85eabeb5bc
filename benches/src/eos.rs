//! The same work under eos, as a user writes it.
