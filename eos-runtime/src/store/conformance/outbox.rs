//! What is published in a transaction is in the outbox when it has committed, and only then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::harness::*;
use crate::error::TxError;
use crate::event::Event;
use crate::outbox::scope::{Ended, OutboxReturn, Scope, ScopeOptions, TxSource};
use crate::record::{Headers, Record};
use crate::store::{Afterwards, CommitFailed, Look, Refusal, RelayDialect as _, SLOTS, Tx};
use crate::{BoxError, Emit};

struct Placed(&'static str, u32);

impl Event for Placed {
    const TOPIC: &'static str = "event.order";
    const TYPE: &'static str = "OrderPlaced";
    const VERSION: Option<u32> = Some(2);

    fn key(&self) -> Option<Bytes> {
        Some(Bytes::from_static(self.0.as_bytes()))
    }

    fn headers(&self) -> Headers {
        [("tenant", "acme")].into_iter().collect()
    }

    fn encode(&self) -> Result<Bytes, BoxError> {
        Ok(self.1.to_string().into())
    }

    fn decode(_payload: &[u8]) -> Result<Self, BoxError> {
        Err("nobody reads it here".into())
    }
}

async fn begin_tx<H: Harness>(h: &H) -> Tx<H::D> {
    let mut tx = crate::begin(&h.store().pool).await.expect("it begins");
    tx.set_home(Arc::clone(&h.store().home));
    tx
}

async fn published<H: Harness>(h: &H) -> i64 {
    published_where(h, "1 = 1").await
}

async fn published_where<H: Harness>(h: &H, condition: &str) -> i64 {
    h.number(&format!("select count(*) from {}eos_outbox where {condition}", h.store().schema)).await
}

pub(super) async fn what_is_published_is_there_after_the_commit_in_its_order<H: Harness>(h: &H) {
    let mut tx = begin_tx(h).await;
    H::write(&mut tx, "insert into effect (n) values (1)").await.expect("written");
    tx.publish(&Placed("a", 1)).await.expect("published");
    tx.publish_all(&[Placed("b", 2), Placed("a", 3)]).await.expect("published");
    assert_eq!(published(h).await, 0, "not before the commit");
    tx.commit().await.expect("committed");
    assert_eq!((effects(h).await, published(h).await), (1, 3));
    let of_a = published_where(
        h,
        "topic = 'event.order' and aggregatetype = 'event.order' and aggregateid = 'a' and type = 'OrderPlaced' \
         and headers = '{\"tenant\":\"acme\",\"schema-version\":\"2\"}' and broker = 'kafka' and attempts = 0 \
         and published_at is null and failed_at is null",
    );
    assert_eq!(of_a.await, 2);
    let order = format!(
        "select count(*) from {0}eos_outbox x join {0}eos_outbox y on y.seq > x.seq where x.aggregateid = 'b'",
        h.store().schema
    );
    assert_eq!(h.number(&order).await, 1, "`b` is the second of three");
}

pub(super) async fn what_is_rolled_back_was_never_published<H: Harness>(h: &H) {
    for how in 0..2 {
        let mut tx = begin_tx(h).await;
        H::write(&mut tx, "insert into effect (n) values (1)").await.expect("written");
        tx.publish(&Placed("a", 1)).await.expect("published");
        match how {
            0 => tx.rollback().await.expect("rolled back"),
            _ => drop(tx),
        }
    }
    // A connection that was given back is as good as new.
    let mut tx = begin_tx(h).await;
    H::write(&mut tx, "insert into effect (n) values (2)").await.expect("written");
    tx.commit().await.expect("committed");
    assert_eq!((effects(h).await, published(h).await), (1, 0));
}

pub(super) async fn a_savepoint_that_is_rolled_back_takes_its_events_with_it<H: Harness>(h: &H) {
    let mut tx = begin_tx(h).await;
    tx.publish(&Placed("kept", 1)).await.expect("published");

    let mut undone = tx.begin().await.expect("a savepoint");
    undone.publish(&Placed("undone", 2)).await.expect("published");
    let mut inner = undone.begin().await.expect("a savepoint in it");
    inner.publish(&Placed("undone with its outer one", 3)).await.expect("published");
    inner.commit().await.expect("released");
    undone.rollback().await.expect("rolled back");

    let mut dropped = tx.begin().await.expect("a savepoint");
    H::write(&mut dropped, "insert into effect (n) values (1)").await.expect("written");
    dropped.publish(&Placed("dropped", 4)).await.expect("published");
    drop(dropped);

    let mut released = tx.begin().await.expect("a savepoint");
    released.publish(&Placed("released", 5)).await.expect("published");
    released.commit().await.expect("released");
    tx.commit().await.expect("committed");
    assert_eq!((effects(h).await, published(h).await), (0, 2));
    assert_eq!(published_where(h, "aggregateid in ('kept', 'released')").await, 2);
}

pub(super) async fn a_listeners_events_commit_with_its_position<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    effect::<H>(&mut open, 0).await;
    open.tx().publish(&Placed("a", 1)).await.expect("published");
    let Ok(next) = open.commit_and_begin(at(1)).await else { panic!("the chain goes on") };
    assert_eq!((effects(h).await, published(h).await, position(h).await), (1, 1, 1));
    let mut open = fresh(next);
    open.tx().publish(&Placed("a", 2)).await.expect("published");
    commit(open).await.close().await;
    assert_eq!((published(h).await, position(h).await), (2, 2));
}

