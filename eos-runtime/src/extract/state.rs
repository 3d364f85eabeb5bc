//! What the application gave to its listeners: one value a type.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;

use super::{Delivery, FromRecord, Needs, Rejection};

/// A value given by `app().state(value)`, cloned for each record as in axum; put an `Arc` in what is costly to clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State<S>(pub S);

impl<S: Clone + Send + Sync + 'static> FromRecord for State<S> {
    fn needs(needs: &mut Needs) {
        needs.state::<S>();
    }

    fn from_record(delivery: &Delivery<'_>) -> Result<Self, Rejection> {
        delivery.state::<S>().cloned().map(State).ok_or_else(|| {
            Rejection::again(format!("no state of type `{}`; give one by `app().state(…)`", type_name::<S>()))
        })
    }
}

/// The application's states, shared by all listeners and never changed after start.
#[derive(Debug, Clone, Default)]
pub(crate) struct States {
    by_type: Arc<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
}

impl States {
    pub(crate) fn new(by_type: HashMap<TypeId, Box<dyn Any + Send + Sync>>) -> Self {
        States { by_type: Arc::new(by_type) }
    }

    pub(crate) fn get<S: Send + Sync + 'static>(&self) -> Option<&S> {
        self.by_type.get(&TypeId::of::<S>()).and_then(|value| value.downcast_ref())
    }

    pub(crate) fn has(&self, type_id: TypeId) -> bool {
        self.by_type.contains_key(&type_id)
    }
}
