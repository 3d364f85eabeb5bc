//! `#[outbox]` on every legal shape: its parameters, its results, its callers, and that its future can be sent.

use std::cell::Cell;
use std::fmt::Debug;
use std::sync::Arc;

use eos_runtime::prelude::*;
use eos_runtime::{TxDatabase, TxError};
use sqlx::{MySqlPool, PgPool, SqlitePool};

type Db = PgTx;
type Outcome<T> = Result<T, OrderError>;

#[derive(Event, Serialize, Deserialize, Clone, Debug)]
#[event(topic = "outbox.order", key = id)]
pub(crate) struct OrderPlaced {
    id: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("no such article")]
    NoSuchArticle,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Transaction(#[from] TxError),
}

#[derive(Clone)]
struct CreateOrder {
    id: u64,
    articles: Vec<u64>,
}

struct Orders {
    name: String,
    count: u64,
}

impl Orders {
    /// Documented, and with what a body does: `?`, `return`, a query, an event besides.
    #[outbox]
    pub(crate) async fn create(&self, tx: &mut PgTx, order: CreateOrder) -> Result<OrderPlaced, OrderError> {
        if order.articles.is_empty() {
            return Err(OrderError::NoSuchArticle);
        }
        sqlx::query("insert into orders (id) values ($1)").bind(1_i64).execute(&mut *tx).await?;
        tx.publish(&OrderPlaced { id: 0 }).await?;
        if order.articles.len() == 1 {
            return Ok(OrderPlaced { id: order.articles[0] });
        }
        Ok(OrderPlaced { id: order.id })
    }

    /// Calls another, which joins, and once more through the same reference.
    #[outbox]
    async fn create_all(&self, tx: &mut Db, orders: &[CreateOrder]) -> Outcome<Vec<OrderPlaced>> {
        let mut placed = Vec::new();
        for order in orders {
            placed.push(self.create(&mut *tx, order.clone()).await?);
        }
        placed.extend(self.create(tx, CreateOrder { id: 1, articles: Vec::new() }).await.ok());
        Ok(placed)
    }

    #[outbox]
    async fn count(&mut self, tx: &mut PgTx) -> Outcome<Emit<&u64>> {
        let _ = tx;
        self.count += 1;
        Ok(Emit::new(&self.count).event(OrderPlaced { id: 1 }))
    }

    #[outbox(isolation = "serializable")]
    async fn consume(self, tx: &mut PgTx) -> Outcome<Emit<String>> {
        drop(tx.begin().await?);
        Ok(Emit::new(self.name))
    }

    #[outbox]
    async fn shared(self: Arc<Self>, id: u64, tx: &mut PgTx) -> Outcome<Option<OrderPlaced>> {
        let _ = tx;
        Ok((self.count == id).then_some(OrderPlaced { id }))
    }

    /// Borrows from `self`, as without the attribute.
    #[outbox]
    async fn name(&self, _: &mut PgTx, _unused: &str) -> Outcome<Emit<&str>> {
        Ok(Emit::new(&self.name))
    }

    #[outbox(retries = 3, isolation = "repeatable_read")]
    async fn again(
        &self,
        CreateOrder { id, articles }: CreateOrder,
        tx: &mut PgTx,
        mut left: u64,
        names: &[String],
        _: bool,
        label: impl Into<String> + Clone,
    ) -> Outcome<OrderPlaced> {
        left -= 1;
        tx.publish(&OrderPlaced { id: left }).await?;
        drop((articles, names, label.into()));
        Ok(OrderPlaced { id })
    }

    #[outbox(retries = 1)]
    async fn again_shared(self: &Arc<Self>, tx: &mut PgTx) -> Outcome<()> {
        let _ = (tx, &self.name);
        Ok(())
    }
}

struct Repository<'r, T> {
    rows: &'r [T],
}

