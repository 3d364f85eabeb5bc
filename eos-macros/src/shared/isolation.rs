//! `isolation = "…"`: its words, and how it is printed.

use proc_macro2::TokenStream;
use quote::quote_spanned;

use super::arguments::Argument;
use super::mistakes::Mistakes;
use super::spans::{eos, ours};
use super::values::choice;

/// A transaction's isolation level.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Isolation {
    #[default]
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

const CHOICES: [(&str, Isolation); 3] = [
    ("read_committed", Isolation::ReadCommitted),
    ("repeatable_read", Isolation::RepeatableRead),
    ("serializable", Isolation::Serializable),
];

impl Isolation {
    pub(crate) fn read(argument: &Argument, mistakes: &mut Mistakes) -> Option<Self> {
        choice(argument, &CHOICES, mistakes)
    }

    /// The runtime's name for it.
    pub(crate) fn printed(self) -> TokenStream {
        let eos = eos();
        match self {
            Isolation::ReadCommitted => quote_spanned!(ours()=> #eos::Isolation::ReadCommitted),
            Isolation::RepeatableRead => quote_spanned!(ours()=> #eos::Isolation::RepeatableRead),
            Isolation::Serializable => quote_spanned!(ours()=> #eos::Isolation::Serializable),
        }
    }
}
