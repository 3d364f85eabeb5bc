//! The function: an async fn with a transaction that returns a `Result`.
//!
//! The transaction is the one parameter that is `&mut T`. Of several it is the one whose type has a name that ends in
//! `Tx`. Whether that type is one, and whether what is returned can be published, is for rustc to say, at the type
//! itself.

use quote::ToTokens;
use syn::{FnArg, PatType, Receiver, ReceiverKind, ReturnType, Safety, Signature, Type};

use super::{Parameter, Transaction};
use crate::shared::mistakes::Mistakes;
use crate::shared::types::{mentions_impl, plain};

/// A function's shape.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) parameters: Vec<Parameter>,
    pub(super) transaction: Option<Transaction>,
    pub(super) returns: Option<Type>,
}

impl Shape {
    pub(super) fn read(function: &Signature, mistakes: &mut Mistakes) -> Self {
        qualifiers(function, mistakes);
        let place = place(function, mistakes);
        let parameters = function.inputs.iter().enumerate().map(|(index, input)| match input {
            FnArg::Receiver(receiver) => Parameter::Receiver(receiver.clone()),
            FnArg::Typed(_) if place == Some(index) => Parameter::Transaction,
            FnArg::Typed(parameter) => Parameter::Value(parameter.clone()),
        });
        let parameters = parameters.collect();
        let transaction = typed(function).find(|&(index, _)| place == Some(index));
        Shape {
            parameters,
            transaction: transaction.and_then(|(_, parameter)| transaction_of(parameter, mistakes)),
            returns: returns(function, mistakes),
        }
    }

    pub(super) fn receiver(&self) -> Option<&Receiver> {
        self.parameters.iter().find_map(|parameter| match parameter {
            Parameter::Receiver(receiver) => Some(receiver),
            Parameter::Transaction | Parameter::Value(_) => None,
        })
    }
}

/// `&self`, of which there are as many as one likes.
pub(super) fn is_shared(receiver: &Receiver) -> bool {
    if let ReceiverKind::Typed(_, ty) = &receiver.kind {
        return matches!(plain(ty), Type::Reference(reference) if reference.mutability.is_none());
    }
    matches!(receiver.kind, ReceiverKind::Reference(_, _, None))
}

/// Which parameter is the transaction, or why none is.
fn place(function: &Signature, mistakes: &mut Mistakes) -> Option<usize> {
    let mutable: Vec<_> = typed(function).filter(|(_, parameter)| mutable(&parameter.ty).is_some()).collect();
    if let [(one, _)] = mutable[..] {
        return Some(one);
    }
    let named: Vec<_> = mutable
        .iter()
        .filter(|(_, parameter)| mutable_inner_is_named_so(&parameter.ty))
        .map(|&(index, parameter)| (index, &parameter.ty))
        .collect();
    match named[..] {
        [] if mutable.is_empty() => no_transaction(function, mistakes),
        [] => {
            for (_, parameter) in &mutable {
                mistakes.at(
                    &parameter.ty,
                    "which `&mut` is the transaction? it is known by a type whose name ends in `Tx`: `&mut PgTx`, or an \
                     alias as `type DbTx = …`",
                );
            }
        }
        [(one, _)] => return Some(one),
        [_, ref more @ ..] => {
            for (_, ty) in more {
                mistakes.at(ty, "a second transaction; an `#[outbox]` method runs in one");
            }
        }
    }
    None
}

/// Something that looks like one is told how it is taken; else one is missing.
fn no_transaction(function: &Signature, mistakes: &mut Mistakes) {
    let mut seen = false;
    for (_, parameter) in typed(function) {
        let ty = plain(&parameter.ty);
        let inner = if let Type::Reference(reference) = ty { plain(&reference.elem) } else { ty };
        if let Some(name) = name_of_a_transaction(inner) {
            let how = if matches!(ty, Type::Reference(_)) { "written through" } else { "lent, not given" };
            mistakes.at(ty, format!("a transaction is {how}; take it as `&mut {name}`"));
            seen = true;
        }
    }
    if !seen {
        mistakes.at_span(
            function.paren_token.span.join(),
            "an `#[outbox]` method has a transaction; add the parameter `tx: &mut PgTx` (or `&mut MySqlTx`, \
             `&mut SqliteTx`), and call the method with a pool or with a transaction",
        );
    }
}

