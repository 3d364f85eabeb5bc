//! Patterns for listener ids: `*` stands for any text, as in `orders::*`.

/// Whether `id` is what `pattern` describes.
pub(super) fn matches(pattern: &str, id: &str) -> bool {
    let Some((prefix, rest)) = pattern.split_once('*') else { return pattern == id };
    let Some(mut id) = id.strip_prefix(prefix) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return id.ends_with(part);
        }
        // The earliest place leaves the most for what follows.
        let Some(at) = id.find(part) else { return false };
        id = &id[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, id) in [
            ("orders::*", "orders::on_order"),
            ("*", ""),
            ("*::on_*", "a::b::on_order"),
            ("a*b*a", "abba"),
            ("a", "a"),
        ] {
            assert!(matches(pattern, id), "{pattern} {id}");
        }
        for (pattern, id) in
            [("orders::*", "order::x"), ("a", "ab"), ("a*a", "a"), ("*::on", "a::one"), ("", "a")]
        {
            assert!(!matches(pattern, id), "{pattern} {id}");
        }
    }
}
