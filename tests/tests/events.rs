//! Listeners that take an event: the record of their topic that is of its type, and no other.

#![expect(clippy::unused_async, reason = "handlers that do nothing are async all the same")]

use std::error::Error;

use eos_runtime::Record;
use eos_runtime::prelude::*;
use eos_runtime::testing::{DeliverError, Delivered, deliver};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "events.order", key = order_id)]
struct OrderPlaced {
    order_id: u32,
}

#[kafka_listener]
async fn on_order(order: OrderPlaced) -> HandlerResult {
    assert_eq!(order.order_id, 7);
    Ok(())
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "events.customer", key = id, type = "CustomerChanged")]
struct Customer {
    id: u32,
}

#[kafka_listener]
async fn on_customer(customer: Option<Customer>) -> HandlerResult {
    match customer {
        Some(_) => Ok(()),
        None => Err(HandlerError::fatal("forgotten")),
    }
}

#[tokio::test]
async fn an_event_is_taken_from_the_topic_that_it_names() {
    for record in [order(), order().header("type", "OrderPlaced")] {
        assert_eq!(deliver(record.build()).await.expect("an order"), Delivered::Applied);
    }
}

#[tokio::test]
async fn another_type_of_event_on_the_topic_is_told_by_both_names() {
    let said = failure(order().header("type", "OrderCancelled").build()).await;
    assert!(said.contains("`OrderCancelled`") && said.contains("`OrderPlaced`"), "{said}");
}

#[tokio::test]
async fn a_tombstone_is_none_for_whoever_takes_an_option() {
    let said = failure(Record::builder("events.customer").key("7").build()).await;
    assert!(said.contains("forgotten"), "the handler should have run: {said}");
    let said = failure(Record::builder("events.order").key("7").build()).await;
    assert!(said.contains("as an `Option`"), "{said}");
}

#[tokio::test]
async fn what_an_event_writes_it_reads() {
    let event = Customer { id: 7 };
    let (key, payload) = (event.key().expect("a key"), event.encode().expect("JSON"));
    let record = Record::builder(Customer::TOPIC).key(key).payload(payload).header("type", Customer::TYPE);
    assert_eq!(deliver(record.build()).await.expect("a customer"), Delivered::Applied);
}

fn order() -> eos_runtime::RecordBuilder {
    Record::builder("events.order").payload(r#"{"order_id":7}"#)
}

/// Everything that is said of a record that fails.
async fn failure(record: Record) -> String {
    match deliver(record).await {
        Err(DeliverError::Failed(error)) => {
            let mut said = error.to_string();
            let mut cause: Option<&dyn Error> = error.source();
            while let Some(error) = cause {
                said = format!("{said}: {error}");
                cause = error.source();
            }
            said
        }
        other => panic!("it should fail: {other:?}"),
    }
}
