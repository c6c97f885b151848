//! What is counted, in Prometheus' terms: counters end in `_total`, times are seconds, sizes bytes.
//!
//! Parts of the broker hold their own handles ([`Metrics::requests`], [`Metrics::connections`], ..)
//! so that counting is an atomic addition, never a look-up. What is only known when asked (the size
//! of each log) is told by a [`Collector`] that is registered with [`Metrics::register_collector`].

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ottla_wire::messages::ApiKey;
use prometheus_client::{
    collector::Collector,
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Everything that is counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Requests, by API.
    pub requests: RequestMetrics,
    /// Connections and their bytes.
    pub connections: ConnectionMetrics,
    /// What is produced and fetched.
    pub records: RecordMetrics,
}

/// Requests, by API.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    /// One of each for every API, at the place of its key.
    by_api: Arc<[ApiMetrics]>,
}

#[derive(Clone, Debug)]
struct ApiMetrics {
    answered: Counter,
    seconds: Histogram,
}

/// Connections and their bytes.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    /// How many are open.
    pub open: Gauge,
    /// How many were accepted.
    pub accepted: Counter,
    /// How many were refused for `max.connections.per.ip`.
    pub refused: Counter,
    /// How many were closed because what they sent is no request of ours.
    pub misbehaved: Counter,
    /// Bytes received.
    pub bytes_in: Counter,
    /// Bytes sent.
    pub bytes_out: Counter,
}

/// What is produced and fetched.
#[derive(Clone, Debug)]
pub struct RecordMetrics {
    /// Bytes of record batches that were appended by clients.
    pub produced_bytes: Counter,
    /// Batches that were appended by clients.
    pub produced_batches: Counter,
    /// Batches that were refused.
    pub refused_batches: Counter,
    /// Bytes of record batches that were given to clients.
    pub fetched_bytes: Counter,
    /// From an append's request to its acknowledgement.
    pub append_seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabel {
    api: ApiName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ApiName(ApiKey);

impl EncodeLabelValue for ApiName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.name().encode(encoder)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("ottla");
        let metrics = Self {
            requests: RequestMetrics::register(&mut registry),
            connections: ConnectionMetrics::register(&mut registry),
            records: RecordMetrics::register(&mut registry),
            registry: Arc::default(),
        };
        Self {
            registry: Arc::new(Mutex::new(registry)),
            ..metrics
        }
    }

    /// Adds what is only known when asked.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.registry().register_collector(collector);
    }

    /// Adds a metric of another part.
    pub fn register(
        &self,
        name: &str,
        help: &str,
        metric: impl prometheus_client::registry::Metric,
    ) {
        self.registry().register(name, help, metric);
    }

    /// All of it, as Prometheus reads it.
    ///
    /// # Errors
    /// When a collector fails.
    pub fn to_text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry())?;
        Ok(out)
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From 100 us, each twice the one before, to about 50 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 20))
}

impl RequestMetrics {
    fn register(registry: &mut Registry) -> Self {
        let answered = Family::<ApiLabel, Counter>::default();
        let times = Family::<ApiLabel, Histogram>::new_with_constructor(seconds);
        registry.register("requests", "Requests answered", answered.clone());
        registry.register(
            "request_seconds",
            "Time from a request's last byte to its answer's place in the output",
            times.clone(),
        );
        let of = |&api: &ApiKey| {
            let label = ApiLabel { api: ApiName(api) };
            // Only what is served is shown.
            if crate::dispatch::SERVED.contains(&api) {
                ApiMetrics {
                    answered: answered.get_or_create(&label).clone(),
                    seconds: times.get_or_create(&label).clone(),
                }
            } else {
                ApiMetrics {
                    answered: Counter::default(),
                    seconds: seconds(),
                }
            }
        };
        Self {
            by_api: ApiKey::ALL.iter().map(of).collect(),
        }
    }

    /// Counts an answer that took so long.
    pub fn answered(&self, api: ApiKey, took: Duration) {
        if let Some(metrics) = self.by_api.get(api as usize) {
            metrics.answered.inc();
            metrics.seconds.observe(took.as_secs_f64());
        }
    }
}

impl ConnectionMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("connections", "Open connections", metrics.open.clone());
        registry.register(
            "connections_accepted",
            "Connections accepted",
            metrics.accepted.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections refused for max.connections.per.ip",
            metrics.refused.clone(),
        );
        registry.register(
            "connections_misbehaved",
            "Connections closed for what they sent",
            metrics.misbehaved.clone(),
        );
        registry.register("received_bytes", "Bytes received", metrics.bytes_in.clone());
        registry.register("sent_bytes", "Bytes sent", metrics.bytes_out.clone());
        metrics
    }
}

impl RecordMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            produced_bytes: Counter::default(),
            produced_batches: Counter::default(),
            refused_batches: Counter::default(),
            fetched_bytes: Counter::default(),
            append_seconds: seconds(),
        };
        registry.register(
            "produced_bytes",
            "Bytes of record batches appended for clients",
            metrics.produced_bytes.clone(),
        );
        registry.register(
            "produced_batches",
            "Record batches appended for clients",
            metrics.produced_batches.clone(),
        );
        registry.register(
            "refused_batches",
            "Record batches refused",
            metrics.refused_batches.clone(),
        );
        registry.register(
            "fetched_bytes",
            "Bytes of record batches given to clients",
            metrics.fetched_bytes.clone(),
        );
        registry.register(
            "append_seconds",
            "Time from an append to its acknowledgement",
            metrics.append_seconds.clone(),
        );
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shows_what_was_counted() {
        let metrics = Metrics::new();
        metrics
            .requests
            .answered(ApiKey::ApiVersions, Duration::from_millis(3));
        metrics.connections.bytes_in.inc_by(17);
        let text = metrics.to_text().unwrap();
        assert!(
            text.contains("ottla_requests_total{api=\"ApiVersions\"} 1"),
            "{text}"
        );
        assert!(text.contains("ottla_received_bytes_total 17"), "{text}");
    }
}
