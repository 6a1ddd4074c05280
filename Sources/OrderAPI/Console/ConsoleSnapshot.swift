import Foundation
import Operations
import OrderMessages
import OrderStore

/// What one source says, or since when it says nothing: what it said before is not shown as if it were true now.
struct Reading<Value: Encodable & Sendable>: Encodable, Sendable {
    /// Nil when the source has not been asked yet, could not be asked the last time, or has not answered for long.
    private(set) var value: Value?
    /// When it last answered.
    private(set) var asOf: Date?
    /// Why it could not be asked.
    private(set) var problem: String?

    private enum CodingKeys: CodingKey {
        case value, asOf, problem
    }

    mutating func take(_ value: Value, at now: Date) {
        self = Reading(value: value, asOf: now, problem: nil)
    }

    mutating func fail(_ reason: String) {
        value = nil
        problem = reason
    }

    /// Takes the value away when it is older than so many seconds.
    mutating func expire(after seconds: Double, at now: Date) {
        guard let asOf, now.timeIntervalSince(asOf) > seconds else { return }
        value = nil
    }

    /// Why there is no value, for people.
    var silence: String {
        if let problem { return "cannot be asked: \(problem)" }
        return asOf == nil ? "has not been asked yet" : "has not answered for a while"
    }

    func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(value, forKey: .value)
        try fields.encode(asOf?.rfc3339, forKey: .asOf)
        try fields.encode(problem, forKey: .problem)
    }
}

/// Everything that the console shows at one moment.
struct ConsoleSnapshot: Encodable, Sendable {
    /// What waits in the outbox.
    struct Outbox: Encodable, Sendable {
        let pending: Int64
        let oldestSeconds: Double
        let parked: Int64
    }

    /// What waits on the broker.
    struct Queues: Encodable, Sendable {
        let ready: Int?
        let retrying: Int
        let retryTiers: [ForwardingDepths.Tier]
        /// Nil when there is no such queue, or nobody has counted yet.
        private(set) var deadLetters: Int?
        let hasDeadLetterQueue: Bool

        /// While somebody goes through the dead letters nobody can count them: they are as many as `before`.
        init(_ depths: ForwardingDepths, before: Queues?) {
            ready = depths.ready
            retrying = depths.retrying
            retryTiers = depths.tiers
            hasDeadLetterQueue = depths.deadLetters != .missing
            switch depths.deadLetters {
            case .missing: break
            case .waiting(let count): deadLetters = count
            case .walked: deadLetters = before?.deadLetters
            }
        }
    }

    /// What the consumer says of itself.
    struct Consumer: Encodable, Sendable {
        let status: String
        let circuit: String
        let unacked: Int?
        /// The age of the oldest event that has not reached the platform and will by itself, in seconds.
        let oldestSeconds: Double?
        let p50Ms: Double?
        let p99Ms: Double?
        let windowSeconds: Double?
        let samples: Int?
        let perSecond: Double?
        let drainEtaSeconds: Double?

        init(_ lag: ConsumerLag) {
            status = lag.status
            circuit = lag.circuit
            unacked = lag.stages.first { $0.stage == "unacked" }?.messages
            oldestSeconds = lag.stages.filter { $0.stage != "dlq" && $0.messages != 0 }.compactMap(\.oldestSeconds)
                .max()
            p50Ms = lag.endToEnd?.p50Ms
            p99Ms = lag.endToEnd?.p99Ms
            windowSeconds = lag.endToEnd?.windowSeconds
            samples = lag.endToEnd?.samples
            perSecond = lag.consumePerSecond
            drainEtaSeconds = lag.drainEtaSeconds
        }
    }

    /// A job of the scheduler.
    struct Job: Encodable, Sendable {
        let name: String
        /// Nil while the scheduler does not say.
        let next: String?
        let last: Run?
    }

    /// What became of a job's last time.
    struct Run: Encodable, Sendable {
        let scheduledFor: String
        let result: String
        let seconds: Double?
        let detail: String?

        private static let detailLength = 300

        init(_ run: JobRunStore.JobRun) {
            scheduledFor = run.scheduledFor.rfc3339
            result = run.result.rawValue
            seconds = run.finishedAt.map { $0.timeIntervalSince(run.startedAt) }
            detail = run.result == .ok ? nil : run.detail.map { String($0.prefix(Self.detailLength)) }
        }
    }

    /// A moment of the chart; nil is what was not known.
    struct Point: Encodable, Sendable {
        let at: Date
        let p50Ms: Double?
        let p99Ms: Double?
        let oldestMs: Double?

        func encode(to encoder: any Encoder) throws {
            var numbers = encoder.unkeyedContainer()
            try numbers.encode(Int(at.timeIntervalSince1970 * 1_000))
            try numbers.encode(p50Ms)
            try numbers.encode(p99Ms)
            try numbers.encode(oldestMs)
        }
    }

    var orders = OrderRates.Rates()
    var outbox = Reading<Outbox>()
    var queues = Reading<Queues>()
    var consumer = Reading<Consumer>()
    var popular = Reading<PopularChanges.List>()
    var jobs = Reading<[Job]>()
    var scheduler = Reading<[String: String]>()
    /// Nil where the platform is a real one.
    var platform: Reading<MockPlatform.Faults>?

    /// How old a reading may be, in seconds: each source is asked every second, within 3 s.
    private static let patience = 6.0
    /// Jobs are asked for every two seconds, after the scheduler and in up to two steps.
    private static let jobsPatience = 10.0

    /// Takes away what is too old to be shown as if it were true now.
    mutating func expire(at now: Date) {
        outbox.expire(after: Self.patience, at: now)
        queues.expire(after: Self.patience, at: now)
        consumer.expire(after: Self.patience, at: now)
        popular.expire(after: Self.patience, at: now)
        platform?.expire(after: Self.patience, at: now)
        jobs.expire(after: Self.jobsPatience, at: now)
        scheduler.expire(after: Self.jobsPatience, at: now)
    }
}

/// One message to a viewer.
struct ConsoleMessage: Encodable {
    let now: String
    let status: ConsoleStatus
    let snapshot: ConsoleSnapshot
    /// The latest moment alone, or all that are remembered.
    let points: [ConsoleSnapshot.Point]
}
