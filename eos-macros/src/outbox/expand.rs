//! Prints the model, and looks at nothing else.
//!
//! The user's body stays in a block of its own, so that `?` and `return` end the body and not the transaction. Names of
//! ours are spanned at the macro (`mixed_site`), so that they cannot meet the user's; each of the user's types keeps its
//! own span, so that rustc points at it when a bound does not hold.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, Ident, Pat, PatType, Type, parse_quote_spanned};

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
    let mut signature = method.signature.clone();
    let output = of_the_result(&method.returns, "Output");
    signature.output = parse_quote_spanned!(ours()=> -> #output);
    signature.inputs = method
        .parameters
        .iter()
        .enumerate()
        .map(|(index, parameter)| -> FnArg {
            match parameter {
                Parameter::Receiver(receiver) => FnArg::Receiver(receiver.clone()),
                Parameter::Transaction => {
                    let name = source(method);
                    let argument = argument(&method.transaction.inner);
                    parse_quote_spanned!(ours()=> mut #name: #argument)
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
///
/// What is asked of the declared type is asked by paths that stand in that type's place, as in the signature: a type
/// that will not do is told there, and once.
fn scope(method: &Method) -> TokenStream {
    let eos = eos();
    let source = given(method);
    let options = options(method);
    let body = one_try(method);
    let outcome = call_of_the_result(&method.returns, "outcome", &quote_spanned!(ours()=> __returned));
    let begun = begun(method, &quote_spanned!(ours()=> #eos::Scope::new(#source, #options)));
    let body = match method.tries {
        Tries::Once => quote_spanned! {ours()=>
            #body
            __scope.end(#outcome).await.once()
        },
        Tries::Again(_) => quote_spanned! {ours()=>
            loop {
                #body
                if let #eos::Ended::Done(__result) = __scope.end(#outcome).await {
                    return __result;
                }
            }
        },
    };
    quote_spanned! {ours()=>
        let mut __scope = #begun;
        #body
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

/// The transaction, under the user's name for it, and what the body comes to.
fn one_try(method: &Method) -> TokenStream {
    let transaction = &method.transaction;
    let (attributes, pattern, reference) =
        (&transaction.attributes, &transaction.pattern, &transaction.reference);
    let copies = match method.tries {
        Tries::Once => TokenStream::new(),
        Tries::Again(_) => copies(method),
    };
    let begun = begun(method, &quote_spanned!(ours()=> __scope.tx().await));
    let returned = returned(method);
    quote_spanned! {ours()=>
        #(#attributes)*
        let #pattern: #reference = #begun;
        #copies
        let __returned = #returned;
    }
}

/// The value of a step, where there is a transaction to go on with.
fn begun(method: &Method, step: &TokenStream) -> TokenStream {
    let failed = call_of_the_result(&method.returns, "failed", &quote_spanned!(ours()=> __error));
    quote_spanned! {ours()=>
        match #step {
            ::core::result::Result::Ok(__begun) => __begun,
            ::core::result::Result::Err(__error) => return #failed,
        }
    }
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
fn returned(method: &Method) -> TokenStream {
    let eos = eos();
    let returns = &method.returns;
    let mut body = Group::new(Delimiter::Brace, method.body.statements.clone());
    body.set_span(method.body.span.resolved_at(ours()));
    quote_spanned! {ours()=>
        async move {
            if false {
                return #eos::returned::<#returns>();
            }
            #body
        }
        .await
    }
}

/// The name of the source is that of the transaction, but ours: the body knows its transaction alone.
fn source(method: &Method) -> Ident {
    let Pat::Ident(name) = &method.transaction.pattern else { return Ident::new("tx", ours()) };
    let mut name = name.ident.clone();
    name.set_span(at(&name));
    name
}

/// `<T as OutboxReturn>::…`, as if the user had written it in the type's place: rustc points at the whole of the type.
fn of_the_result(ty: &Type, name: &str) -> TokenStream {
    let (first, last) = ends(ty);
    let name = Ident::new(name, last);
    let begin = quote_spanned!(first=> <);
    let end = quote_spanned!(last=> as ::eos_runtime::__private::OutboxReturn>::#name);
    quote!(#begin #ty #end)
}

/// A call of one of its functions, in the same place.
fn call_of_the_result(ty: &Type, name: &str, arguments: &TokenStream) -> TokenStream {
    let function = of_the_result(ty, name);
    let call = quote_spanned!(ends(ty).1=> (#arguments));
    quote!(#function #call)
}

/// `impl TxArgument<T>`, in the transaction's place.
fn argument(transaction: &Type) -> TokenStream {
    let (first, last) = ends(transaction);
    let begin = quote_spanned!(first=> impl ::eos_runtime::__private::TxArgument<);
    let end = quote_spanned!(last=> >);
    quote!(#begin #transaction #end)
}

/// The source that it holds.
fn given(method: &Method) -> TokenStream {
    let source = source(method);
    let transaction = &method.transaction.inner;
    let (first, last) = ends(transaction);
    let begin = quote_spanned!(first=> <_ as ::eos_runtime::__private::TxArgument<);
    let argument = quote_spanned!(ours()=> &mut #source);
    let end = quote_spanned!(last=> >>::source(#argument));
    quote!(#begin #transaction #end)
}

/// Where a type's first and last word stand.
fn ends(ty: &Type) -> (Span, Span) {
    let last = ty.to_token_stream().into_iter().last().map_or_else(ours, |token| token.span());
    (ty.span(), last)
}

/// The name under which an argument waits for the next try.
fn kept(index: usize, value: &PatType) -> Ident {
    if let Pat::Ident(name) = &*value.pat {
        name.ident.clone()
    } else {
        format_ident!("__{index}", span = ours())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::shared::mistakes::Mistakes;

    /// Names are shown without their path, which is always the same.
    fn printed(arguments: TokenStream, function: TokenStream, expected: &Expect) {
        let mut mistakes = Mistakes::default();
        let found = crate::outbox::method(arguments, function, &mut mistakes).expect("a method");
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let text = method(&found).to_string();
        let text = text.replace(&eos().to_string(), "").replace(":: core :: option ::", "");
        let file = syn::parse_str(&text.replace(":: core :: result ::", "")).expect("a function");
        expected.assert_eq(&prettyplease::unparse(&file));
    }

    #[test]
    fn a_function() {
        let function = quote! {
            /// Documented.
            pub(crate) async fn place(tx: &mut PgTx, mut order: Order) -> Result<OrderPlaced, OrderError> {
                order.insert(tx).await?;
                Ok(OrderPlaced::from(order))
            }
        };
        printed(
            TokenStream::new(),
            function,
            &expect![[r#"
            /// Documented.
            pub(crate) async fn place(
                mut tx: impl ::TxArgument<PgTx>,
                mut order: Order,
            ) -> <Result<OrderPlaced, OrderError> as ::OutboxReturn>::Output {
                let mut __scope = match ::Scope::new(
                    <_ as ::TxArgument<PgTx>>::source(&mut tx),
                    ::ScopeOptions {
                        isolation: Option::None,
                        retries: 0u32,
                    },
                ) {
                    Result::Ok(__begun) => __begun,
                    Result::Err(__error) => {
                        return <Result<OrderPlaced, OrderError> as ::OutboxReturn>::failed(__error);
                    }
                };
                let tx: &mut PgTx = match __scope.tx().await {
                    Result::Ok(__begun) => __begun,
                    Result::Err(__error) => {
                        return <Result<OrderPlaced, OrderError> as ::OutboxReturn>::failed(__error);
                    }
                };
                let __returned = async move {
                    if false {
                        return ::returned::<Result<OrderPlaced, OrderError>>();
                    }
                    {
                        order.insert(tx).await?;
                        Ok(OrderPlaced::from(order))
                    }
                }
                    .await;
                __scope
                    .end(<Result<OrderPlaced, OrderError> as ::OutboxReturn>::outcome(__returned))
                    .await
                    .once()
            }
        "#]],
        );
    }

    #[test]
    fn a_method_that_is_tried_again() {
        let function = quote! {
            async fn place<'a, T: Event>(&self, Json(order): Json<&'a Order>, _tx: &mut Db, mut left: u8) -> Placed<T>
            where
                T: From<&'a Order>,
            {
                #![allow(unused)]
                Ok(order.into())
            }
        };
        printed(
            quote!(isolation = "serializable", retries = 3),
            function,
            &expect![[r#"
            async fn place<'a, T: Event>(
                &self,
                __1: Json<&'a Order>,
                mut _tx: impl ::TxArgument<Db>,
                left: u8,
            ) -> <Placed<T> as ::OutboxReturn>::Output
            where
                T: From<&'a Order>,
            {
                #![allow(unused)]
                let mut __scope = match ::Scope::new(
                    <_ as ::TxArgument<Db>>::source(&mut _tx),
                    ::ScopeOptions {
                        isolation: Option::Some(::Isolation::Serializable),
                        retries: 3u32,
                    },
                ) {
                    Result::Ok(__begun) => __begun,
                    Result::Err(__error) => return <Placed<T> as ::OutboxReturn>::failed(__error),
                };
                loop {
                    let _tx: &mut Db = match __scope.tx().await {
                        Result::Ok(__begun) => __begun,
                        Result::Err(__error) => return <Placed<T> as ::OutboxReturn>::failed(__error),
                    };
                    let Json(order) = ::copy_for_a_try(&__1);
                    let mut left = ::copy_for_a_try(&left);
                    let __returned = async move {
                        if false {
                            return ::returned::<Placed<T>>();
                        }
                        { Ok(order.into()) }
                    }
                        .await;
                    if let ::Ended::Done(__result) = __scope
                        .end(<Placed<T> as ::OutboxReturn>::outcome(__returned))
                        .await
                    {
                        return __result;
                    }
                }
            }
        "#]],
        );
    }
}
