//! Records of every shape that Kafka allows are delivered byte for byte, and each is kept once.

use std::collections::HashMap;

use eos_tests::{Kind, PATIENCE, Scene, Sent, What, eventually};

const SINKS: &str = env!("CARGO_BIN_EXE_sinks");

/// Not UTF-8 in any reading.
const BYTES: [u8; 6] = [0xff, 0xfe, 0x00, 0xc3, 0x28, 0x80];

type Kept = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<Vec<u8>>, Vec<Option<Vec<u8>>>, Option<Vec<u8>>);

#[tokio::test(flavor = "multi_thread")]
async fn records_of_every_shape_arrive_byte_for_byte_and_once() {
    let scene = Scene::new(Kind::Postgres, 1, SINKS).await;
    scene
        .database
        .execute(
            "create table kept (part int, off bigint, key bytea, payload bytea, names bytea[], header_values bytea[], \
             id bytea)",
        )
        .await;
    let records = every_shape();
    let written = scene.kafka.produce(&scene.topic, &records).await;
    // Again from a process that dies in their midst, and from the one that follows it.
    let mut crashes = scene.launch().env("SINK_LISTENER", "keeper").fault("after_commit@4=kill").start();
    crashes.is_killed().await;
    let mut service = scene.launch().env("SINK_LISTENER", "keeper").start();
    let end = written.last().map(|(_, offset)| offset + 1);
    eventually("every record is done with", PATIENCE, async || {
        let at = scene.positions().await.first().map(|position| position.next_offset);
        if at == end { Ok(()) } else { Err(format!("at {at:?} of {end:?}")) }
    })
    .await;
    service.stop().await;

    let rows: Vec<(i64, Kept)> = kept(&scene).await;
    let mut by_offset: HashMap<i64, Vec<Kept>> = HashMap::new();
    for (offset, kept) in rows {
        by_offset.entry(offset).or_default().push(kept);
    }
    for (sent, (_, offset)) in records.iter().zip(&written) {
        let kept = by_offset.remove(offset).unwrap_or_default();
        assert_eq!(kept, [expected(sent)], "offset {offset}");
    }
    assert!(by_offset.is_empty(), "nothing else: {by_offset:?}");

    // Those without an id are not in the inbox; a long id is there by its hash.
    let inbox = scene.database.inbox(&scene.group, &scene.topic).await.expect("an inbox");
    let ids: usize = records.iter().filter(|sent| id_of(sent).is_some_and(|id| !id.is_empty())).count();
    assert_eq!(inbox.len(), ids);
    assert!(inbox.iter().all(|id| id.len() <= 64), "long ids are hashed");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_dead_letters_a_record_that_does_not_parse_stops_its_partition_and_is_named() {
    let scene = Scene::new(Kind::Postgres, 2, SINKS).await;
    scene.produce_to(0, What::Insert, 3).await;
    let broken = Sent { partition: Some(0), payload: Some(BYTES.to_vec()), ..Sent::default() };
    let written = scene.kafka.produce(&scene.topic, &[broken]).await;
    scene.produce_to(1, What::Insert, 5).await;
    let mut service = scene.launch().never_set_aside().start();
    service.has_said("the partition is stopped").await;
    let offset = format!("offset={}", written[0].1);
    assert!(
        service.log().lines().any(|line| line.contains("is stopped") && line.contains(&offset)),
        "it is named"
    );
    scene.has_applied(8).await;
    assert_eq!(scene.applied().await, 8, "the other partition goes on");
    let at: Vec<i64> = scene.positions().await.iter().map(|position| position.next_offset).collect();
    assert_eq!(at, [3, 5], "and nothing is skipped");
    service.stop().await;
}

fn every_shape() -> Vec<Sent> {
    let id = |bytes: &[u8]| ("message-id".to_owned(), Some(bytes.to_vec()));
    let other = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let sent = |payload: Option<&[u8]>, headers: Vec<(String, Option<Vec<u8>>)>| Sent {
        partition: Some(0),
        key: Some(b"key".to_vec()),
        payload: payload.map(<[u8]>::to_vec),
        headers,
    };
    let mut records = vec![
        sent(None, vec![id(b"a tombstone")]),
        sent(Some(b""), vec![id(b"an empty payload")]),
        sent(Some(&vec![b'x'; 900 * 1024]), vec![id(b"a large payload")]),
        sent(Some(&BYTES), vec![id(b"a payload that is no text")]),
        sent(Some(b"{}"), vec![id(&BYTES)]),
        sent(Some(b"{}"), vec![id(b"no text in a header"), other("x", Some(&BYTES))]),
        sent(Some(b"{}"), vec![id(b"a null header"), other("nothing", None), other("empty", Some(b""))]),
        sent(Some(b"{}"), vec![id(b"twice"), other("x", Some(b"1")), other("x", Some(b"2"))]),
        sent(Some(b"{}"), vec![id(&[b'l'; 300])]),
        sent(Some(b"{}"), vec![id(&[b'l'; 301])]),
        sent(Some(b"{}"), vec![id(&[b'm'; 64])]),
        sent(Some(b"no id"), vec![]),
        sent(Some(b"no id"), vec![]),
        sent(Some(b"an empty id"), vec![id(b"")]),
        sent(Some(b"an empty id"), vec![id(b"")]),
        sent(Some(b"a null id"), vec![other("message-id", None)]),
        sent(Some(b"the other name of an id"), vec![other("ce_id", Some(b"cloud"))]),
        sent(Some(b"a business id"), vec![other("id", Some(b"order 1"))]),
        sent(Some(b"a business id"), vec![other("id", Some(b"order 1"))]),
    ];
    records.push(Sent { key: None, ..sent(Some(b"no key"), vec![id(b"no key")]) });
    records.push(Sent { key: Some(vec![]), ..sent(Some(b"an empty key"), vec![id(b"an empty key")]) });
    records
        .push(Sent { key: Some(BYTES.to_vec()), ..sent(Some(b"a key"), vec![id(b"a key that is no text")]) });
    records
}

/// Kafka and sqlx may give the same bytes back, and nothing else.
fn expected(sent: &Sent) -> Kept {
    let names = sent.headers.iter().map(|(name, _)| name.as_bytes().to_vec()).collect();
    let values = sent.headers.iter().map(|(_, value)| value.clone()).collect();
    (sent.key.clone(), sent.payload.clone(), names, values, id_of(sent))
}

fn id_of(sent: &Sent) -> Option<Vec<u8>> {
    let find = |wanted: &str| {
        sent.headers.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.clone())
    };
    find("message-id").or_else(|| find("ce_id"))
}

async fn kept(scene: &Scene) -> Vec<(i64, Kept)> {
    type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Vec<u8>>, Vec<Option<Vec<u8>>>, Option<Vec<u8>>);
    let rows: Vec<Row> =
        sqlx::query_as("select off, key, payload, names, header_values, id from kept order by off")
            .fetch_all(scene.database.postgres())
            .await
            .expect("what was kept can be read");
    rows.into_iter()
        .map(|(offset, key, payload, names, values, id)| (offset, (key, payload, names, values, id)))
        .collect()
}
