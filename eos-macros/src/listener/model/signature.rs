//! The function: an async fn that takes a record apart and returns a `Result`.
//!
//! Only its shape is checked. Whether a type can be taken out of a record, or returned, is for rustc to say, at the
//! type itself.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::{FnArg, PatType, ReturnType, Safety, Signature, Type, TypeReference};

use super::Parameter;
use crate::shared::mistakes::Mistakes;
use crate::shared::types::{mentions_impl, plain};

/// A function's shape.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: Ident,
    pub(super) parameters: Vec<Parameter>,
    pub(super) transaction: Option<Transaction>,
    /// The parameter `Batch<T>` or `Vec<T>`, by its last name: what it takes is for a trait to say.
    pub(super) batch: Option<Type>,
    /// The parameters `&T`.
    pub(super) references: Vec<Type>,
    pub(super) returns: Option<Type>,
}

/// The parameter `&mut T`.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) reference: Type,
    pub(super) inner: Type,
}

impl Transaction {
    /// By its last name, for what is said of it.
    pub(super) fn is_of_kafka(&self) -> bool {
        let Type::Path(path) = &self.inner else { return false };
        path.path.segments.last().is_some_and(|last| last.ident == "KafkaTx")
    }
}

impl Shape {
    pub(super) fn read(function: &Signature, mistakes: &mut Mistakes) -> Self {
        qualifiers(function, mistakes);
        let mut shape = Shape {
            name: function.ident.clone(),
            parameters: Vec::new(),
            transaction: None,
            batch: None,
            references: Vec::new(),
            returns: returns(function, mistakes),
        };
        for input in &function.inputs {
            match input {
                FnArg::Receiver(receiver) => mistakes.at(
                    receiver,
                    "a listener is a free function and has no `self`; take what it needs as `State<S>`",
                ),
                FnArg::Typed(parameter) => shape.parameter(parameter, mistakes),
            }
        }
        if let Some(variadic) = &function.variadic {
            mistakes.at(variadic, "a listener's parameters are counted; it cannot be variadic");
        }
        shape
    }

    /// Whether there is a parameter that could be an event.
    pub(super) fn takes_a_value(&self) -> bool {
        self.parameters.iter().any(|parameter| matches!(parameter, Parameter::Value(_)))
    }

    fn parameter(&mut self, parameter: &PatType, mistakes: &mut Mistakes) {
        for attribute in parameter.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")) {
            mistakes
                .at(attribute, "a listener's parameter cannot come and go; put the `cfg` on the function");
        }
        let ty = plain(&parameter.ty);
        if mentions_impl(ty.to_token_stream()) {
            mistakes.at(ty, "a listener's parameter is a concrete type; name it instead of `impl …`");
        }
        let Type::Reference(reference) = ty else {
            if is_batch(ty) {
                self.batch = Some(ty.clone());
            }
            return self.parameters.push(Parameter::Value(ty.clone()));
        };
        no_lifetime(reference, mistakes);
        let inner = plain(&reference.elem).clone();
        if reference.mutability.is_none() {
            self.references.push(ty.clone());
            return self.parameters.push(Parameter::Reference(inner));
        }
        if self.transaction.is_some() {
            return mistakes.at(ty, "a second `&mut` parameter; a listener has one transaction");
        }
        self.parameters.push(Parameter::Transaction);
        self.transaction = Some(Transaction { reference: ty.clone(), inner });
    }
}

fn is_batch(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Batch" || last.ident == "Vec")
}

/// What stands before the name, and the generics behind it.
fn qualifiers(function: &Signature, mistakes: &mut Mistakes) {
    match (&function.asyncness, &function.constness) {
        (None, None) => mistakes.at(function.fn_token, "a listener is async; write `async fn`"),
        (None, Some(word)) => mistakes.at(word, "a listener is `async`, not `const`; write `async fn`"),
        (Some(_), None | Some(_)) => {} // of both together rustc itself complains
    }
    match &function.safety {
        Safety::Unsafe(word) => mistakes.at(word, "a listener is called as safe code; take `unsafe` away"),
        Safety::Safe(word) => mistakes.at(word, "`safe` has no meaning on a listener; take the word away"),
        Safety::Default => {}
    }
    if let Some(abi) = &function.abi {
        mistakes.at(abi, "a listener has Rust's own ABI; take `extern` away");
    }
    if !function.generics.params.is_empty() {
        mistakes.at(&function.generics, "a listener cannot be generic; eos calls it with one set of types");
    }
}

fn returns(function: &Signature, mistakes: &mut Mistakes) -> Option<Type> {
    const MISSING: &str = "a listener says how it went; write `-> HandlerResult`, and `Ok(())` at the end";
    match &function.output {
        ReturnType::Default => {
            mistakes.at_span(function.paren_token.span.close(), MISSING);
            None
        }
        ReturnType::Type(_, ty) => {
            let ty = plain(ty);
            if matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty()) {
                mistakes.at(ty, MISSING);
            }
            if mentions_impl(ty.to_token_stream()) {
                mistakes.at(ty, "what a listener returns is a concrete type; name it instead of `impl …`");
            }
            Some(ty.clone())
        }
    }
}

/// `'static` is the one lifetime that a function without generics can name, and the one that no record has.
fn no_lifetime(reference: &TypeReference, mistakes: &mut Mistakes) {
    if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident == "static") {
        mistakes.at(lifetime, "what a listener borrows lives for one attempt; take the lifetime away");
    }
}
