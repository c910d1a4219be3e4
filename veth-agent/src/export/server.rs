//! Hands the page out.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use thiserror::Error;
use tokio::net::TcpListener;

use super::{Metrics, SharedView, metrics};

/// Why the page cannot be handed out.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The server stopped.
    #[error("the metrics server stopped: {0}")]
    Serve(io::Error),
}

/// Takes the address.
///
/// # Errors
/// When it is taken or not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Bind { address, source })
}

/// Serves `/metrics`, `/healthz` and `/readyz` until `stop` resolves, then finishes what has begun.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    view: SharedView,
    metrics: Metrics,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServerError> {
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Arc::new((view, metrics)));
    axum::serve(listener, router).with_graceful_shutdown(stop).await.map_err(ServerError::Serve)
}

type Shared = Arc<(SharedView, Metrics)>;

async fn page(State(state): State<Shared>) -> Response {
    let made = tokio::task::spawn_blocking(move || state.1.page()).await;
    match made {
        Ok(Ok(page)) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(state): State<Shared>) -> Response {
    if state.0.lock().0.ready {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "attaching\n").into_response()
    }
}