pub(super) async fn an_attempt_that_fails_publishes_nothing<H: Harness>(h: &H) {
    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    open.tx().publish(&Placed("a", 1)).await.expect("published");
    let rest = open.rollback().await;
    let idle =
        rest.reopen(h.store(), options(DEADLINE)).await.map_err(|(error, _)| error).expect("on it goes");
    // The next attempt on this connection has nothing of it.
    handle::<H>(idle, at(0)).await.close().await;
    assert_eq!((effects(h).await, published(h).await), (1, 0));
}

pub(super) async fn a_listeners_ids_are_the_same_when_the_record_is_handled_again<H: Harness>(h: &H) {
    let record =
        Record::builder("event.order").at(0, 0).timestamp_ms(7).header("traceparent", "00-t-s-01").build();
    let mut idle = owner(h, 0).await;
    for _ in 0..2 {
        let mut open = fresh(begin(idle, at(0)).await);
        let tx = open.tx_to_handle(&record);
        tx.publish(&Placed("a", 1)).await.expect("published");
        tx.publish(&Placed("a", 1)).await.expect("published");
        commit(open).await.close().await;
        h.outside(&format!("update {}eos_position set next_offset = 0", h.store().schema)).await;
        idle = owner(h, 0).await;
    }
    idle.close().await;
    let ids = format!("select count(distinct id) from {}eos_outbox", h.store().schema);
    assert_eq!((published(h).await, h.number(&ids).await), (4, 2), "two ids, each twice");
    assert_eq!(published_where(h, "headers like '%\"traceparent\":\"00-t-s-01\"%'").await, 4);
}

pub(super) async fn a_service_that_swallows_an_sql_error_is_not_told_that_it_committed<H: Harness>(h: &H) {
    let mut tx = begin_tx(h).await;
    H::write(&mut tx, "insert into effect (n) values (1)").await.expect("written");
    H::write(&mut tx, "insert into no_such_table (n) values (1)").await.expect_err("no such table");
    let outcome = tx.commit().await;
    assert_eq!(outcome.is_err(), H::ERROR_ABORTS, "{outcome:?}");
    assert_eq!(effects(h).await, i64::from(!H::ERROR_ABORTS));
    let mut tx = begin_tx(h).await;
    H::write(&mut tx, "insert into no_such_table (n) values (1)").await.expect_err("no such table");
    // Where the database goes on after an error, so does the transaction, and its events leave.
    let published_then = tx.publish(&Placed("a", 1)).await;
    published_then.expect("kept in memory");
    let outcome = tx.commit().await;
    assert_eq!((outcome.is_err(), published(h).await), (H::ERROR_ABORTS, i64::from(!H::ERROR_ABORTS)));
}

