import AMQP
import OpsMetrics

/// What is counted about the outbox. What concerns the whole outbox every relay says alike; what concerns shards, and
/// what was published, adds up over the relays.
struct RelayMetrics: Sendable {
    let pending: Gauge
    let oldestPendingAge: Gauge
    let openTransactionAge: Gauge
    let parked: Gauge
    let shardsOwned: Gauge
    let shardsHeld: Gauge
    let confirmDuration: Histogram
    private let published: MetricFamily<Counter>
    private let rotations: Counter

    init(_ registry: MetricsRegistry) {
        pending = registry.gauge(
            "orders_outbox_pending_events",
            help: "Events that are not confirmed yet; counted up to 10,000 a shard."
        )
        oldestPendingAge = registry.gauge(
            "orders_outbox_oldest_pending_age_seconds",
            help: "Age of the oldest event that is not confirmed yet; 0 when there is none."
        )
        openTransactionAge = registry.gauge(
            "orders_outbox_blocking_transaction_age_seconds",
            help: "How long the oldest open transaction that writes has been seen; its own events wait for its end."
        )
        parked = registry.gauge(
            "orders_outbox_parked_events",
            help: "Events that the broker can never take; they wait for a person."
        )
        shardsOwned = registry.gauge(
            "orders_outbox_relay_shards_owned",
            help: "Shards of the outbox that this process relays, of 8."
        )
        shardsHeld = registry.gauge(
            "orders_outbox_relay_shards_held",
            help: "Shards whose next event came back because no queue is bound for it."
        )
        confirmDuration = registry.histogram(
            "orders_outbox_confirm_duration_seconds",
            help: "Time until the broker has answered for all events of a round.",
            buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
        )
        published = registry.counter(
            "orders_outbox_published_total",
            help: "Events given to the broker, by what became of them.",
            labels: ["result"]
        )
        rotations = registry.counter(
            "orders_outbox_rotations_total",
            help: "Slots of the outbox that were emptied."
        )
    }

    func countRotation() {
        rotations.increment()
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
