//! Who should have which slots.
//!
//! A pure function of what stands in the tables, asked under a lock that every relay takes, so that two relays never
//! decide on different grounds. Each decides about itself alone: it takes a free lane if it is the poorest, and gives some
//! of its own away if it is the richest. What is given away was quiet before, so it is only *wanted* here.

use std::collections::BTreeMap;

use crate::store::{Change, Lane, Lanes, SLOTS, Slot};

/// Lanes begin and end at multiples of this, so there are at most sixteen.
pub(super) const GRAIN: Slot = 64;

/// Free lanes that are mine to take.
pub(super) fn takes(me: &str, lanes: &Lanes) -> Vec<Change> {
    let mut loads = loads(lanes);
    let mut takes = Vec::new();
    for lane in lanes.lanes.iter().filter(|lane| lane.owner.is_none()) {
        let Some(poorest) = poorest(&loads) else { continue };
        *loads.entry(poorest.clone()).or_default() += size(lane);
        if poorest == me {
            takes.push(Change::Take(lane.slots.start));
        }
    }
    takes
}

/// What I should do with a lane of mine once it is quiet: give it away, give a half of it away, or join it to the next.
pub(super) fn wish(me: &str, lanes: &Lanes) -> Option<Change> {
    if lanes.lanes.iter().any(|lane| lane.owner.is_none()) {
        return None;
    }
    let loads = loads(lanes);
    let mine: Vec<&Lane> = lanes.lanes.iter().filter(|lane| lane.owner.as_deref() == Some(me)).collect();
    let (richest, poorest) = (richest(&loads)?, poorest(&loads)?);
    let surplus = (loads.get(&richest)? - loads.get(&poorest)?) / 2;
    if richest == me && surplus >= GRAIN {
        let whole = mine.iter().filter(|lane| size(lane) <= surplus).max_by_key(|lane| size(lane));
        return match whole {
            Some(lane) => Some(Change::Release(lane.slots.start)),
            None => {
                let lane = mine.iter().max_by_key(|lane| size(lane))?;
                Some(Change::Split(lane.slots.start, lane.slots.end - surplus / GRAIN * GRAIN))
            }
        };
    }
    let pairs = mine.iter().zip(mine.iter().skip(1));
    let mut next = pairs.filter(|(one, other)| one.slots.end == other.slots.start);
    next.next().map(|(one, other)| Change::Merge(one.slots.start, other.slots.start))
}

/// How many slots each relay has; also those that have none.
fn loads(lanes: &Lanes) -> BTreeMap<String, Slot> {
    let mut loads: BTreeMap<String, Slot> = lanes.relays.iter().map(|relay| (relay.clone(), 0)).collect();
    for lane in &lanes.lanes {
        if let Some(load) = lane.owner.as_ref().and_then(|owner| loads.get_mut(owner)) {
            *load += size(lane);
        }
    }
    loads
}

fn poorest(loads: &BTreeMap<String, Slot>) -> Option<String> {
    loads.iter().min_by_key(|(_, load)| **load).map(|(relay, _)| relay.clone())
}

/// The first of them, where several are.
fn richest(loads: &BTreeMap<String, Slot>) -> Option<String> {
    let most = loads.values().max()?;
    loads.iter().find(|(_, load)| *load == most).map(|(relay, _)| relay.clone())
}

fn size(lane: &Lane) -> Slot {
    lane.slots.end - lane.slots.start
}

