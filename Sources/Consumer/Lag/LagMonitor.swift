import AMQP
import EventTopology
import FoundationEssentials
import Logging
import OrderStore
import Postgres
import ServiceLifecycle
import Synchronization

/// Measures the lag again and again: asks the broker for the depths of its queues, PostgreSQL for what the outbox
/// holds, and this process for what it has in hand. Needs no management plugin.
final class LagMonitor: Service {
    /// How often the gauges are made anew.
    static let refreshInterval = Duration.seconds(2)
    private static let timeout = Duration.seconds(1)

    private let inspector: AMQPInspector
    private let pool: PostgresPool
    private let intake: Intake
    private let circuit: Circuit
    private let progress: Progress
    private let metrics: ConsumerMetrics
    /// How often the status takes a sample.
    private let sampleInterval: Duration
    private let logger: Logger
    private let lastReport = Mutex(LagReport.unknown(at: Date()))

    init(
        inspector: AMQPInspector,
        pool: PostgresPool,
        intake: Intake,
        circuit: Circuit,
        progress: Progress,
        metrics: ConsumerMetrics,
        sampleInterval: Duration,
        logger: Logger
    ) {
        self.inspector = inspector
        self.pool = pool
        self.intake = intake
        self.circuit = circuit
        self.progress = progress
        self.metrics = metrics
        self.sampleInterval = sampleInterval
        self.logger = logger
    }

    /// The last measurement.
    var report: LagReport { lastReport.withLock { $0 } }

    /// Measures until shutdown.
    func run() async {
        await cancelWhenGracefulShutdown { await self.measureAgainAndAgain() }
        await inspector.close(deadline: .now + Self.timeout)
    }

    private func measureAgainAndAgain() async {
        var judgement = LagJudgement()
        var sampleDue = ContinuousClock.now
        while !Task.isCancelled {
            let isSample = .now >= sampleDue
            if isSample { sampleDue = max(sampleDue + sampleInterval, .now) }
            let report = judgement.judge(await measurement(), isSample: isSample, at: .now)
            lastReport.withLock { $0 = report }
            metrics.show(report)
            try? await Task.sleep(for: min(Self.refreshInterval, sampleInterval))
        }
    }

    private func measurement() async -> LagMeasurement {
        let now = Date()
        var measurement = LagMeasurement(at: now, progress: progress.view(at: now), circuit: circuit.state)
        measurement.unacked = await intake.unsettled()
        do {
            let depths = try await inspector.depth(of: LagMeasurement.queues, deadline: .now + Self.timeout)
            measurement.depths = depths.mapValues(\.ready)
            // It has consumers while somebody goes through it, who is given all that is ready.
            if let letters = depths[BrokerNames.deadLetterQueue], letters.consumers > 0 {
                measurement.depths?[BrokerNames.deadLetterQueue] = nil
            }
        } catch {
            logger.debug("queue depths are unknown", metadata: ["error": "\(error)"])
        }
        do {
            let deadline = ContinuousClock.now + Self.timeout
            measurement.outbox = try await pool.withConnection(deadline: deadline) { connection in
                let pending = try await OutboxStore.pending(on: connection, deadline: deadline)
                return LagMeasurement.Outbox(
                    pending: Int(pending.count),
                    isAtLeast: pending.isAtLeast,
                    oldest: pending.oldest
                )
            }
        } catch {
            logger.debug("the outbox's depth is unknown", metadata: ["error": "\(error)"])
        }
        return measurement
    }
}

/// One look at everything.
struct LagMeasurement: Sendable {
    struct Outbox: Sendable, Equatable {
        let pending: Int
        /// Whether there are more than were counted.
        var isAtLeast = false
        let oldest: Date?
    }

    /// The queues whose depths count, in the order of the events' way: one that moves on meanwhile is rather counted
    /// twice than not at all.
    static let queues =
        BrokerNames.retryTiersMs.flatMap {
            [BrokerNames.retryQueue(delayMs: $0), BrokerNames.lateRetryQueue(delayMs: $0)]
        } + [BrokerNames.forwardQueue, BrokerNames.deadLetterQueue]

    let at: Date
    let progress: Progress.View
    let circuit: CircuitBreaker.State
    var unacked = 0
    /// Messages that wait, by queue, without queues of which nobody can know; nil when the broker could not be asked.
    var depths: [String: Int]?
    /// Nil when PostgreSQL could not be asked.
    var outbox: Outbox?

