import EventTopology
import FoundationEssentials
import OpsMetrics

/// What is counted and measured about the forwarding of events.
struct ConsumerMetrics: Sendable {
    let delivered: Counter
    let retried: Counter
    let deadLettered: Counter
    let duplicate: Counter
    let poison: Counter
    let requestDuration: Histogram
    let endToEndDelay: Histogram
    let redriven: MetricFamily<Counter>
    private let retriesByTier: MetricFamily<Counter>
    private let lagMessages: MetricFamily<Gauge>
    private let lagSeconds: MetricFamily<Gauge>
    private let lagStatus: MetricFamily<Gauge>
    private let drainETA: Gauge
    private let deadLetters: Gauge

    /// Makes them all; those with labels that are known begin at 0.
    init(_ registry: MetricsRegistry, circuit: Circuit) {
        let deliveries = registry.counter(
            "event_consumer_deliveries_total",
            help: "Deliveries that were settled, by what became of them.",
            labels: ["outcome"]
        )
        delivered = deliveries.with("success")
        retried = deliveries.with("retried")
        deadLettered = deliveries.with("dead_lettered")
        duplicate = deliveries.with("duplicate")
        poison = deliveries.with("poison")
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
        retriesByTier = registry.counter(
            "event_retry_scheduled_total",
            help: "Events sent to a retry tier, failed or only set aside, by its delay in milliseconds.",
            labels: ["tier"]
        )
        for tierMs in BrokerNames.retryTiersMs { _ = retriesByTier.with("\(tierMs)") }
        redriven = registry.counter(
            "event_dlq_redriven_total",
            help: "Events that an operator had sent again, by how they ended: delivered, duplicate, dead_lettered.",
            labels: ["result"]
        )
        for result in ["delivered", "duplicate", "dead_lettered"] { _ = redriven.with(result) }
        lagMessages = registry.gauge(
            "event_consumer_lag_messages",
            help: "Messages that wait, by where they wait.",
            labels: ["stage"]
        )
        lagSeconds = registry.gauge(
            "event_consumer_lag_seconds",
            help: "The age of the oldest event that waits, by where it waits; 0 when none does.",
            labels: ["stage"]
        )
        lagStatus = registry.gauge(
            "event_consumer_lag_status",
            help: "1 for how the work stands, judged over the last samples; 0 for the others.",
            labels: ["status"]
        )
        drainETA = registry.gauge(
            "event_consumer_drain_eta_seconds",
            help: "When nothing will wait any more at the present rate; +Inf when it does not grow less."
        )
        deadLetters = registry.gauge("event_dlq_messages", help: "Messages among the dead letters.")
        registry.gauge(
            "event_consumer_circuit_state",
            help: "The circuit to the data platform: 0 closed, 1 half open, 2 open."
        ) { circuit.state.number }
        show(.unknown(at: .now))
    }

    /// Counts a message that went to a retry tier, after a failure or only out of the way.
    func countMove(tierMs: Int) {
        retriesByTier.with("\(tierMs)").increment()
    }

    /// Sets the gauges of lag; what is not known stays as it was.
    func show(_ report: LagReport) {
        for lag in report.stages {
            let (messages, seconds) = (lagMessages.with(lag.stage.rawValue), lagSeconds.with(lag.stage.rawValue))
            if let count = lag.messages { messages.set(Double(count)) }
            if let age = lag.oldestSeconds { seconds.set(age) }
        }
        if let count = report[.dlq]?.messages { deadLetters.set(Double(count)) }
        for status in LagStatus.allCases {
            lagStatus.with(status.rawValue).set(status == report.status ? 1 : 0)
        }
        drainETA.set(report.drainEtaSeconds ?? .infinity)
    }
}