/// What `#[outbox]` prints, in short.
async fn method<H: Harness>(
    source: impl Into<TxSource<'_, H::D>>,
    outcome: Result<Emit<u32>, TxError>,
) -> Result<u32, TxError> {
    let mut scope = Scope::new(source.into(), ScopeOptions::default())?;
    let tx = scope.tx().await?;
    H::write(tx, "insert into effect (n) values (1)").await.map_err(TxError::Commit)?;
    match scope.end(outcome.outcome()).await {
        Ended::Done(result) => result,
        Ended::Again => panic!("no retries were asked for"),
    }
}

pub(super) async fn a_method_that_failed_in_a_joined_transaction_forbids_its_commit<H: Harness>(h: &H) {
    let store = &**h.store();
    let own = method::<H>(store, Ok(Emit::new(7).event(Placed("a", 1)))).await;
    assert_eq!((own.expect("done"), effects(h).await, published(h).await), (7, 1, 1));
    method::<H>(store, Err(TxError::RollbackOnly)).await.expect_err("its own error");
    assert_eq!((effects(h).await, published(h).await), (1, 1), "rolled back");

    let mut tx = begin_tx(h).await;
    method::<H>(&mut tx, Ok(Emit::new(8).event(Placed("b", 1)))).await.expect("it joins");
    method::<H>(&mut tx, Err(TxError::RollbackOnly)).await.expect_err("swallowed");
    assert!(matches!(tx.commit().await, Err(TxError::RollbackOnly)));
    assert_eq!((effects(h).await, published(h).await), (1, 1));

    let mut open = fresh(begin(owner(h, 0).await, at(0)).await);
    method::<H>(open.tx(), Err(TxError::RollbackOnly)).await.expect_err("swallowed by the handler");
    let Err((CommitFailed::RolledBack(_), rest)) = open.commit().await else { panic!("it committed") };
    rest.into_hold().await;
    assert_eq!((effects(h).await, published(h).await, position(h).await), (1, 1, 0));
}

pub(super) async fn a_method_that_failed_in_a_savepoint_forbids_nothing_more<H: Harness>(h: &H) {
    let mut tx = begin_tx(h).await;
    let mut savepoint = tx.begin().await.expect("a savepoint");
    method::<H>(&mut *savepoint, Err(TxError::RollbackOnly)).await.expect_err("it failed");
    savepoint.rollback().await.expect("rolled back");
    method::<H>(&mut tx, Ok(Emit::new(8).event(Placed("b", 1)))).await.expect("it joins");
    tx.commit().await.expect("committed");
    assert_eq!((effects(h).await, published(h).await), (1, 1));
}

pub(super) async fn keys_payloads_and_headers_of_any_bytes_are_kept<H: Harness>(h: &H) {
    let mut tx = begin_tx(h).await;
    let headers: Headers = [("type", &b"Avro"[..]), ("bin", &[0xff, 0x00][..])].into_iter().collect();
    tx.publish_to("t", &[0xffu8, 0x00][..], vec![0u8, 1, 0xff], headers).await.expect("bytes");
    tx.publish_to("t", "größe", None::<&str>, Headers::default()).await.expect("a tombstone");
    tx.publish_to("t", None::<&str>, "", Headers::default()).await.expect("an empty payload, no key");
    tx.commit().await.expect("committed");
    let binary =
        "type = 'Avro' and aggregateid = '\\xff00' and headers = '[[\"bin\",{\"base64\":\"/wA=\"}]]'";
    let binary = if H::ESCAPES { binary.replace('\\', "\\\\") } else { binary.to_owned() };
    assert_eq!(published_where(h, &format!("{binary} and length(payload) = 3")).await, 1);
    assert_eq!(published_where(h, "aggregateid = 'größe' and payload is null and headers is null").await, 1);
    assert_eq!(published_where(h, "aggregateid is null and length(payload) = 0 and type = ''").await, 1);
    let mut tx = begin_tx(h).await;
    let error = tx.publish_to("${no.such.key}", "k", "v", Headers::default()).await.expect_err("no value");
    assert!(format!("{:?}", std::error::Error::source(&error)).contains("no.such.key"), "{error:?}");
    tx.rollback().await.expect("rolled back");
}