/// Whether the lanes are all slots, each once: what every change keeps.
pub(super) fn are_whole(lanes: &[Lane]) -> bool {
    let mut next = 0;
    for lane in lanes {
        if lane.slots.start != next || lane.slots.end <= next {
            return false;
        }
        next = lane.slots.end;
    }
    next == SLOTS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the statements of a change do.
    fn apply(lanes: &mut Lanes, me: &str, change: &Change) {
        let at = |lanes: &Lanes, slot: Slot| {
            lanes.lanes.iter().position(|lane| lane.slots.start == slot).expect("there is such a lane")
        };
        match *change {
            Change::Take(slot) => {
                let at = at(lanes, slot);
                lanes.lanes[at].owner = Some(me.to_owned());
            }
            Change::Renew(_) => {}
            Change::Release(slot) => {
                let at = at(lanes, slot);
                lanes.lanes[at].owner = None;
            }
            Change::Split(slot, middle) => {
                let at = at(lanes, slot);
                let end = lanes.lanes[at].slots.end;
                assert!(slot < middle && middle < end, "{slot} < {middle} < {end}");
                lanes.lanes[at].slots.end = middle;
                lanes.lanes.insert(at + 1, Lane { slots: middle..end, epoch: 0, owner: None });
            }
            Change::Merge(slot, next) => {
                let (one, other) = (at(lanes, slot), at(lanes, next));
                assert_eq!(lanes.lanes[other].owner.as_deref(), Some(me));
                lanes.lanes[one].slots.end = lanes.lanes[other].slots.end;
                lanes.lanes.remove(other);
            }
        }
        assert!(are_whole(&lanes.lanes), "{lanes:?}");
    }

    /// One relay's turn; whether it changed anything.
    fn turn(lanes: &mut Lanes, me: &str) -> bool {
        let mut changes = takes(me, lanes);
        if changes.is_empty() {
            changes.extend(wish(me, lanes));
        }
        for change in &changes {
            apply(lanes, me, change);
        }
        !changes.is_empty()
    }

    fn name(number: u8) -> String {
        format!("relay-{number:03}")
    }

    proptest! {
        /// Whatever relays come and go, in whatever order they have their turns: after a few rounds everybody has a
        /// fair share, nothing is free, and nothing moves any more.
        #[test]
        fn relays_that_come_and_go_end_with_fair_shares(
            events in prop::collection::vec((any::<bool>(), 0u8..6, prop::collection::vec(0u8..6, 0..8)), 1..20)
        ) {
            let mut lanes = Lanes {
                relays: vec![name(0)],
                lanes: vec![Lane { slots: 0..SLOTS, epoch: 0, owner: None }],
            };
            for (joins, who, turns) in events {
                let who = name(who);
                if joins {
                    if !lanes.relays.contains(&who) {
                        lanes.relays.push(who);
                        lanes.relays.sort();
                    }
                } else if lanes.relays.len() > 1 {
                    lanes.relays.retain(|relay| *relay != who);
                    for lane in &mut lanes.lanes {
                        if lane.owner.as_deref() == Some(who.as_str()) {
                            lane.owner = None;
                        }
                    }
                }
                for me in turns.into_iter().map(name) {
                    if lanes.relays.contains(&me) {
                        turn(&mut lanes, &me);
                    }
                }
            }
            let mut rounds = 0;
            while lanes.relays.clone().iter().fold(false, |moved, me| turn(&mut lanes, me) | moved) {
                rounds += 1;
                prop_assert!(rounds < 64, "it comes to rest: {lanes:?}");
            }
            let loads = loads(&lanes);
            let (most, least) = (loads.values().max().copied(), loads.values().min().copied());
            prop_assert!(most.unwrap_or(0) - least.unwrap_or(0) < 2 * GRAIN, "{loads:?}");
            prop_assert_eq!(loads.values().sum::<Slot>(), SLOTS);
        }
    }

    #[test]
    fn the_first_takes_all_and_the_second_gets_a_half() {
        let mut lanes = Lanes {
            relays: vec!["a".to_owned()],
            lanes: vec![Lane { slots: 0..SLOTS, epoch: 0, owner: None }],
        };
        assert!(turn(&mut lanes, "a"));
        lanes.relays.push("b".to_owned());
        assert!(!turn(&mut lanes, "b"), "nothing is free yet");
        assert!(turn(&mut lanes, "a"));
        assert!(turn(&mut lanes, "b"));
        let owners: Vec<_> =
            lanes.lanes.iter().map(|lane| (lane.slots.clone(), lane.owner.clone())).collect();
        assert_eq!(owners, [(0..512, Some("a".to_owned())), (512..1024, Some("b".to_owned()))]);
    }
}
