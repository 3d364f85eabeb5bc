//! What the attribute registers, seen from outside: the files of `ui/pass`, odd but legal, are compiled in here.

#![expect(clippy::unused_async, reason = "handlers that do nothing are async all the same")]

use std::time::Duration;

use eos_runtime::__private::{
    Body, DeadLetters, Dedupe, Handler, Isolation, ListenerSpec, Mode, Retry, Transactional,
};
use eos_runtime::prelude::{Event, Uuid};

#[path = "../ui/pass/batches.rs"]
mod batches;
#[path = "../ui/pass/events.rs"]
mod events;
#[path = "../ui/pass/every_argument.rs"]
mod every_argument;
#[path = "../ui/pass/made_by_a_macro.rs"]
mod made_by_a_macro;
#[path = "../ui/pass/names_of_ours.rs"]
mod names_of_ours;
#[path = "../ui/pass/names_of_the_standard_library.rs"]
mod names_of_the_standard_library;
#[path = "../ui/pass/nested.rs"]
mod nested;
#[path = "../ui/pass/other_attributes.rs"]
mod other_attributes;
#[path = "../ui/pass/outbox.rs"]
mod outbox;
#[path = "../ui/pass/own_extractor.rs"]
mod own_extractor;
#[path = "../ui/pass/parameters_in_any_order.rs"]
mod parameters_in_any_order;
#[path = "../ui/pass/results.rs"]
mod results;
#[path = "../ui/pass/transaction_alias.rs"]
mod transaction_alias;

#[test]
fn a_listener_says_all_that_was_written() {
    let listener = the_one("every.argument");
    assert_eq!(listener.topics, ["every.${tenant}.order", "every.payment"]);
    assert_eq!(listener.group, Some("billing-${tenant:eu}"));
    assert_eq!(listener.deadline, Duration::from_secs(90));
    assert_eq!((listener.concurrency, listener.concurrency_per_partition), (4, 1));
    assert_eq!(the_one("registration::every_argument::on_plain").concurrency_per_partition, 16);
    let transactional = Transactional {
        isolation: Isolation::RepeatableRead,
        dedupe: Dedupe::Position,
        group_commit: 100,
        max_wait: Duration::ZERO,
        key_slots: 8,
        database: Some("orders"),
    };
    assert_eq!(listener.mode, Mode::Transactional(transactional));
    let retry = Retry {
        max: Some(3),
        backoff: Some(Duration::from_secs(1)),
        factor: Some(1.5),
        max_backoff: Some(Duration::from_secs(60)),
        jitter: Some(0.0),
    };
    assert_eq!((listener.retry, listener.dead_letters), (retry, DeadLetters::Topic(Some("every.dead"))));
    let said = |name: &str| the_one(&format!("registration::every_argument::{name}")).dead_letters;
    assert_eq!(said("on_plain"), DeadLetters::Topic(None));
    assert_eq!((said("stubborn"), said("kept")), (DeadLetters::Off, DeadLetters::Table));
    assert!(listener.file.ends_with("every_argument.rs"), "{}", listener.file);
    assert_eq!(listener.line, 5);
}

#[test]
fn a_batch_listener_has_the_topic_of_the_event_inside_and_its_own_bounds() {
    let listener = the_one("registration::batches::of_events");
    assert_eq!(listener.topics, ["batches.order"]);
    assert!(matches!((listener.body)(), Body::Postgres(Handler::Batch(_))));
    let Mode::Transactional(transactional) = listener.mode else { panic!("it is transactional") };
    assert_eq!((transactional.group_commit, transactional.max_wait), (10, Duration::from_millis(5)));
    let Mode::Transactional(usual) = the_one("registration::batches::of_pairs").mode else {
        panic!("it is transactional")
    };
    assert_eq!((usual.group_commit, usual.max_wait), (500, Duration::ZERO));
}

#[test]
fn what_was_not_written_has_its_default() {
    let listener = the_one("registration::nested::orders::on_order");
    assert_eq!((listener.group, listener.concurrency, listener.mode), (None, 1, Mode::Plain));
    assert_eq!(listener.dead_letters, DeadLetters::Topic(None), "without a database there is no table");
    assert_eq!(listener.deadline, Duration::from_secs(30));
    let transactional = Transactional {
        isolation: Isolation::ReadCommitted,
        dedupe: Dedupe::MessageId,
        group_commit: 1,
        max_wait: Duration::ZERO,
        key_slots: 1,
        database: None,
    };
    let listener = the_one("registration::names_of_ours::tx");
    assert_eq!(listener.mode, Mode::Transactional(transactional));
    assert_eq!((listener.retry, listener.dead_letters), (Retry::default(), DeadLetters::Table));
}

