//! What every attribute's room uses: arguments as they were typed, their mistakes, and whose words are printed.

pub(crate) mod arguments;
pub(crate) mod isolation;
pub(crate) mod mistakes;
pub(crate) mod spans;
pub(crate) mod text;
pub(crate) mod types;
pub(crate) mod values;
