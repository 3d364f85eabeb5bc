//! What is inside the quotes of a listener alone: a group's name and durations.

use std::time::Duration;

use crate::shared::text::placeholders;

const LONGEST_DEADLINE: Duration = Duration::from_hours(24);

/// A group's name: anything but nothing.
pub(super) fn group(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(
            "a group's name cannot be empty; leave `group` out to use the one in the settings".to_owned()
        );
    }
    placeholders(text)
}

/// A duration of whole milliseconds, at least one, a day at most (as in the settings).
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("`{text}` is not a duration ({error}); write `30s`, `500ms` or `2m`"))?;
    if duration.is_zero() {
        return Err("zero leaves no time to do anything".to_owned());
    }
    if duration > LONGEST_DEADLINE {
        return Err("a day is the most; an attempt holds its partition that long".to_owned());
    }
    match u64::try_from(duration.as_millis()) {
        Ok(milliseconds) if Duration::from_millis(milliseconds) == duration => Ok(milliseconds),
        Ok(_) | Err(_) => {
            Err(format!("`{text}` is not a number of whole milliseconds, in which durations are counted"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_number_of_milliseconds() {
        assert_eq!(milliseconds("1m 30s"), Ok(90_000));
        for broken in ["", "30", "s", "0s", "10us", "1ms 1us", "25h"] {
            assert!(milliseconds(broken).is_err(), "{broken}");
        }
    }
}
