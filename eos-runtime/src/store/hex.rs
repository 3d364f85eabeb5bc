//! Bytes in hex, for statements that hold their values as text.

/// Two digits a byte; a text is its bytes.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As MySQL and SQLite write bytes: `x'00ff'`.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) fn hex_literal(bytes: &[u8]) -> String {
    format!("x'{}'", hex(bytes))
}
