//! The runtime of eos.
