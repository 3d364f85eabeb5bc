//! `/livez` and `/readyz`: what is wrong, a line each, with what to do about it.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Of;
use axum::http::StatusCode;

use super::Desk;
use super::view::{ListenerShown, Running, Stage, View};
use crate::consumer::{Seen, State};

/// A poll thread turns ten times a second at the least. One that has not for so long is blocked.
const TURNS_WITHIN: Duration = Duration::from_secs(10);

type Answer = (StatusCode, String);

/// 200 while the process's loops turn.
pub(super) async fn live(Of(desk): Of<Arc<Desk>>) -> Answer {
    answer(&what_is_dead(&desk.view))
}

/// 200 when everything runs and nothing waits for a person.
pub(super) async fn ready(Of(desk): Of<Arc<Desk>>) -> Answer {
    answer(&what_is_wrong(&desk.view))
}

fn answer(wrong: &[String]) -> Answer {
    if wrong.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, wrong.join("\n") + "\n")
}

/// While the process stops, threads end.
fn what_is_dead(view: &View) -> Vec<String> {
    match (view.stage(), view.running()) {
        (Stage::Running, Some(running)) => {
            blocked_threads(running.pulses.iter().map(|(id, pulse)| (*id, pulse.since_last())))
        }
        (Stage::Starting | Stage::Running | Stage::Stopping, _) => Vec::new(),
    }
}

fn blocked_threads<'i>(turns: impl Iterator<Item = (&'i str, Duration)>) -> Vec<String> {
    let blocked = turns.filter(|(_, since)| *since > TURNS_WITHIN);
    let line = |(id, since)| {
        format!(
            "listener `{id}`: its poll thread has not turned for {}, so that it neither reads nor answers its group; restart \
             the process",
            in_words(since)
        )
    };
    blocked.map(line).collect()
}

fn what_is_wrong(view: &View) -> Vec<String> {
    match (view.stage(), view.running()) {
        (Stage::Stopping, _) => vec!["stopping: attempts in flight end, nothing new is begun".to_owned()],
        (Stage::Running, Some(running)) => of_running(running, view.stuck_after),
        (Stage::Starting | Stage::Running, _) => {
            vec![
                "starting: databases and brokers are being reached; the log says which is waited for"
                    .to_owned(),
            ]
        }
    }
}

fn of_running(running: &Running, stuck_after: Duration) -> Vec<String> {
    let mut wrong = blocked_threads(running.pulses.iter().map(|(id, pulse)| (*id, pulse.since_last())));
    if let Some(lasts) = running.brokers.lost_for() {
        wrong.push(format!(
            "Kafka cannot be reached for {}; records are read again when it can",
            in_words(lasts)
        ));
    }
    for database in &running.databases {
        if let Some((lasts, why)) = database.sounding.trouble() {
            wrong.push(format!(
                "the database `{}` does not answer for {}: {why}",
                database.name,
                in_words(lasts)
            ));
        }
    }
    running.listeners.iter().for_each(|listener| of_listener(listener, stuck_after, &mut wrong));
    if let Some(listener) = running.listeners.first() {
        // One watches over the handlers of all listeners.
        wrong.extend(listener.work.watchdog.blocked().into_iter().map(|blocked| {
            format!(
                "listener `{}`: {}[{}]: the handler of offset {} blocks its thread for {}; use async calls, or \
                 `tokio::task::spawn_blocking`",
                blocked.listener, blocked.topic, blocked.partition, blocked.offset, in_words(blocked.lasts)
            )
        }));
    }
    wrong
}

fn of_listener(listener: &ListenerShown, stuck_after: Duration, wrong: &mut Vec<String>) {
    let id = &listener.work.id;
    if let Some((lasts, why)) = listener.work.outage.seen() {
        wrong.push(format!(
            "listener `{id}`: an outage for {}; it goes on by itself when what it needs is back: {why}",
            in_words(lasts)
        ));
    }
    for seen in listener.work.board.seen() {
        let lines = [stuck(&seen, stuck_after), full(&seen)];
        wrong.extend(lines.into_iter().flatten().map(|line| format!("listener `{id}`: {line}")));
    }
}

/// What is wrong with a partition, and what to do.
fn stuck(seen: &Seen, stuck_after: Duration) -> Option<String> {
    let (topic, partition, lasts) = (&seen.topic, seen.partition, seen.state.lasts());
    match &seen.state {
        State::Starting | State::Running => None,
        State::TryingAgain { .. } if lasts < stuck_after => None,
        State::TryingAgain { offset, attempt, of, why, .. } => Some(format!(
            "{topic}[{partition}] is stuck at offset {offset}, which is tried again for {}, next by attempt {attempt}{}; mend \
             the cause or the handler, or let `dead_letter` set it aside: {why}",
            in_words(lasts),
            of.map_or_else(String::new, |of| format!(" of {of}")),
        )),
        State::Waiting { what, why, .. } => Some(format!(
            "{topic}[{partition}] waits for {}, and goes on by itself: {what}: {why}",
            in_words(lasts)
        )),
        State::Stopped { offset, why, .. } => Some(format!(
            "{topic}[{partition}] is stopped{} for {}; fix the cause and restart the process: {why}",
            offset.map_or_else(String::new, |offset| format!(" at offset {offset}")),
            in_words(lasts),
        )),
    }
}

/// So many records are parked that the others wait.
fn full(seen: &Seen) -> Option<String> {
    seen.is_full.then(|| {
        format!(
            "{}[{}] waits, because {} of its records are parked; mend the cause, or see `eos parked list`, or raise \
             `[dead_letters] parked_at_most`",
            seen.topic, seen.partition, seen.parked
        )
    })
}

/// In whole seconds.
fn in_words(duration: Duration) -> impl Display {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn seen(state: State) -> Seen {
        Seen {
            topic: "event.order".into(),
            partition: 3,
            position: Some(17),
            end: Some(20),
            parked: 0,
            is_full: false,
            state,
        }
    }

    #[test]
    fn a_thread_that_does_not_turn_is_named() {
        let turns = [("fine", Duration::from_millis(200)), ("orders::on_order", Duration::from_secs(34))];
        let [line] = blocked_threads(turns.into_iter()).try_into().expect("one line");
        assert!(
            line.contains("`orders::on_order`") && line.contains("34s") && line.contains("restart"),
            "{line}"
        );
    }

    #[test]
    fn a_record_that_is_tried_again_is_stuck_after_a_while() {
        let since = Instant::now().checked_sub(Duration::from_secs(30)).expect("a while ago");
        let why = "no such customer".to_owned();
        let tried = seen(State::TryingAgain { offset: 17, attempt: 4, of: None, why, since });
        assert_eq!(stuck(&tried, Duration::from_secs(60)), None);
        let line = stuck(&tried, Duration::from_secs(20)).expect("stuck");
        assert!(line.starts_with("event.order[3] is stuck at offset 17"), "{line}");
        assert!(
            line.contains("30s") && line.contains("attempt 4;") && line.ends_with("no such customer"),
            "{line}"
        );
        assert_eq!(stuck(&seen(State::Running), Duration::ZERO), None);
    }

    #[test]
    fn a_partition_that_has_parked_all_it_may_is_named() {
        let parked = |is_full| Seen { parked: 10, is_full, ..seen(State::Running) };
        assert_eq!(full(&parked(false)), None);
        let line = full(&parked(true)).expect("full");
        assert!(line.starts_with("event.order[3] waits, because 10 of its records are parked"), "{line}");
    }
}
