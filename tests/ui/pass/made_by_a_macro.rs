//! A listener whose words came through `macro_rules!` variables.

use eos_runtime::prelude::*;

macro_rules! listener {
    ($name:ident, $topic:literal, $deadline:expr, $tx:ty, $($parameter:ident: $ty:ty),*) => {
        #[kafka_listener(topic = $topic, deadline = $deadline, transactional)]
        async fn $name(tx: $tx, $($parameter: $ty),*) -> HandlerResult {
            let _ = tx;
            $(let _ = $parameter;)*
            Ok(())
        }
    };
}

listener!(on_order, "macro.order", "2s", &mut PgTx, headers: Headers, record: &Record);
