//! The mistakes of one call, gathered so that they are told together.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// Every mistake found so far, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Option<syn::Error>);

impl Mistakes {
    /// A mistake at these words.
    pub(crate) fn at(&mut self, words: impl ToTokens, message: impl Display) {
        self.add(syn::Error::new_spanned(words, message));
    }

    /// A mistake where there are no words to point at.
    pub(crate) fn at_span(&mut self, span: Span, message: impl Display) {
        self.add(syn::Error::new(span, message));
    }

    /// How many there are so far.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Whether all is well so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Takes the value, or notes why there is none.
    pub(crate) fn note<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// The value, unless there was a mistake.
    pub(crate) fn or<T>(self, value: Option<T>) -> syn::Result<T> {
        match (self.0, value) {
            (None, Some(value)) => Ok(value),
            (Some(mistakes), _) => Err(mistakes),
            (None, None) => {
                Err(syn::Error::new(Span::call_site(), "these words could not be read; please report it"))
            }
        }
    }

    /// What the compiler is to tell, if anything.
    pub(crate) fn told(self) -> Option<TokenStream> {
        self.0.map(syn::Error::into_compile_error)
    }

    fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }
}