pub(super) async fn rows_of_others_need_debeziums_columns_alone<H: Harness>(h: &H) {
    let schema = &h.store().schema;
    let insert = format!(
        "insert into {schema}eos_outbox (id, aggregatetype, aggregateid, type, payload) \
         values ('0192f0c1-0000-7000-8000-000000000001', 'Order', '7', 'OrderPlaced', '{{}}')"
    );
    h.outside(&insert).await;
    let complete = "topic is null and broker = 'kafka' and attempts = 0 and slot between 0 and 1023 and created_at is not null";
    assert_eq!(published_where(h, complete).await, 1);
    if !H::MAKES_IDS {
        return;
    }
    let few = format!("insert into {schema}eos_outbox (aggregatetype) values ('Order')");
    h.outside(&few).await;
    h.outside(&few).await;
    let ids = format!("select count(distinct id) from {schema}eos_outbox");
    assert_eq!(h.number(&ids).await, 3, "ids are made where they are not given");
}

pub(super) async fn what_has_the_same_key_is_in_the_same_slot<H: Harness>(h: &H) {
    let mut tx = begin_tx(h).await;
    for number in 0..200 {
        let key = format!("order-{}", number % 100);
        tx.publish_to("t", key, "v", Headers::default()).await.expect("published");
    }
    tx.commit().await.expect("committed");
    let schema = &h.store().schema;
    h.outside(&format!(
        "insert into {schema}eos_outbox (id, aggregatetype, aggregateid) \
         values ('0192f0c1-0000-7000-8000-000000000001', 'Order', 'order-7')"
    ))
    .await;
    let keys = format!("select count(distinct aggregateid) from {schema}eos_outbox");
    let pairs =
        format!("select count(*) from (select distinct aggregateid, slot from {schema}eos_outbox) pairs");
    assert_eq!((h.number(&keys).await, h.number(&pairs).await), (100, 100), "one slot a key");
    let slots = format!("select count(distinct slot) from {schema}eos_outbox");
    assert!(h.number(&slots).await > 5, "and keys are spread");
}

pub(super) async fn many_events_of_one_transaction_keep_their_order<H: Harness>(h: &H) {
    let mut tx = begin_tx(h).await;
    for number in 0..2_500 {
        tx.publish_to("t", "k", number, Headers::default()).await.expect("published");
    }
    tx.commit().await.expect("committed");
    let schema = &h.store().schema;
    let first = h.number(&format!("select min(seq) from {schema}eos_outbox")).await;
    // Numbers of several digits sort as text where they have as many.
    let out_of_order = format!(
        "select count(*) from {schema}eos_outbox x join {schema}eos_outbox y \
         on y.seq = x.seq + 1 and length(y.payload) = length(x.payload) and y.payload <= x.payload"
    );
    assert_eq!((published(h).await, h.number(&out_of_order).await), (2_500, 0));
    assert!(first >= 1);
}

pub(super) async fn the_depth_is_of_what_waits_and_not_of_what_was_refused_or_is_kept<H: Harness>(h: &H) {
    let depth = async || H::D::depth(h.store()).await.expect("it is read");
    assert_eq!((depth().await.waiting, depth().await.oldest), (0, Duration::ZERO));
    let mut tx = begin_tx(h).await;
    tx.publish_all(&[Placed("a", 1), Placed("b", 2), Placed("c", 3)]).await.expect("published");
    tx.commit().await.expect("committed");
    assert_eq!(depth().await.waiting, 3);

    let look = Look { slots: 0..SLOTS, above: 0, held: &[], taken: &[], limit: 10 };
    let waiting = H::D::read(h.store(), &look).await.expect("it is read");
    let taken = [waiting[0].seq, waiting[2].seq];
    let others = H::D::read(h.store(), &Look { taken: &taken, limit: 1, ..look }).await;
    let others: Vec<_> = others.expect("it is read").iter().map(|waiting| waiting.seq).collect();
    assert_eq!(others, [waiting[1].seq], "what was read before is left out, and takes nobody's place");
    H::D::left(h.store(), &[waiting[0].sent()], Afterwards::Keep).await.expect("it is marked");
    H::D::refuse(h.store(), waiting[1].seq, Refusal::Record, "too large").await.expect("it is marked");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let deep = depth().await;
    assert_eq!(deep.waiting, 1);
    for age in [deep.oldest, waiting[2].created.elapsed()] {
        assert!(age > Duration::from_millis(40) && age < Duration::from_secs(60), "{age:?}");
    }
}
