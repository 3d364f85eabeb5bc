//! What handlers without a database have done: told by them at their ends, and compared with the ledger.

use std::collections::BTreeMap;

use crate::order::{Order, What};
use crate::scene::Scene;
use crate::waiting::{PATIENCE, eventually};

/// How often each order's handler came to its end.
pub fn finished(scene: &Scene) -> BTreeMap<String, usize> {
    let ledger = scene.ledger();
    let mut finished: BTreeMap<String, usize> =
        ledger.iter().map(|sent| (sent.order.order_id.to_string(), 0)).collect();
    for line in scene.told().lines().iter().filter(|line| line.what == "end") {
        let at = (line.partition, line.offset);
        let sent = ledger.iter().find(|sent| (sent.partition, sent.offset) == at).expect("it was produced");
        *finished.entry(sent.order.order_id.to_string()).or_default() += 1;
    }
    finished
}

/// Waits until the group's offsets are behind every record.
pub async fn is_done_with_all(scene: &Scene) {
    let mut ends = BTreeMap::new();
    for sent in scene.ledger() {
        let end = ends.entry(sent.partition).or_insert(0);
        *end = (sent.offset + 1).max(*end);
    }
    let partitions = ends.keys().max().expect("something was produced") + 1;
    eventually("every record is done with", PATIENCE, async || {
        let committed = scene.kafka.committed(&scene.group, &scene.topic, partitions).await;
        let at = |partition: &i32| committed.get(*partition as usize).copied().flatten();
        if ends.iter().all(|(partition, end)| at(partition) == Some(*end)) {
            Ok(())
        } else {
            Err(format!("{committed:?} of {ends:?}"))
        }
    })
    .await;
}

/// The same message in two partitions.
pub async fn produce_twins(scene: &Scene, what: What) {
    let order = Order::new(what);
    let id = Some(order.order_id.to_string());
    scene.produce_orders(Some(0), vec![(order.clone(), id.clone())]).await;
    scene.produce_orders(Some(1), vec![(order, id)]).await;
}
