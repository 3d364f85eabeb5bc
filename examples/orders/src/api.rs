//! Orders over HTTP, and the relay that publishes them, in one process and with one stop.

use std::net::SocketAddr;

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::database;
use crate::orders::{Order, OrderError, Orders, PlaceOrder};

/// Serves until SIGTERM or Ctrl-C: then no new requests are taken, and what they published leaves.
pub(crate) async fn run(listen: SocketAddr) -> anyhow::Result<()> {
    let pool = database::connect().await?;
    let router = Router::new()
        .route("/orders", post(place))
        .route("/orders/{order_id}", get(find))
        .with_state(Orders { pool: pool.clone() });
    let listener =
        tokio::net::TcpListener::bind(listen).await.with_context(|| format!("{listen} is taken"))?;
    tracing::info!("listening on http://{listen}");
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    // The relay is the one that hears the signals; when it has ended, so does the process.
    eos_runtime::relay().database(&pool).run().await?;
    serving.abort();
    Ok(())
}

async fn place(
    State(orders): State<Orders>,
    headers: HeaderMap,
    Json(wanted): Json<PlaceOrder>,
) -> Result<(StatusCode, Json<Order>), OrderError> {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let order = orders.place(&orders.pool, key, wanted).await?;
    Ok((StatusCode::CREATED, Json(order)))
}

async fn find(
    State(orders): State<Orders>,
    Path(order_id): Path<String>,
) -> Result<Result<Json<Order>, StatusCode>, OrderError> {
    Ok(orders.find(&order_id).await?.map(Json).ok_or(StatusCode::NOT_FOUND))
}

impl IntoResponse for OrderError {
    /// What the client can mend is said; what it cannot is in the log.
    fn into_response(self) -> Response {
        let status = match &self {
            OrderError::WorthNothing => StatusCode::UNPROCESSABLE_ENTITY,
            OrderError::KeyOfAnother => StatusCode::CONFLICT,
            OrderError::Database(error) => {
                tracing::error!(%error, "the database failed");
                StatusCode::SERVICE_UNAVAILABLE
            }
            OrderError::Transaction(error) => {
                tracing::error!(%error, "the transaction failed");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        (status, self.to_string()).into_response()
    }
}
