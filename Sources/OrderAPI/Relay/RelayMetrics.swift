import AMQP
import OpsMetrics

/// What is counted about the outbox.
struct RelayMetrics: Sendable {
    let pending: Gauge
    let oldestPendingAge: Gauge
    private let published: MetricFamily<Counter>

    init(_ registry: MetricsRegistry) {
        pending = registry.gauge("orders_outbox_pending_events", help: "Events that are not confirmed yet.")
        oldestPendingAge = registry.gauge(
            "orders_outbox_oldest_pending_age_seconds",
            help: "Age of the oldest event that is not confirmed yet; 0 when there is none."
        )
        published = registry.counter(
            "orders_outbox_published_total",
            help: "Events given to the broker, by what became of them.",
            labels: ["result"]
        )
    }

    func count(_ outcome: PublishOutcome) {
        let result =
            switch outcome {
            case .confirmed: "acked"
            case .nacked: "nacked"
            case .returned: "returned"
            case .timedOut: "timeout"
            case .connectionLost: "connection_lost"
            case .tooLarge, .invalid: "refused"
            }
        published.with(result).increment()
    }
}
