//! Waiting on a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long a condition may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

const AGAIN: Duration = Duration::from_millis(25);

/// Asks until the answer is `Ok`; fails the test after `within`, with what was waited for and the last answer.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let began = Instant::now();
    loop {
        let seen = match ask().await {
            Ok(answer) => return answer,
            Err(seen) => seen,
        };
        assert!(began.elapsed() < within, "{what}: not within {within:?}; the last look: {seen}");
        tokio::time::sleep(AGAIN).await;
    }
}

/// Asks for as long as `during`; fails the test as soon as the answer is an `Err`. For what must *not* happen.
pub async fn stays(what: &str, during: Duration, mut ask: impl AsyncFnMut() -> Result<(), String>) {
    let began = Instant::now();
    while began.elapsed() < during {
        if let Err(seen) = ask().await {
            panic!("{what}: no longer so after {:?}: {seen}", began.elapsed());
        }
        tokio::time::sleep(AGAIN).await;
    }
}
