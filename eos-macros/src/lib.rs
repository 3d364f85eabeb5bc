//! The attributes of eos.
