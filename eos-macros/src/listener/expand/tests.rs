//! What is printed for each kind of listener, as snapshots: `UPDATE_EXPECT=1 cargo test` writes them anew.

use expect_test::{Expect, expect};
use quote::quote;

use super::*;
use crate::listener::listener;

/// Names are shown without their path, which is always the same.
fn printed(arguments: TokenStream, function: TokenStream, expected: &Expect) {
    let listener = listener(arguments, function).expect("a listener without mistakes");
    let record = record(&listener);
    let text = quote!(const RECORD: ListenerSpec = #record;).to_string();
    let text = text.replace(&eos().to_string(), "").replace(":: core :: option ::", "");
    let file = syn::parse_str(&text).expect("an expression");
    expected.assert_eq(&prettyplease::unparse(&file));
}

#[test]
fn a_plain_listener() {
    let function = quote!(
        async fn on_order(record: &Record, id: Option<MessageId>) -> HandlerResult {
            Ok(())
        }
    );
    printed(
        quote!(topic = "event.order"),
        function,
        &expect![[r#"
            const RECORD: ListenerSpec = ::ListenerSpec {
                id: ::core::concat!(::core::module_path!(), "::on_order"),
                file: ::core::file!(),
                line: ::core::line!(),
                topics: &["event.order"],
                group: Option::None,
                deadline: ::Duration::from_millis(30000u64),
                concurrency: 1u16,
                concurrency_per_partition: 1u16,
                mode: ::Mode::Plain,
                retry: ::Retry {
                    max: Option::None,
                    backoff: Option::None,
                    factor: Option::None,
                    max_backoff: Option::None,
                    jitter: Option::None,
                },
                on_failure: ::OnFailure::Block,
                dead_letters: ::DeadLetters::Topic(Option::None),
                needs: |__needs| {
                    <Option<MessageId> as ::FromRecord>::needs(__needs);
                },
                body: || ::Body::Plain(|__delivery| ::std::boxed::Box::pin(async move {
                    let __0 = <Record as ::RefFromRecord>::ref_from_record(__delivery);
                    let __1 = <Option<MessageId> as ::FromRecord>::from_record(__delivery)?;
                    <HandlerResult as ::IntoOutcome>::into_outcome(on_order(__0, __1).await)
                })),
            };
        "#]],
    );
}

#[test]
fn a_transactional_listener() {
    let function = quote! {
        async fn on_order(tx: &mut PgTx, Json(order): Json<OrderPlaced>) -> HandlerResult { Ok(()) }
    };
    printed(
        quote!(topic = "event.order", transactional),
        function,
        &expect![[r#"
            const RECORD: ListenerSpec = ::ListenerSpec {
                id: ::core::concat!(::core::module_path!(), "::on_order"),
                file: ::core::file!(),
                line: ::core::line!(),
                topics: &["event.order"],
                group: Option::None,
                deadline: ::Duration::from_millis(30000u64),
                concurrency: 1u16,
                concurrency_per_partition: 1u16,
                mode: ::Mode::Transactional(::Transactional {
                    isolation: ::Isolation::ReadCommitted,
                    dedupe: ::Dedupe::MessageId,
                    group_commit: 1u32,
                    max_wait: ::Duration::from_millis(0u64),
                    key_slots: 1u16,
                    database: Option::None,
                }),
                retry: ::Retry {
                    max: Option::None,
                    backoff: Option::None,
                    factor: Option::None,
                    max_backoff: Option::None,
                    jitter: Option::None,
                },
                on_failure: ::OnFailure::Block,
                dead_letters: ::DeadLetters::Table,
                needs: |__needs| {
                    <Json<OrderPlaced> as ::FromRecord>::needs(__needs);
                },
                body: || <PgTx as ::TransactionParam>::body(
                    ::Handler::One(|__tx, __delivery| ::std::boxed::Box::pin(async move {
                        let __1 = <Json<OrderPlaced> as ::FromRecord>::from_record(__delivery)?;
                        <HandlerResult as ::IntoOutcome>::into_outcome(on_order(__tx, __1).await)
                    })),
                ),
            };
        "#]],
    );
}

#[test]
fn a_listener_that_names_no_topic() {
    let function = quote! {
        async fn on_order(tx: &mut PgTx, order: Option<OrderPlaced>, record: &Record) -> HandlerResult { Ok(()) }
    };
    printed(
        quote!(transactional),
        function,
        &expect![[r#"
            const RECORD: ListenerSpec = ::ListenerSpec {
                id: ::core::concat!(::core::module_path!(), "::on_order"),
                file: ::core::file!(),
                line: ::core::line!(),
                topics: &[
                    ::topic_of_the_event(&[<Option<OrderPlaced> as ::FromRecord>::DEFAULT_TOPIC]),
                ],
                group: Option::None,
                deadline: ::Duration::from_millis(30000u64),
                concurrency: 1u16,
                concurrency_per_partition: 1u16,
                mode: ::Mode::Transactional(::Transactional {
                    isolation: ::Isolation::ReadCommitted,
                    dedupe: ::Dedupe::MessageId,
                    group_commit: 1u32,
                    max_wait: ::Duration::from_millis(0u64),
                    key_slots: 1u16,
                    database: Option::None,
                }),
                retry: ::Retry {
                    max: Option::None,
                    backoff: Option::None,
                    factor: Option::None,
                    max_backoff: Option::None,
                    jitter: Option::None,
                },
                on_failure: ::OnFailure::Block,
                dead_letters: ::DeadLetters::Table,
                needs: |__needs| {
                    <Option<OrderPlaced> as ::FromRecord>::needs(__needs);
                },
                body: || <PgTx as ::TransactionParam>::body(
                    ::Handler::One(|__tx, __delivery| ::std::boxed::Box::pin(async move {
                        let __1 = <Option<OrderPlaced> as ::FromRecord>::from_record(__delivery)?;
                        let __2 = <Record as ::RefFromRecord>::ref_from_record(__delivery);
                        <HandlerResult as ::IntoOutcome>::into_outcome(
                            on_order(__tx, __1, __2).await,
                        )
                    })),
                ),
            };
        "#]],
    );
}

#[test]
fn an_idempotent_listener() {
    let function = quote!(
        async fn on_order(Json(order): Json<OrderPlaced>) -> HandlerResult {
            Ok(())
        }
    );
    printed(
        quote!(
            topic = "event.order",
            idempotent(redis, ttl = "1d", id = header("order-id"), lease = "10s", on_outage = "process")
        ),
        function,
        &expect![[r#"
            const RECORD: ListenerSpec = ::ListenerSpec {
                id: ::core::concat!(::core::module_path!(), "::on_order"),
                file: ::core::file!(),
                line: ::core::line!(),
                topics: &["event.order"],
                group: Option::None,
                deadline: ::Duration::from_millis(30000u64),
                concurrency: 1u16,
                concurrency_per_partition: 1u16,
                mode: ::Mode::Idempotent(::Idempotent {
                    medium: ::Medium::Redis {
                        ttl: ::Duration::from_millis(86400000u64),
                    },
                    id: ::IdSource::Header("order-id"),
                    lease: ::Duration::from_millis(10000u64),
                    on_outage: ::OnOutage::Process,
                }),
                retry: ::Retry {
                    max: Option::None,
                    backoff: Option::None,
                    factor: Option::None,
                    max_backoff: Option::None,
                    jitter: Option::None,
                },
                on_failure: ::OnFailure::Block,
                dead_letters: ::DeadLetters::Topic(Option::None),
                needs: |__needs| {
                    <Json<OrderPlaced> as ::FromRecord>::needs(__needs);
                },
                body: || ::Body::Plain(|__delivery| ::std::boxed::Box::pin(async move {
                    let __0 = <Json<OrderPlaced> as ::FromRecord>::from_record(__delivery)?;
                    <HandlerResult as ::IntoOutcome>::into_outcome(on_order(__0).await)
                })),
            };
        "#]],
    );
}

#[test]
fn an_idempotent_listener_that_remembers_in_a_database() {
    let function = quote!(
        async fn on_order(Json(order): Json<OrderPlaced>) -> HandlerResult {
            Ok(())
        }
    );
    printed(
        quote!(topic = "event.order", idempotent(database = "orders", lease = "10s")),
        function,
        &expect![[r#"
            const RECORD: ListenerSpec = ::ListenerSpec {
                id: ::core::concat!(::core::module_path!(), "::on_order"),
                file: ::core::file!(),
                line: ::core::line!(),
                topics: &["event.order"],
                group: Option::None,
                deadline: ::Duration::from_millis(30000u64),
                concurrency: 1u16,
                concurrency_per_partition: 1u16,
                mode: ::Mode::Idempotent(::Idempotent {
                    medium: ::Medium::Database(Option::Some("orders")),
                    id: ::IdSource::MessageId,
                    lease: ::Duration::from_millis(10000u64),
                    on_outage: ::OnOutage::Wait,
                }),
                retry: ::Retry {
                    max: Option::None,
                    backoff: Option::None,
                    factor: Option::None,
                    max_backoff: Option::None,
                    jitter: Option::None,
                },
                on_failure: ::OnFailure::Block,
                dead_letters: ::DeadLetters::Topic(Option::None),
                needs: |__needs| {
                    <Json<OrderPlaced> as ::FromRecord>::needs(__needs);
                },
                body: || ::Body::Plain(|__delivery| ::std::boxed::Box::pin(async move {
                    let __0 = <Json<OrderPlaced> as ::FromRecord>::from_record(__delivery)?;
                    <HandlerResult as ::IntoOutcome>::into_outcome(on_order(__0).await)
                })),
            };
        "#]],
    );
}

#[test]
fn a_listener_from_kafka_to_kafka_that_returns_what_it_sends() {
    let function = quote! {
        async fn enrich(order: OrderPlaced) -> Result<Option<Enriched>, HandlerError> { Ok(None) }
    };
    printed(
        quote!(exactly_once(commit_records = 1, message_id = "off"), to = "event.order.enriched"),
        function,
        &expect![[r#"
            const RECORD: ListenerSpec = ::ListenerSpec {
                id: ::core::concat!(::core::module_path!(), "::enrich"),
                file: ::core::file!(),
                line: ::core::line!(),
                topics: &[::topic_of_the_event(&[<OrderPlaced as ::FromRecord>::DEFAULT_TOPIC])],
                group: Option::None,
                deadline: ::Duration::from_millis(30000u64),
                concurrency: 1u16,
                concurrency_per_partition: 1u16,
                mode: ::Mode::ExactlyOnce(::ExactlyOnce {
                    commit_interval: ::Duration::from_millis(100u64),
                    commit_records: 1u32,
                    message_id: ::OutputId::Off,
                    to: Option::Some("event.order.enriched"),
                }),
                retry: ::Retry {
                    max: Option::None,
                    backoff: Option::None,
                    factor: Option::None,
                    max_backoff: Option::None,
                    jitter: Option::None,
                },
                on_failure: ::OnFailure::Block,
                dead_letters: ::DeadLetters::Topic(Option::None),
                needs: |__needs| {
                    <OrderPlaced as ::FromRecord>::needs(__needs);
                },
                body: || ::Body::Kafka(|__tx, __delivery| ::std::boxed::Box::pin(async move {
                    let __0 = <OrderPlaced as ::FromRecord>::from_record(__delivery)?;
                    ::send_returned(enrich(__0).await, __tx, Option::Some("event.order.enriched"))
                })),
            };
        "#]],
    );
}

#[test]
fn a_listener_from_kafka_to_kafka_that_sends() {
    let function = quote! {
        async fn enrich(out: &mut KafkaTx, order: OrderPlaced) -> HandlerResult { Ok(()) }
    };
    printed(
        quote!(topic = "event.order", exactly_once),
        function,
        &expect![[r#"
        const RECORD: ListenerSpec = ::ListenerSpec {
            id: ::core::concat!(::core::module_path!(), "::enrich"),
            file: ::core::file!(),
            line: ::core::line!(),
            topics: &["event.order"],
            group: Option::None,
            deadline: ::Duration::from_millis(30000u64),
            concurrency: 1u16,
            concurrency_per_partition: 1u16,
            mode: ::Mode::ExactlyOnce(::ExactlyOnce {
                commit_interval: ::Duration::from_millis(100u64),
                commit_records: 100000u32,
                message_id: ::OutputId::Repeatable,
                to: Option::None,
            }),
            retry: ::Retry {
                max: Option::None,
                backoff: Option::None,
                factor: Option::None,
                max_backoff: Option::None,
                jitter: Option::None,
            },
            on_failure: ::OnFailure::Block,
            dead_letters: ::DeadLetters::Topic(Option::None),
            needs: |__needs| {
                <OrderPlaced as ::FromRecord>::needs(__needs);
            },
            body: || <KafkaTx as ::KafkaTxParam>::body(|__tx, __delivery| ::std::boxed::Box::pin(async move {
                let __1 = <OrderPlaced as ::FromRecord>::from_record(__delivery)?;
                <HandlerResult as ::IntoOutcome>::into_outcome(enrich(__tx, __1).await)
            })),
        };
    "#]],
    );
}

#[test]
fn a_listener_that_is_at_most_once() {
    let function = quote! {
        async fn on_hint(Json(hint): Json<Hint>) -> HandlerResult { Ok(()) }
    };
    printed(
        quote!(topic = "cache.hint", at_most_once),
        function,
        &expect![[r#"
        const RECORD: ListenerSpec = ::ListenerSpec {
            id: ::core::concat!(::core::module_path!(), "::on_hint"),
            file: ::core::file!(),
            line: ::core::line!(),
            topics: &["cache.hint"],
            group: Option::None,
            deadline: ::Duration::from_millis(30000u64),
            concurrency: 1u16,
            concurrency_per_partition: 1u16,
            mode: ::Mode::AtMostOnce(100u32),
            retry: ::Retry {
                max: Option::None,
                backoff: Option::None,
                factor: Option::None,
                max_backoff: Option::None,
                jitter: Option::None,
            },
            on_failure: ::OnFailure::Block,
            dead_letters: ::DeadLetters::Off,
            needs: |__needs| {
                <Json<Hint> as ::FromRecord>::needs(__needs);
            },
            body: || ::Body::Plain(|__delivery| ::std::boxed::Box::pin(async move {
                let __0 = <Json<Hint> as ::FromRecord>::from_record(__delivery)?;
                <HandlerResult as ::IntoOutcome>::into_outcome(on_hint(__0).await)
            })),
        };
    "#]],
    );
}

#[test]
fn every_argument_and_several_topics() {
    let arguments = quote! {
        topics = ["event.order", "event.${tenant}.payment"], group = "billing", id = "orders", deadline = "5s",
        concurrency = 4, transactional(isolation = "serializable", dedupe = "position", database = "main")
    };
    let function = quote!(
        async fn on_order(db: &mut Db) -> anyhow::Result<()> {
            Ok(())
        }
    );
    printed(
        arguments,
        function,
        &expect![[r#"
            const RECORD: ListenerSpec = ::ListenerSpec {
                id: "orders",
                file: ::core::file!(),
                line: ::core::line!(),
                topics: &["event.order", "event.${tenant}.payment"],
                group: Option::Some("billing"),
                deadline: ::Duration::from_millis(5000u64),
                concurrency: 4u16,
                concurrency_per_partition: 1u16,
                mode: ::Mode::Transactional(::Transactional {
                    isolation: ::Isolation::Serializable,
                    dedupe: ::Dedupe::Position,
                    group_commit: 1u32,
                    max_wait: ::Duration::from_millis(0u64),
                    key_slots: 1u16,
                    database: Option::Some("main"),
                }),
                retry: ::Retry {
                    max: Option::None,
                    backoff: Option::None,
                    factor: Option::None,
                    max_backoff: Option::None,
                    jitter: Option::None,
                },
                on_failure: ::OnFailure::Block,
                dead_letters: ::DeadLetters::Table,
                needs: |__needs| {},
                body: || <Db as ::TransactionParam>::body(
                    ::Handler::One(|__tx, __delivery| ::std::boxed::Box::pin(async move {
                        <anyhow::Result<()> as ::IntoOutcome>::into_outcome(on_order(__tx).await)
                    })),
                ),
            };
        "#]],
    );
}
