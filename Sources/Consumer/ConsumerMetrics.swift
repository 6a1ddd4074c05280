import OpsMetrics

/// What is counted about the forwarding of events.
struct ConsumerMetrics: Sendable {
    let delivered: Counter
    let retried: Counter
    let deadLettered: Counter
    let requestDuration: Histogram
    let endToEndDelay: Histogram
    let ready: Gauge
    let waitingForRetry: Gauge
    let deadLetterLag: Gauge
    let deadLetters: Gauge
    private let retriesByTier: MetricFamily<Counter>

    init(_ registry: MetricsRegistry) {
        let deliveries = registry.counter(
            "event_consumer_deliveries_total",
            help: "Deliveries that were settled, by what became of them.",
            labels: ["outcome"]
        )
        delivered = deliveries.with("success")
        retried = deliveries.with("retried")
        deadLettered = deliveries.with("dead_lettered")
        requestDuration = registry.histogram(
            "event_consumer_request_duration_seconds",
            help: "How long requests to the data platform took, failed ones included.",
            buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10]
        )
        endToEndDelay = registry.histogram(
            "event_end_to_end_delay_seconds",
            help: "From the change of the order until the platform had the event.",
            buckets: [0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 10, 30, 60]
        )
        let lag = registry.gauge(
            "event_consumer_lag_messages",
            help: "Messages that wait, by where they wait.",
            labels: ["stage"]
        )
        ready = lag.with("ready")
        waitingForRetry = lag.with("retry")
        deadLetterLag = lag.with("dlq")
        deadLetters = registry.gauge("event_dlq_messages", help: "Messages among the dead letters.")
        retriesByTier = registry.counter(
            "event_retry_scheduled_total",
            help: "Events sent to a retry tier, by its delay in milliseconds.",
            labels: ["tier"]
        )
    }

    func countRetry(tierMs: Int) {
        retried.increment()
        retriesByTier.with("\(tierMs)").increment()
    }
}
