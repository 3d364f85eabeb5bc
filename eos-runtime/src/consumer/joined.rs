//! What a task of a partition came to. Whoever joins it ends as if it had done the work itself: a panic goes on there. It is one of
//! ours: a handler's is its attempt's failure.

use std::panic::resume_unwind;

use tokio::task::JoinError;

/// What it returned; `None` where it was aborted, which nobody does but the worker's own end.
pub(super) fn joined<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(returned) => Some(returned),
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_aborted)) => None,
    }
}
