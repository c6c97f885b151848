//! `/metrics` over HTTP, where `ottla.metrics.listeners` says so. It is the binary's: the broker
//! itself knows no HTTP, so the simulator need not.

use std::{io, sync::Arc};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use ottla::{Broker, RunningBroker};
use ottla_io::{Spawn, real::RealIo};
use tracing::{error, info};

/// The type of OpenMetrics' text form.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens on `address` (`HOST:PORT`, `http://` before it or not) until the process ends.
#[expect(clippy::disallowed_methods, reason = "axum serves tokio's listener")]
pub(super) async fn serve(
    io: &RealIo,
    address: &str,
    running: &RunningBroker<RealIo>,
) -> io::Result<()> {
    let address = address
        .strip_prefix("http://")
        .unwrap_or(address)
        .trim_end_matches('/');
    let listener = tokio::net::TcpListener::bind(address).await?;
    info!(address = %listener.local_addr()?, "metrics are at /metrics");
    let broker = Arc::clone(running.broker());
    let router = Router::new().route(
        "/metrics",
        get(move || {
            let broker = Arc::clone(&broker);
            async move { metrics(&broker) }
        }),
    );
    io.spawn_detached(
        "metrics",
        Box::pin(async move {
            if let Err(error) = axum::serve(listener, router).await {
                error!(%error, "metrics are served no more");
            }
        }),
    );
    Ok(())
}

fn metrics(broker: &Broker<RealIo>) -> Response {
    match broker.metrics.to_text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
