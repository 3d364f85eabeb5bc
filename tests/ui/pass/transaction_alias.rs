//! Which parameter is the transaction is for a trait to say, not for its name.

use eos_runtime::prelude::*;

type Db = PgTx;
type Borrowed<T> = T;

#[kafka_listener(topic = "alias.own", transactional)]
async fn own_name(db: &mut Db) -> HandlerResult {
    let _ = db;
    Ok(())
}

#[kafka_listener(topic = "alias.generic", transactional())]
async fn through_a_generic_one(db: &mut Borrowed<Db>) -> HandlerResult {
    let _ = db;
    Ok(())
}

#[kafka_listener(topic = "alias.mysql", transactional)]
async fn mysql(tx: &mut eos_runtime::MySqlTx) -> HandlerResult {
    let _ = tx;
    Ok(())
}

#[kafka_listener(topic = "alias.sqlite", transactional)]
async fn sqlite(tx: &mut eos_runtime::Tx<<SqliteTx as Named>::Database>) -> HandlerResult {
    let _ = tx;
    Ok(())
}

trait Named {
    type Database;
}

impl<DB: eos_runtime::TxDatabase> Named for eos_runtime::Tx<DB> {
    type Database = DB;
}
