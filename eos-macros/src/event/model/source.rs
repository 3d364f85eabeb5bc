//! What a key or a header is made of: a field, a field of a field, or any expression over `self`.
//!
//! A word, or words with dots between, is a path of fields, and the first must be one of the struct's. All else is an
//! expression, which reaches fields through `self.` as in a method.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Expr, Lit, Member};

use crate::shared::arguments::literal;
use crate::shared::mistakes::Mistakes;
use crate::shared::text;

/// Where the bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// `self.` and these, with dots between.
    Fields(Vec<Member>),
    Expression(Expr),
}

/// What the struct is called, and what it has.
#[derive(Debug)]
pub(super) struct Fields {
    owner: String,
    /// Those that have names; `None` where it is no struct, so that nothing is said of its fields.
    names: Option<Vec<String>>,
    example: String,
}

impl Source {
    /// `what` is made of this expression.
    pub(super) fn read(
        expression: &Expr,
        what: &str,
        fields: &Fields,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        if let Some(Lit::Str(fixed)) = literal(expression)
            && let Err(why) = text::no_placeholders(&fixed.value())
        {
            mistakes.at(fixed, why);
            return None;
        }
        let Some(path) = path(expression) else { return Some(Source::Expression(expression.clone())) };
        if let [Member::Named(first), ..] = path.as_slice()
            && !fields.has(&name(first))
        {
            mistakes.at(first, fields.no_such(first, what));
            return None;
        }
        Some(Source::Fields(path))
    }
}

impl Fields {
    pub(super) fn of(item: &DeriveInput) -> Self {
        let owner = name(&item.ident);
        let (names, example) = match &item.data {
            Data::Struct(data) => {
                let names = data.fields.iter().filter_map(|field| field.ident.as_ref()).map(name);
                let example = if let syn::Fields::Unnamed(_) = &data.fields { "self.0" } else { "order_id" };
                (Some(names.collect()), example)
            }
            Data::Enum(_) | Data::Union(_) => (None, "order_id"),
        };
        Fields { owner, names, example: example.to_owned() }
    }

    /// Whether it has a field of this name, as far as that is known.
    pub(super) fn has(&self, word: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.iter().any(|name| name == word))
    }

    /// What a key of it could be.
    pub(super) fn example(&self) -> String {
        self.names.iter().flatten().next().unwrap_or(&self.example).clone()
    }

    fn no_such(&self, word: &Ident, what: &str) -> String {
        let (word, owner) = (name(word), &self.owner);
        let known = || self.names.iter().flatten().map(String::as_str);
        let meant = if let Some(near) = text::nearest(&word, known()) {
            format!("did you mean `{near}`?")
        } else if known().next().is_none() {
            format!("it has none with a name; {what} can be an expression, such as `self.0`")
        } else {
            format!("it has {}; an expression begins with `self.` or a path", text::all_of(known()))
        };
        format!("`{word}` is not a field of `{owner}`; {meant}")
    }
}

/// The members of `a.b.c`; nothing where it is another kind of expression, or begins with `self`.
fn path(expression: &Expr) -> Option<Vec<Member>> {
    if let Expr::Group(group) = expression {
        return path(&group.expr);
    }
    if let Expr::Field(field) = expression {
        let mut path = path(&field.base)?;
        path.push(field.member.clone());
        return Some(path);
    }
    let Expr::Path(word) = expression else { return None };
    let word = word.path.get_ident().filter(|word| !matches!(name(word).as_str(), "self" | "Self"))?;
    Some(vec![Member::Named(word.clone())])
}

fn name(word: &Ident) -> String {
    word.unraw().to_string()
}