impl<'r, T: Event + Clone + Send + Sync> Repository<'r, T> {
    #[outbox]
    async fn first<'n, E, F>(
        &self,
        tx: &mut PgTx,
        _name: &'n str,
        error: F,
    ) -> Result<Emit<(&'r T, &'n str)>, E>
    where
        E: From<TxError> + Debug,
        F: FnOnce() -> E,
    {
        let _ = tx;
        let first = self.rows.first().ok_or_else(error)?;
        Ok(Emit::new((first, _name)).event(first.clone()))
    }

    #[outbox]
    async fn events(&self, tx: &mut PgTx) -> Result<Vec<T>, TxError> {
        tx.publish_all(self.rows).await?;
        Ok(self.rows.to_vec())
    }
}

/// Of any database, and no method.
#[outbox]
async fn of_any<DB: TxDatabase, const N: usize>(
    tx: &mut eos_runtime::Tx<DB>,
    id: [u64; N],
) -> Outcome<OrderPlaced> {
    let id = id.iter().sum();
    tx.publish(&OrderPlaced { id }).await?;
    Ok(OrderPlaced { id })
}

#[outbox]
async fn mysql(tx: &mut MySqlTx) -> Outcome<()> {
    let _ = tx;
    Ok(())
}

#[outbox]
async fn sqlite(mut tx: &mut SqliteTx, buffer: &mut Vec<u8>) -> Outcome<()> {
    buffer.clear();
    let other = &mut tx;
    of_any::<_, 1>(&mut **other, [1]).await?;
    Ok(())
}

/// Any error that holds one of ours, through a coercion that knows what it is for.
#[outbox]
async fn boxed(tx: &mut PgTx, id: u64) -> Result<OrderPlaced, Box<dyn std::error::Error + Send + Sync>> {
    let _ = tx;
    if id == 0 { Err(Box::new(OrderError::NoSuchArticle)) } else { Ok(OrderPlaced { id }) }
}

#[outbox()]
async fn anyhow(_tx: &mut PgTx) -> anyhow::Result<OrderPlaced> {
    anyhow::bail!("nothing")
}

#[outbox]
#[must_use]
#[expect(unused_variables, reason = "it reaches the body")]
async fn attributes_below(
    tx: &mut PgTx,
    #[allow(unused_mut, reason = "as above")] mut id: u64,
) -> Outcome<()> {
    #![allow(dead_code, reason = "inside")]
    fn unused() {}
    Ok(())
}

/// Its arguments are written down, the transaction's too.
#[tracing::instrument]
#[outbox]
async fn instrumented_above(tx: &mut PgTx, id: u64) -> Outcome<()> {
    let _ = tx;
    Ok(())
}

#[outbox(retries = 2)]
#[tracing::instrument(fields(order = id), err)]
async fn instrumented_below(tx: &mut PgTx, id: u64) -> Outcome<()> {
    let _ = (tx, id);
    Ok(())
}

#[cfg(any())]
#[outbox]
async fn not_here(_: NoSuchType) -> HandlerResult {}

#[outbox]
#[cfg(any())]
async fn not_here_either(_: &mut NoSuchType) -> NoSuchType {}

#[outbox]
#[deprecated = "place it elsewhere"]
pub(crate) async fn old(tx: &mut PgTx) -> Outcome<()> {
    let _ = tx;
    Ok(())
}

/// The names that the expansion uses inside are the user's to use.
#[outbox(retries = 1)]
async fn names(__scope: &mut PgTx, __outcome: u64, __result: u64) -> Outcome<()> {
    __scope.publish(&OrderPlaced { id: __outcome + __result }).await?;
    Ok(())
}

macro_rules! method {
    ($name:ident, $tx:ident: $ty:ty, $retries:literal, $body:block) => {
        #[outbox(retries = $retries)]
        async fn $name($tx: $ty) -> Outcome<()> $body
    };
}

method!(made_by_a_macro, tx: &mut PgTx, 5, {
    let _ = tx;
    Ok(())
});

/// A body of the trait's own.
trait Places {
    fn id(&self) -> u64;

    #[outbox]
    async fn place(&self, tx: &mut PgTx) -> Outcome<OrderPlaced>
    where
        Self: Sync,
    {
        let _ = tx;
        Ok(OrderPlaced { id: self.id() })
    }
}

