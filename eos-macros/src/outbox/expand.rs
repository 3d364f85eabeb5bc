//! Prints the model, and looks at nothing else.
//!
//! The user's body stays in a block of its own, so that `?` and `return` end the body and not the transaction. Names of
//! ours are spanned at the macro (`mixed_site`), so that they cannot meet the user's; each of the user's types keeps its
//! own span, so that rustc points at it when a bound does not hold.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{ToTokens, format_ident, quote_spanned};
use syn::{FnArg, Ident, Lifetime, Pat, PatType, parse_quote_spanned};

use super::model::{Method, Parameter, Tries};
use crate::shared::spans::{at, eos, ours};

/// What stands in the place of the user's function.
pub(crate) fn method(method: &Method) -> TokenStream {
    let Method { attributes, visibility, body, .. } = method;
    let signature = signature(method);
    let scope = scope(method);
    let inner_attributes = &body.attributes;
    quote_spanned! {ours()=>
        #(#attributes)*
        #visibility #signature {
            #(#inner_attributes)*
            #scope
        }
    }
}

/// The user's, with a source where the transaction stood, and without the events that leave.
fn signature(method: &Method) -> TokenStream {
    let eos = eos();
    let mut signature = method.signature.clone();
    let lifetime = Lifetime::new("'__tx", ours());
    signature.generics.params.insert(0, parse_quote_spanned!(ours()=> #lifetime));
    let returns = &method.returns.ty;
    signature.output = parse_quote_spanned! {at(returns)=> -> <#returns as #eos::OutboxReturn>::Output };
    signature.inputs = method
        .parameters
        .iter()
        .enumerate()
        .map(|(index, parameter)| -> FnArg {
            match parameter {
                Parameter::Receiver(receiver) => FnArg::Receiver(receiver.clone()),
                Parameter::Transaction => {
                    let name = source(method);
                    let database = database(method);
                    parse_quote_spanned!(ours()=> #name: impl #eos::TxArgument<#lifetime, #database>)
                }
                Parameter::Value(value) => match method.tries {
                    Tries::Once => FnArg::Typed(value.clone()),
                    Tries::Again(_) => {
                        let attributes = &value.attrs;
                        let name = kept(index, value);
                        let ty = &value.ty;
                        parse_quote_spanned!(ours()=> #(#attributes)* #name: #ty)
                    }
                },
            }
        })
        .collect();
    signature.into_token_stream()
}

/// Begin, run the body, end.
fn scope(method: &Method) -> TokenStream {
    let eos = eos();
    let source = source(method);
    let options = options(method);
    let transaction = transaction(method);
    let outcome = outcome(method);
    let begun = quote_spanned! {ours()=>
        let mut __scope = #eos::Scope::new(::core::convert::Into::into(#source), #options)?;
    };
    match method.tries {
        Tries::Once => quote_spanned! {ours()=>
            #begun
            #transaction
            let __outcome = #outcome.await;
            __scope.end(__outcome).await.once()
        },
        Tries::Again(_) => {
            let copies = copies(method);
            quote_spanned! {ours()=>
                #begun
                loop {
                    #transaction
                    #copies
                    let __outcome = #outcome.await;
                    if let #eos::Ended::Done(__result) = __scope.end(__outcome).await {
                        return __result;
                    }
                }
            }
        }
    }
}

fn options(method: &Method) -> TokenStream {
    let eos = eos();
    let isolation = match method.isolation {
        Some(isolation) => {
            let isolation = isolation.printed();
            quote_spanned!(ours()=> ::core::option::Option::Some(#isolation))
        }
        None => quote_spanned!(ours()=> ::core::option::Option::None),
    };
    let retries = match method.tries {
        Tries::Once => 0,
        Tries::Again(retries) => retries,
    };
    quote_spanned!(ours()=> #eos::ScopeOptions { isolation: #isolation, retries: #retries })
}

/// The transaction, under the user's name for it.
fn transaction(method: &Method) -> TokenStream {
    let transaction = &method.transaction;
    let (attributes, pattern, reference) =
        (&transaction.attributes, &transaction.pattern, &transaction.reference);
    quote_spanned!(ours()=> #(#attributes)* let #pattern: #reference = __scope.tx().await?;)
}

/// What the body of one try is called with.
fn copies(method: &Method) -> TokenStream {
    let eos = eos();
    let values = method.parameters.iter().enumerate().filter_map(|(index, parameter)| match parameter {
        Parameter::Value(value) => Some((index, value)),
        Parameter::Receiver(_) | Parameter::Transaction => None,
    });
    let mut copies = TokenStream::new();
    for (index, value) in values {
        let (attributes, pattern, ty) = (&value.attrs, &value.pat, &value.ty);
        let mut name = kept(index, value);
        // At the type, where rustc is to say that it cannot be copied; of whose names it is, stays.
        name.set_span(at(ty).resolved_at(name.span()));
        let copy = quote_spanned!(at(ty)=> #eos::copy_for_a_try(&#name));
        copies.extend(quote_spanned!(ours()=> #(#attributes)* let #pattern = #copy;));
    }
    copies
}

/// The user's body, as a value of the type that it is declared to return.
///
/// A block does not say what it returns. The line that never runs does, so that the body is checked with that type in
/// mind, as a function's is.
fn outcome(method: &Method) -> TokenStream {
    let eos = eos();
    let returns = &method.returns.ty;
    let error = quote_spanned! {method.returns.error.resolved_at(ours())=>
        <#returns as #eos::OutboxReturn>::Error
    };
    let mut body = Group::new(Delimiter::Brace, method.body.statements.clone());
    body.set_span(method.body.span.resolved_at(ours()));
    let never = quote_spanned!(at(returns)=> if false { return #eos::returned::<#returns, #error>(); });
    quote_spanned!(ours()=> async move { #never #body })
}

/// The name of the source is that of the transaction, but ours: the body knows its transaction alone.
fn source(method: &Method) -> Ident {
    match &method.transaction.pattern {
        Pat::Ident(name) => {
            let mut name = name.ident.clone();
            name.set_span(at(&name));
            name
        }
        _ => Ident::new("tx", ours()),
    }
}

fn database(method: &Method) -> TokenStream {
    let eos = eos();
    let ty = &method.transaction.inner;
    quote_spanned!(at(ty)=> <#ty as #eos::TxType>::Database)
}

/// The name under which an argument waits for the next try.
fn kept(index: usize, value: &PatType) -> Ident {
    match &*value.pat {
        Pat::Ident(name) => name.ident.clone(),
        _ => format_ident!("__{index}", span = ours()),
    }
}
