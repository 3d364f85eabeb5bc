//! What it means: a method with every question answered.
//!
//! `words` reads the attribute's arguments, `signature` the function's shape. Here they meet: what is tried again is
//! called with copies, which neither `self` by value nor `&mut self` can be.

mod signature;
mod words;

use syn::punctuated::Punctuated;
use syn::{Attribute, Pat, PatType, Receiver, Signature, Token, Type, Visibility};

use super::args::{Body, Function};
use crate::shared::arguments::Argument;
use crate::shared::isolation::Isolation;
use crate::shared::mistakes::Mistakes;

/// One method, ready to be printed.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    /// As it was typed, without its parameters.
    pub(crate) signature: Signature,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) transaction: Transaction,
    /// What the function is declared to return.
    pub(crate) returns: Type,
    /// The level to begin with, or to find; `None` is whatever there is.
    pub(crate) isolation: Option<Isolation>,
    pub(crate) tries: Tries,
    pub(crate) body: Body,
}

/// What the function takes, in its order.
#[derive(Debug)]
pub(crate) enum Parameter {
    /// `self`, in whatever form.
    Receiver(Receiver),
    /// `&mut T`, of which there is one; the model holds it.
    Transaction,
    /// Everything else.
    Value(PatType),
}

/// The parameter `&mut T` that is the transaction.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) pattern: Pat,
    /// `&mut T`.
    pub(crate) reference: Type,
    /// The `T`.
    pub(crate) inner: Type,
}

/// How often the body may run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tries {
    Once,
    /// Once, and this often again.
    Again(u32),
}

impl Method {
    /// Reads both halves to their end, whatever is wrong with the first. Without a mistake in the function's shape,
    /// there is a method.
    pub(crate) fn read(
        arguments: &[Argument],
        function: Option<Function>,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let mut words = words::Words::read(arguments, mistakes);
        let Function { attributes, visibility, mut signature, body } = function?;
        let before = mistakes.len();
        others_of_ours(&attributes, mistakes);
        let shape = signature::Shape::read(&signature, mistakes);
        let is_a_method = mistakes.len() == before;
        if let (Tries::Again(_), Some(receiver)) = (words.tries, shape.receiver())
            && !signature::is_shared(receiver)
        {
            mistakes.at(
                receiver,
                "with `retries` the body runs again, and this `self` is there once; take `&self`, or take `retries` away",
            );
            words.tries = Tries::Once;
        }
        signature.inputs = Punctuated::<_, Token![,]>::new();
        Some(Method {
            attributes,
            visibility,
            signature,
            parameters: shape.parameters,
            transaction: shape.transaction.filter(|_| is_a_method)?,
            returns: shape.returns?,
            isolation: words.isolation,
            tries: words.tries,
            body,
        })
    }
}

/// Attributes of eos that cannot stand on the same function.
fn others_of_ours(attributes: &[Attribute], mistakes: &mut Mistakes) {
    for attribute in attributes {
        let Some(last) = attribute.path().segments.last() else { continue };
        if last.ident == "kafka_listener" {
            mistakes.at(
                attribute,
                "a listener has its transaction already; take `#[outbox]` away, and publish with \
                 `tx.publish(&event).await?`",
            );
        } else if last.ident == "outbox" {
            mistakes.at(attribute, "`#[outbox]` stands here twice; keep one");
        }
    }
}