    /// Messages in the retry tiers; nil when the broker could not be asked.
    var tiers: [LagReport.Tier]? {
        depths.map { depths in
            BrokerNames.retryTiersMs.map { delayMs in
                let onTime = depths[BrokerNames.retryQueue(delayMs: delayMs)] ?? 0
                let late = depths[BrokerNames.lateRetryQueue(delayMs: delayMs)] ?? 0
                let messages = onTime + late
                let oldest = messages > 0 ? progress.oldestInTier[delayMs] : nil
                return LagReport.Tier(
                    tierMs: delayMs,
                    messages: messages,
                    oldestSeconds: oldest.map { max(0, at.timeIntervalSince($0)) }
                )
            }
        }
    }
}

/// Makes reports of measurements; remembers what a status, a rate and an age need. A value.
struct LagJudgement: Sendable {
    private var window = LagWindow()
    private var rate = DrainRate()
    /// What the stages had when they were last known: who can't be asked has not become empty by that.
    private var lastKnown: [LagReport.Stage: Int] = [:]
    /// Since when a stage has had messages without a gap.
    private var waitingSince: [LagReport.Stage: Date] = [:]
    /// When the forward queue was last seen empty: what is in it came later.
    private var readyEmptyAt: Date?

    init() {}

    /// The report of a measurement; `isSample` says whether the status takes it into its window.
    mutating func judge(
        _ measurement: LagMeasurement,
        isSample: Bool,
        at now: ContinuousClock.Instant
    ) -> LagReport {
        let tiers = measurement.tiers
        if measurement.depths?[BrokerNames.forwardQueue] == 0 { readyEmptyAt = measurement.at }
        let stages = [
            stage(.outbox, measurement.outbox?.pending, measurement.outbox?.oldest, measurement.at),
            stage(
                .ready,
                measurement.depths.map { $0[BrokerNames.forwardQueue] ?? 0 },
                [measurement.progress.lastTaken, readyEmptyAt].compactMap(\.self).max(),
                measurement.at
            ),
            stage(.unacked, measurement.unacked, measurement.progress.oldestInHand, measurement.at),
            stage(
                .retry,
                tiers?.reduce(0) { $0 + $1.messages },
                measurement.progress.oldestInTier.values.min(),
                measurement.at
            ),
            // While nobody can know how many there are, there are as many as before.
            stage(
                .dlq,
                measurement.depths.flatMap { $0[BrokerNames.deadLetterQueue] ?? lastKnown[.dlq] },
                nil,
                measurement.at
            ),
        ]
        for lag in stages where lag.messages != nil { lastKnown[lag.stage] = lag.messages }
        let sample = LagWindow.Sample(
            due: [.outbox, .ready, .unacked].reduce(0) { $0 + (lastKnown[$1] ?? 0) },
            postponed: lastKnown[.retry] ?? 0,
            isAtLeast: measurement.outbox?.isAtLeast ?? false,
            settled: measurement.progress.settled,
            delivered: measurement.progress.delivered,
            setAside: measurement.progress.setAside
        )
        rate.add(at: now, waiting: sample.isAtLeast ? nil : sample.waiting, delivered: sample.delivered)
        if isSample { window.add(sample) }
        // The circuit has judged already that requests fail.
        let isHeldUp = measurement.circuit != .closed && sample.waiting > 0
        var delays = measurement.progress.delays
        let eta = rate.etaSeconds
        return LagReport(
            status: isHeldUp ? max(window.status, .stall) : window.status,
            circuit: measurement.circuit.name,
            stages: stages,
            retryTiers: tiers ?? [],
            endToEnd: LagReport.EndToEnd(
                p50Ms: delays.quantile(0.5, at: now),
                p99Ms: delays.quantile(0.99, at: now),
                windowSeconds: DelayWindow.seconds,
                samples: delays.count(at: now)
            ),
            consumePerSecond: rate.deliveredPerSecond,
            drainEtaSeconds: eta.isFinite ? eta : nil,
            asOf: measurement.at
        )
    }

    /// Where nobody knows how old the oldest event is, its stage has had messages for at least so long.
    private mutating func stage(
        _ stage: LagReport.Stage,
        _ messages: Int?,
        _ oldest: Date?,
        _ now: Date
    ) -> LagReport.StageLag {
        guard let messages else { return .init(stage: stage) }
        guard messages > 0 else {
            waitingSince[stage] = nil
            return .init(stage: stage, messages: 0, oldestSeconds: 0)
        }
        let since = waitingSince[stage] ?? now
        waitingSince[stage] = since
        return .init(stage: stage, messages: messages, oldestSeconds: max(0, now.timeIntervalSince(oldest ?? since)))
    }
}

extension CircuitBreaker.State {
    /// As the report says it.
    var name: String {
        switch self {
        case .closed: "closed"
        case .halfOpen: "half_open"
        case .open: "open"
        }
    }

    /// As the gauge says it.
    var number: Double {
        switch self {
        case .closed: 0
        case .halfOpen: 1
        case .open: 2
        }
    }
}