#[test]
fn an_id_is_the_path_that_a_person_would_write() {
    the_one("registration::nested::orders::inner::on_order");
    the_one("registration::nested::on_local");
    the_one("registration::names_of_ours::type");
    the_one("registration::names_of_the_standard_library::on_order");
}

#[test]
fn a_type_decides_which_database_a_transaction_belongs_to() {
    let body =
        |name: &str| format!("{:?}", (the_one(&format!("registration::transaction_alias::{name}")).body)());
    assert_eq!(body("own_name"), "Postgres");
    assert_eq!(body("through_a_generic_one"), "Postgres");
    assert_eq!(body("mysql"), "MySql");
    assert_eq!(body("sqlite"), "Sqlite");
    assert!(matches!((the_one("registration::own_extractor::on_order").body)(), Body::Plain(_)));
}

#[test]
fn a_listener_that_names_no_topic_has_its_events() {
    let topics = |name: &str| the_one(&format!("registration::{name}")).topics;
    assert_eq!(topics("events::on_order"), ["events.order"]);
    assert_eq!(topics("events::on_alias"), ["events.order"]);
    assert_eq!(topics("events::on_payment"), ["events.${region:eu}.payment"]);
    assert_eq!(topics("events::on_made"), ["events.made"]);
    assert_eq!(topics("events::on_wrapped"), ["events.pair"]);
    assert_eq!(topics("names_of_the_standard_library::on_event"), ["std.event"]);
    assert_eq!(topics("events::on_copy"), ["events.order.copy"], "a topic that is named is the one");
}

#[test]
fn an_event_says_all_that_was_written() {
    use events::{Customer, Made, OrderPlaced, Pair, PaymentTaken, Tick};

    let customer = Customer { id: 7, r#type: "person".to_owned() };
    let order = OrderPlaced { order_id: Uuid::nil(), customer, note: None };
    assert_eq!((OrderPlaced::TYPE, OrderPlaced::VERSION), ("OrderPlaced", None));
    assert_eq!(key(&order).as_deref(), Some("00000000-0000-0000-0000-000000000000"));
    assert!(order.headers().is_empty());

    let payment = PaymentTaken { order };
    assert_eq!((PaymentTaken::TYPE, PaymentTaken::VERSION), ("PaymentTaken", Some(3)));
    assert_eq!(key(&payment).as_deref(), Some("7"));
    assert_eq!(headers(&payment), ["kind=person", "x-source=shop", "cents=700", "in=4"]);

    assert_eq!((Tick::TYPE, Tick.key()), ("Tick", None));
    let pair = Pair("eu".to_owned(), 1);
    assert_eq!(
        (key(&pair).as_deref(), headers(&pair)),
        (Some("eu/1"), vec!["shop=eu".to_owned(), "next=2".to_owned()])
    );
    assert_eq!(
        (headers(&Made { id: 5 }), Made::VERSION),
        (vec!["made=by a macro".to_owned(), "again=5".to_owned()], Some(2))
    );
}

#[test]
fn an_event_is_json_and_reads_its_own() {
    let encoded = events::Pair("eu".to_owned(), 1).encode().expect("it is JSON");
    assert_eq!(encoded, r#"["eu",1]"#);
    assert_eq!(events::Pair::decode(&encoded).expect("its own").1, 1);
}

fn key(event: &impl Event) -> Option<String> {
    event.key().map(|key| String::from_utf8(key.to_vec()).expect("text"))
}

fn headers(event: &impl Event) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let headers = event.headers();
    headers
        .iter()
        .map(|(name, value)| format!("{}={}", text(name), text(value.unwrap_or_default())))
        .collect()
}

#[test]
fn what_cfg_leaves_out_is_not_registered() {
    let topics: Vec<&str> = listeners().flat_map(|listener| listener.topics).copied().collect();
    assert!(topics.contains(&"attributes.cfg.on"));
    assert!(!topics.contains(&"attributes.cfg.off"));
    for listener in ["above", "below", "instrumented", "instrumented_above", "conditional"] {
        the_one(&format!("registration::other_attributes::{listener}"));
    }
}

fn listeners() -> impl Iterator<Item = &'static ListenerSpec> {
    inventory::iter::<ListenerSpec>.into_iter()
}

fn the_one(id: &str) -> &'static ListenerSpec {
    let mut found = listeners().filter(|listener| listener.id == id);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no `{id}` among {:?}", listeners().map(|l| l.id).collect::<Vec<_>>()));
    assert!(found.next().is_none(), "`{id}` is registered twice");
    first
}
