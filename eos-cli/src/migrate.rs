//! `eos migrate`: makes the tables, or prints the SQL for people who apply it with tools of their own.

use anyhow::anyhow;
use serde_json::json;

use crate::Outcome;
use crate::address::Address;
use crate::database::{Database, Tables, on_database};
use crate::print::{Form, chain, out};

pub(crate) async fn run(address: &Address, print: bool, form: Form) -> anyhow::Result<Outcome> {
    if print {
        let database = address.kind.name();
        let sql = eos_runtime::migrations(database, &address.schema)
            .ok_or_else(|| anyhow!("this binary was built without {database}"))?;
        match form {
            Form::Text => out(&sql)?,
            Form::Json => form.say("", || json!({ "sql": sql }))?,
        }
        return Ok(Outcome::Done);
    }
    let (database, tables) = Database::reach(address).await?;
    if tables == Tables::Behind {
        let made = on_database!(database, pool => eos_runtime::migrate_in(pool, &database.schema).await);
        made.map_err(|error| anyhow!("{address}: {}", chain(error.as_ref())))?;
    }
    let text = match tables {
        Tables::Behind => format!("the tables of eos are made, or brought up to date ({address})"),
        Tables::UpToDate => {
            format!("the tables of eos were there and up to date; nothing was changed ({address})")
        }
    };
    form.say(&text, || json!({ "changed": tables == Tables::Behind }))?;
    Ok(Outcome::Done)
}