impl Places for Orders {
    fn id(&self) -> u64 {
        self.count
    }
}

/// A trait's method that joins, through one of the type's own.
trait Places2 {
    fn place2(&self, tx: &mut PgTx, id: u64) -> impl Future<Output = Outcome<OrderPlaced>> + Send;
}

impl Places2 for Orders {
    async fn place2(&self, tx: &mut PgTx, id: u64) -> Outcome<OrderPlaced> {
        self.create(tx, CreateOrder { id, articles: vec![id] }).await
    }
}

#[kafka_listener(transactional)]
async fn on_order(tx: &mut PgTx, event: OrderPlaced, State(orders): State<Arc<Orders>>) -> HandlerResult {
    let order = CreateOrder { id: event.id, articles: Vec::new() };
    orders.create(&mut *tx, order.clone()).await.map_err(HandlerError::again)?;
    orders.create_all(tx, &[order]).await.map_err(HandlerError::again)?;
    Ok(())
}

/// An argument that cannot be shared among threads, but given to one.
#[outbox]
async fn not_sync(tx: &mut PgTx, cell: Cell<u64>) -> Outcome<()> {
    tx.publish(&OrderPlaced { id: cell.get() }).await?;
    cell.set(1);
    Ok(())
}

fn sent<T>(future: impl Future<Output = T> + Send) -> impl Future<Output = T> + Send {
    future
}

#[expect(dead_code, reason = "it compiles, which is all that is asked")]
async fn called(
    orders: Arc<Orders>,
    pools: (PgPool, MySqlPool, SqlitePool),
    mut tx: PgTx,
) -> Result<(), OrderError> {
    let pool = &pools.0;
    let order = CreateOrder { id: 7, articles: vec![1, 2] };
    let _: OrderPlaced = sent(orders.create(pool, order.clone())).await?;
    let _: OrderPlaced = sent(orders.create(&mut tx, order.clone())).await?;
    let _: Vec<OrderPlaced> = sent(orders.create_all(pool, &[])).await?;
    let _: Vec<OrderPlaced> = sent(orders.create_all(&mut tx, &[])).await?;
    let _: String = Orders { name: String::new(), count: 0 }.consume(pool).await?;
    let _: &u64 = sent(Orders { name: String::new(), count: 0 }.count(pool)).await?;
    let _: Option<OrderPlaced> = sent(Arc::clone(&orders).shared(7, pool)).await?;
    let _: &str = sent(orders.name(&mut tx, "")).await?;
    let _: OrderPlaced = sent(orders.again(order, pool, 1, &[], true, "")).await?;
    sent(orders.again_shared(&mut tx)).await?;
    let rows = [OrderPlaced { id: 1 }];
    let repository = Repository { rows: &rows };
    let _: (&OrderPlaced, &str) = sent(repository.first(pool, "", || OrderError::NoSuchArticle)).await?;
    let _: Vec<OrderPlaced> = sent(repository.events(&mut tx)).await?;
    sent(of_any::<sqlx::Postgres, 2>(pool, [1, 2])).await?;
    sent(mysql(&pools.1)).await?;
    sent(sqlite(&pools.2, &mut Vec::new())).await?;
    drop((boxed(pool, 1).await, anyhow(pool).await));
    attributes_below(pool, 1).await?;
    sent(instrumented_above(pool, 1)).await?;
    sent(instrumented_below(&mut tx, 1)).await?;
    sent(names(pool, 1, 2)).await?;
    sent(made_by_a_macro(&mut tx)).await?;
    sent(not_sync(pool, Cell::new(1))).await?;
    orders.place(&mut tx).await?;
    sent(orders.place2(&mut tx, 1)).await?;
    tx.commit().await?;
    let spawned = tokio::spawn(async move {
        let mut tx = eos_runtime::begin(&pools.0).await?;
        orders.create_all(&mut tx, &[]).await?;
        tx.commit().await?;
        orders.create_all(&pools.0, &[]).await
    });
    spawned.await.expect("it ends").map(drop)
}