fn transaction_of(parameter: &PatType, mistakes: &mut Mistakes) -> Option<Transaction> {
    for attribute in parameter.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")) {
        mistakes.at(attribute, "the transaction cannot come and go; put the `cfg` on the function");
    }
    let reference = plain(&parameter.ty);
    let inner = mutable(reference)?;
    if mentions_impl(inner.to_token_stream()) {
        mistakes.at(inner, "a transaction is of a type with a name; write it instead of `impl …`");
    }
    if let Type::Reference(typed) = reference
        && let Some(lifetime) = typed.lifetime.as_ref().filter(|lifetime| lifetime.ident != "_")
    {
        mistakes.at(lifetime, "the transaction is lent for one run of the body; take the lifetime away");
    }
    Some(Transaction {
        attributes: parameter.attrs.clone(),
        pattern: (*parameter.pat).clone(),
        reference: reference.clone(),
        inner: inner.clone(),
    })
}

fn typed(function: &Signature) -> impl Iterator<Item = (usize, &PatType)> {
    function.inputs.iter().enumerate().filter_map(|(index, input)| match input {
        FnArg::Typed(parameter) => Some((index, parameter)),
        FnArg::Receiver(_) => None,
    })
}

/// The `T` of `&mut T`.
fn mutable(ty: &Type) -> Option<&Type> {
    let Type::Reference(reference) = plain(ty) else { return None };
    reference.mutability.is_some().then(|| plain(&reference.elem))
}

fn mutable_inner_is_named_so(ty: &Type) -> bool {
    mutable(ty).and_then(name_of_a_transaction).is_some()
}

/// The last name of its path, where that ends in `Tx`.
fn name_of_a_transaction(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    let name = path.path.segments.last()?.ident.to_string();
    name.ends_with("Tx").then_some(name)
}

/// What stands before the name.
fn qualifiers(function: &Signature, mistakes: &mut Mistakes) {
    match (&function.asyncness, &function.constness) {
        (None, None) => mistakes.at(function.fn_token, "an `#[outbox]` method is async; write `async fn`"),
        (None, Some(word)) => {
            mistakes.at(word, "an `#[outbox]` method is `async`, not `const`; write `async fn`");
        }
        (Some(_), None | Some(_)) => {} // of both together rustc itself complains
    }
    match &function.safety {
        Safety::Unsafe(word) => {
            mistakes.at(word, "an `#[outbox]` method is safe to call; put `unsafe { … }` into its body");
        }
        Safety::Safe(word) => {
            mistakes.at(word, "`safe` has no meaning on an `#[outbox]` method; take the word away");
        }
        Safety::Default => {}
    }
    if let Some(abi) = &function.abi {
        mistakes.at(abi, "an `#[outbox]` method has Rust's own ABI; take `extern` away");
    }
    if let Some(variadic) = &function.variadic {
        mistakes.at(variadic, "an `#[outbox]` method's parameters are counted; it cannot be variadic");
    }
}

fn returns(function: &Signature, mistakes: &mut Mistakes) -> Option<Type> {
    const MISSING: &str = "an `#[outbox]` method says how it went; write `-> Result<OrderPlaced, OrderError>` with an \
                           event of yours, or `-> Result<(), …>`";
    let ReturnType::Type(_, ty) = &function.output else {
        mistakes.at_span(function.paren_token.span.close(), MISSING);
        return None;
    };
    let ty = plain(ty);
    if matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty()) {
        mistakes.at(ty, MISSING);
    }
    if mentions_impl(ty.to_token_stream()) {
        mistakes.at(ty, "what an `#[outbox]` method returns is a concrete type; name it instead of `impl …`");
    }
    Some(ty.clone())
}
