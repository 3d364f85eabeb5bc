//! A listener in a module, in a private one below it, and in a function.

mod orders {
    use eos_runtime::prelude::*;

    /// Seen by the module above.
    #[kafka_listener(topic = "nested.order")]
    pub(super) async fn on_order(_: Headers) -> HandlerResult {
        Ok(())
    }

    mod inner {
        use eos_runtime::prelude::*;

        #[kafka_listener(topic = "nested.inner")]
        async fn on_order(_: Headers) -> HandlerResult {
            Ok(())
        }
    }
}

// Calls one as the plain function that it still is, and holds another.
#[expect(dead_code, reason = "it compiles, which is all that is asked")]
async fn called() -> eos_runtime::HandlerResult {
    use eos_runtime::prelude::*;

    struct Local;

    impl eos_runtime::FromRecord for Local {
        fn from_record(_: &eos_runtime::Delivery<'_>) -> Result<Self, eos_runtime::Rejection> {
            Ok(Local)
        }
    }

    #[kafka_listener(topic = "nested.local")]
    async fn on_local(_: Local) -> HandlerResult {
        Ok(())
    }

    on_local(Local).await?;
    orders::on_order(Headers::default()).await
}
