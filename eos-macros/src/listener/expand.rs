//! Prints the model, and looks at nothing else.
//!
//! Names of ours are spanned at the macro (`mixed_site`), so that they cannot meet the user's; each of the user's
//! types keeps its own span, so that rustc points at it when a bound does not hold.

#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote_spanned};
use syn::Ident;

use super::model::{
    AtOnce, DeadLetters, Dedupe, Id, IdSource, Idempotent, Listener, Medium, Mode, OnFailure, OnOutage,
    OutputId, Parameter, Retry, Topics,
};
use crate::shared::spans::{at, eos, ours};

/// What stands beside the user's function: a record that start-up finds.
pub(crate) fn registration(listener: &Listener) -> TokenStream {
    let eos = eos();
    let record = record(listener);
    quote_spanned! {ours()=>
        #[allow(deprecated, reason = "the record is not what calls a deprecated listener")]
        const _: () = { #eos::submit! { #record } };
    }
}

fn record(listener: &Listener) -> TokenStream {
    let eos = eos();
    let id = id(&listener.id, &listener.function);
    let topics = topics(listener);
    let group = option(listener.group.as_ref());
    let deadline = listener.deadline_ms;
    let concurrency = listener.concurrency;
    let per_partition = listener.concurrency_per_partition;
    let mode = mode(&listener.mode);
    let retry = retry(listener.retry);
    let on_failure = match listener.on_failure {
        OnFailure::Block => format_ident!("Block"),
        OnFailure::Park => format_ident!("Park"),
    };
    let dead_letters = dead_letters(listener);
    let taken = Taken::by(listener);
    let needs = listener.parameters.iter().map(|parameter| needs(parameter, taken));
    let body = body(listener);
    quote_spanned! {ours()=>
        #eos::ListenerSpec {
            id: #id,
            file: ::core::file!(),
            line: ::core::line!(),
            topics: &[#topics],
            group: #group,
            deadline: #eos::Duration::from_millis(#deadline),
            concurrency: #concurrency,
            concurrency_per_partition: #per_partition,
            mode: #mode,
            retry: #retry,
            on_failure: #eos::OnFailure::#on_failure,
            dead_letters: #dead_letters,
            needs: |__needs| { #(#needs)* },
            body: || #body,
        }
    }
}

fn id(id: &Id, function: &Ident) -> TokenStream {
    match id {
        Id::Given(text) => text.to_token_stream(),
        Id::Path => {
            let name = format!("::{}", syn::ext::IdentExt::unraw(function));
            quote_spanned!(ours()=> ::core::concat!(::core::module_path!(), #name))
        }
    }
}

/// The topics' list, without its brackets.
fn topics(listener: &Listener) -> TokenStream {
    let eos = eos();
    match &listener.topics {
        Topics::Given(topics) => quote_spanned!(ours()=> #(#topics),*),
        Topics::OfTheEvent => {
            let parameters = listener.parameters.iter().filter_map(|parameter| match parameter {
                Parameter::Value(ty) => {
                    let from = Taken::by(listener).trait_name();
                    Some(quote_spanned!(at(ty)=> <#ty as #eos::#from>::DEFAULT_TOPIC))
                }
                Parameter::Transaction | Parameter::Reference(_) => None,
            });
            quote_spanned!(ours()=> #eos::topic_of_the_event(&[#(#parameters),*]))
        }
    }
}

fn mode(mode: &Mode) -> TokenStream {
    let eos = eos();
    match mode {
        Mode::Plain => quote_spanned!(ours()=> #eos::Mode::Plain),
        Mode::AtMostOnce(at_once) => quote_spanned!(ours()=> #eos::Mode::AtMostOnce(#at_once)),
        Mode::ExactlyOnce { commit_interval_ms, commit_records, message_id, to, out: _ } => {
            let to = option(to.as_ref());
            let message_id = match message_id {
                OutputId::Repeatable => format_ident!("Repeatable"),
                OutputId::Off => format_ident!("Off"),
            };
            quote_spanned! {ours()=>
                #eos::Mode::ExactlyOnce(#eos::ExactlyOnce {
                    commit_interval: #eos::Duration::from_millis(#commit_interval_ms),
                    commit_records: #commit_records,
                    message_id: #eos::OutputId::#message_id,
                    to: #to,
                })
            }
        }
        Mode::Idempotent(idempotent) => self::idempotent(idempotent),
        Mode::Transactional { isolation, dedupe, at_once, key_slots, database, transaction: _ } => {
            let isolation = isolation.printed();
            let dedupe = match dedupe {
                Dedupe::MessageId => format_ident!("MessageId"),
                Dedupe::Position => format_ident!("Position"),
            };
            let database = option(database.as_ref());
            let (many, wait) = match *at_once {
                AtOnce::One { group_commit } => (group_commit, 0),
                AtOnce::Batch { max, wait_ms } => (max, wait_ms),
            };
            quote_spanned! {ours()=>
                #eos::Mode::Transactional(#eos::Transactional {
                    isolation: #isolation,
                    dedupe: #eos::Dedupe::#dedupe,
                    group_commit: #many,
                    max_wait: #eos::Duration::from_millis(#wait),
                    key_slots: #key_slots,
                    database: #database,
                })
            }
        }
    }
}

fn idempotent(idempotent: &Idempotent) -> TokenStream {
    let eos = eos();
    let id = match &idempotent.id {
        IdSource::MessageId => quote_spanned!(ours()=> MessageId),
        IdSource::Position => quote_spanned!(ours()=> Position),
        IdSource::Key => quote_spanned!(ours()=> Key),
        IdSource::Header(name) => quote_spanned!(ours()=> Header(#name)),
        IdSource::Field(path) => quote_spanned!(ours()=> Field(#path)),
    };
    let on_outage = match idempotent.on_outage {
        OnOutage::Wait => format_ident!("Wait"),
        OnOutage::Process => format_ident!("Process"),
    };
    let medium = match &idempotent.medium {
        Medium::Redis { ttl_ms } => {
            quote_spanned!(ours()=> Redis { ttl: #eos::Duration::from_millis(#ttl_ms) })
        }
        Medium::Database(name) => {
            let name = option(name.as_ref());
            quote_spanned!(ours()=> Database(#name))
        }
    };
    let lease = idempotent.lease_ms;
    quote_spanned! {ours()=>
        #eos::Mode::Idempotent(#eos::Idempotent {
            medium: #eos::Medium::#medium,
            id: #eos::IdSource::#id,
            lease: #eos::Duration::from_millis(#lease),
            on_outage: #eos::OnOutage::#on_outage,
        })
    }
}

fn retry(retry: Retry) -> TokenStream {
    let eos = eos();
    let max = option(retry.max);
    let millis =
        |ms: Option<u64>| option(ms.map(|ms| quote_spanned!(ours()=> #eos::Duration::from_millis(#ms))));
    let (backoff, max_backoff) = (millis(retry.backoff_ms), millis(retry.max_backoff_ms));
    let (factor, jitter) = (option(retry.factor), option(retry.jitter));
    quote_spanned! {ours()=>
        #eos::Retry {
            max: #max,
            backoff: #backoff,
            factor: #factor,
            max_backoff: #max_backoff,
            jitter: #jitter,
        }
    }
}

fn dead_letters(listener: &Listener) -> TokenStream {
    let eos = eos();
    match (&listener.dead_letters, &listener.mode) {
        (DeadLetters::Table, _) | (DeadLetters::Usual, Mode::Transactional { .. }) => {
            quote_spanned!(ours()=> #eos::DeadLetters::Table)
        }
        (DeadLetters::Topic(name), _) => {
            let name = option(name.as_ref());
            quote_spanned!(ours()=> #eos::DeadLetters::Topic(#name))
        }
        (DeadLetters::Usual, Mode::Plain | Mode::ExactlyOnce { .. } | Mode::Idempotent(_)) => {
            quote_spanned!(ours()=> #eos::DeadLetters::Topic(::core::option::Option::None))
        }
        (DeadLetters::Usual, Mode::AtMostOnce(_)) | (DeadLetters::Off, _) => {
            quote_spanned!(ours()=> #eos::DeadLetters::Off)
        }
    }
}

/// What parameters are taken out of.
#[derive(Debug, Clone, Copy)]
enum Taken {
    FromRecord,
    FromBatch,
}

impl Taken {
    fn by(listener: &Listener) -> Self {
        match &listener.mode {
            Mode::Transactional { at_once: AtOnce::Batch { .. }, .. } => Taken::FromBatch,
            Mode::Transactional { at_once: AtOnce::One { .. }, .. }
            | Mode::ExactlyOnce { .. }
            | Mode::AtMostOnce(_)
            | Mode::Idempotent(_)
            | Mode::Plain => Taken::FromRecord,
        }
    }

    fn trait_name(self) -> Ident {
        match self {
            Taken::FromRecord => format_ident!("FromRecord"),
            Taken::FromBatch => format_ident!("FromBatch"),
        }
    }
}

/// What a parameter asks of the application.
fn needs(parameter: &Parameter, taken: Taken) -> TokenStream {
    let eos = eos();
    match parameter {
        Parameter::Transaction | Parameter::Reference(_) => TokenStream::new(),
        Parameter::Value(ty) => {
            let from = taken.trait_name();
            quote_spanned!(at(ty)=> <#ty as #eos::#from>::needs(__needs);)
        }
    }
}

/// The function behind one signature.
fn body(listener: &Listener) -> TokenStream {
    let eos = eos();
    let handler = handler(listener);
    let kind = match Taken::by(listener) {
        Taken::FromRecord => format_ident!("One"),
        Taken::FromBatch => format_ident!("Batch"),
    };
    match &listener.mode {
        Mode::Plain | Mode::AtMostOnce(_) | Mode::Idempotent(_) => {
            quote_spanned!(ours()=> #eos::Body::Plain(|__delivery| #handler))
        }
        Mode::ExactlyOnce { out: Some(out), .. } => quote_spanned! {at(out)=>
            <#out as #eos::KafkaTxParam>::body(|__tx, __delivery| #handler)
        },
        Mode::ExactlyOnce { out: None, .. } => {
            quote_spanned!(ours()=> #eos::Body::Kafka(|__tx, __delivery| #handler))
        }
        Mode::Transactional { transaction, .. } => quote_spanned! {at(transaction)=>
            <#transaction as #eos::TransactionParam>::body(#eos::Handler::#kind(|__tx, __delivery| #handler))
        },
    }
}

/// Takes the parameters out of the record in their order, then calls.
fn handler(listener: &Listener) -> TokenStream {
    let eos = eos();
    let mut takes = TokenStream::new();
    let mut call = Vec::new();
    for (index, parameter) in listener.parameters.iter().enumerate() {
        let name = format_ident!("__{index}", span = ours());
        let take = match parameter {
            Parameter::Transaction => {
                call.push(Ident::new("__tx", ours()));
                continue;
            }
            Parameter::Reference(ty) => quote_spanned! {at(ty)=>
                <#ty as #eos::RefFromRecord>::ref_from_record(__delivery)
            },
            Parameter::Value(ty) => match Taken::by(listener) {
                Taken::FromRecord => {
                    quote_spanned!(at(ty)=> <#ty as #eos::FromRecord>::from_record(__delivery)?)
                }
                Taken::FromBatch => {
                    quote_spanned!(at(ty)=> <#ty as #eos::FromBatch>::from_batch(__delivery)?)
                }
            },
        };
        takes.extend(quote_spanned!(ours()=> let #name = #take;));
        call.push(name);
    }
    let function = &listener.function;
    let returns = &listener.returns;
    let outcome = match &listener.mode {
        Mode::ExactlyOnce { out: None, to, .. } => {
            let to = option(to.as_ref());
            quote_spanned!(at(returns)=> #eos::send_returned(#function(#(#call),*).await, __tx, #to))
        }
        Mode::ExactlyOnce { .. }
        | Mode::Transactional { .. }
        | Mode::AtMostOnce(_)
        | Mode::Idempotent(_)
        | Mode::Plain => quote_spanned! {at(returns)=>
            <#returns as #eos::IntoOutcome>::into_outcome(#function(#(#call),*).await)
        },
    };
    quote_spanned!(at(function)=> ::std::boxed::Box::pin(async move { #takes #outcome }))
}

fn option<T: ToTokens>(value: Option<T>) -> TokenStream {
    match value {
        Some(value) => quote_spanned!(ours()=> ::core::option::Option::Some(#value)),
        None => quote_spanned!(ours()=> ::core::option::Option::None),
    }
}
