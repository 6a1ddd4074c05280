import OpsMetrics
import OrderDomain
import OrderStore

/// What is counted about orders and their batches.
struct CommitMetrics: Sendable {
    private let orders: MetricFamily<Counter>
    private let batchSizes: Histogram
    private let durations: Histogram
    private let retries: MetricFamily<Counter>

    init(_ registry: MetricsRegistry) {
        orders = registry.counter(
            "orders_total",
            help: "Orders that were asked for, by what became of them.",
            labels: ["result"]
        )
        batchSizes = registry.histogram(
            "order_commit_batch_size",
            help: "Commands in one transaction.",
            buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256]
        )
        durations = registry.histogram(
            "order_commit_duration_seconds",
            help: "Time from the beginning of a batch until it is durable.",
            buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
        )
        retries = registry.counter(
            "order_commit_retries_total",
            help: "Batches that were begun again, by why.",
            labels: ["reason"]
        )
    }

    func observe(batchSize: Int, duration: Duration) {
        batchSizes.observe(Double(batchSize))
        durations.observe(duration)
    }

    /// Counts what became of a command, if that is an order: charges of a balance go through the same engine.
    func count(_ result: String, of command: Command) {
        guard case .placeOrder = command else { return }
        orders.with(result).increment()
    }

    func count(_ answer: Result<CommitAnswer, any Error>, to command: Command) {
        switch answer {
        case .success(let answer) where answer.isReplay: count("replayed", of: command)
        case .success(let answer) where answer.answer.status < 300: count("accepted", of: command)
        case .success: count("refused", of: command)
        case .failure: count("failed", of: command)
        }
    }

    /// What has been counted so far.
    var counts: CommitCounts {
        CommitCounts(
            accepted: orders.with("accepted").value,
            refused: orders.with("refused").value,
            failed: orders.with("failed").value + orders.with("overloaded").value,
            batches: Double(batchSizes.count),
            commands: batchSizes.sum
        )
    }

    func countRetry(_ reason: String) {
        retries.with(reason).increment()
    }
}

/// What the commit engine has done since the process began.
struct CommitCounts: Sendable, Equatable {
    var accepted = 0.0
    var refused = 0.0
    var failed = 0.0
    var batches = 0.0
    /// In all batches.
    var commands = 0.0
}
