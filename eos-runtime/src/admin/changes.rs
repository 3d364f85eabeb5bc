//! What can be changed, by whoever shows the token: dead letters are marked, by the same calls as the tool's.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Desk;
use super::view::DatabaseShown;

/// What was done.
#[derive(Serialize)]
struct Done {
    database: String,
    id: i64,
    state: &'static str,
}

/// Why nothing was.
enum Refused {
    ReadOnly,
    NoToken,
    Not(StatusCode, String),
}

/// A dead letter of the only database.
pub(super) async fn of_the_only_one(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    Path((id, change)): Path<(String, String)>,
) -> Response {
    mark(&desk, &headers, None, &id, &change).await.unwrap_or_else(IntoResponse::into_response)
}

/// A dead letter of one of several.
pub(super) async fn of_one(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    Path((database, id, change)): Path<(String, String, String)>,
) -> Response {
    mark(&desk, &headers, Some(&database), &id, &change).await.unwrap_or_else(IntoResponse::into_response)
}

async fn mark(
    desk: &Desk,
    headers: &HeaderMap,
    database: Option<&str>,
    id: &str,
    change: &str,
) -> Result<Response, Refused> {
    may_change(desk, headers)?;
    let database = find(desk, database)?;
    let id: i64 = id.parse().map_err(|_| not(StatusCode::BAD_REQUEST, "a dead letter has a number"))?;
    let (marked, state) = match change {
        "replay" => (database.letters.replay(id).await, "wanted"),
        "discard" => (database.letters.discard(id).await, "discarded"),
        _ => return Err(not(StatusCode::NOT_FOUND, "a dead letter can be `replay`ed or `discard`ed")),
    };
    let name = &database.name;
    match marked {
        Ok(0) => Err(not(
            StatusCode::NOT_FOUND,
            &format!("the database `{name}` has no dead letter {id} that this can be done to"),
        )),
        Ok(_) => {
            tracing::info!(database = name, dead_letter = id, state, "a dead letter was marked over HTTP");
            Ok(Json(Done { database: name.clone(), id, state }).into_response())
        }
        Err(error) => Err(not(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("the database `{name}` does not answer: {error}"),
        )),
    }
}

fn may_change(desk: &Desk, headers: &HeaderMap) -> Result<(), Refused> {
    let token = desk.settings.token.as_ref().ok_or(Refused::ReadOnly)?;
    let shown = headers.get(AUTHORIZATION).and_then(|shown| shown.as_bytes().strip_prefix(b"Bearer "));
    match shown {
        Some(shown) if token.is(shown) => Ok(()),
        Some(_) | None => Err(Refused::NoToken),
    }
}

fn find<'d>(desk: &'d Desk, name: Option<&str>) -> Result<&'d DatabaseShown, Refused> {
    let running = desk.view.running();
    let running =
        running.ok_or_else(|| not(StatusCode::SERVICE_UNAVAILABLE, "the process is still starting"))?;
    let names = || {
        running.databases.iter().map(|database| format!("`{}`", database.name)).collect::<Vec<_>>().join(", ")
    };
    match (name, running.databases.as_slice()) {
        (None, [only]) => Ok(only),
        (None, []) => Err(not(StatusCode::NOT_FOUND, "this process has no database")),
        (None, _) => {
            let which = format!("say which database, as in /databases/{{name}}/dead-letters/…: {}", names());
            Err(not(StatusCode::BAD_REQUEST, &which))
        }
        (Some(name), databases) => databases.iter().find(|database| database.name == name).ok_or_else(|| {
            not(StatusCode::NOT_FOUND, &format!("this process has no database `{name}`; it has {}", names()))
        }),
    }
}

fn not(status: StatusCode, why: &str) -> Refused {
    Refused::Not(status, why.to_owned())
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::ReadOnly => {
                let why = "nothing can be changed here; set `[admin] token` (`EOS__ADMIN__TOKEN`) to allow it to whoever has \
                           the token\n";
                (StatusCode::FORBIDDEN, why).into_response()
            }
            Refused::NoToken => {
                let why = "show the token of `[admin] token`, by the header `Authorization: Bearer …`\n";
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], why).into_response()
            }
            Refused::Not(status, why) => (status, format!("{why}\n")).into_response(),
        }
    }
}
