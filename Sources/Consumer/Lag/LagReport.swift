import FoundationEssentials

/// Where events are between commit and platform, and how old they are; `GET /lag`.
struct LagReport: Sendable, Equatable, Encodable {
    /// Where a message can wait.
    enum Stage: String, CaseIterable, Sendable, Encodable {
        /// Committed, and not confirmed by the broker.
        case outbox
        /// In the forward queue.
        case ready
        /// In this consumer's hands.
        case unacked
        /// In a retry tier.
        case retry
        /// Given up.
        case dlq
    }

    struct StageLag: Sendable, Equatable {
        let stage: Stage
        /// Nil when it can't be found out now.
        var messages: Int?
        /// The age of the oldest event, in seconds; nil when it can't be found out.
        var oldestSeconds: Double?
    }

    struct Tier: Sendable, Equatable {
        let tierMs: Int
        let messages: Int
        /// The age of the oldest event that this consumer has moved there, in seconds; nil when it knows of none.
        var oldestSeconds: Double?
    }

    struct EndToEnd: Sendable, Equatable {
        /// Nil when there were none.
        var p50Ms: Double?
        var p99Ms: Double?
        let windowSeconds: Int
        let samples: Int
    }

    var status: LagStatus
    /// `closed`, `half_open` or `open`.
    var circuit: String
    var stages: [StageLag]
    /// The retry tiers, both queues of each together.
    var retryTiers: [Tier]
    var endToEnd: EndToEnd
    var consumePerSecond: Double
    /// Nil when what waits doesn't grow less.
    var drainEtaSeconds: Double?
    var asOf: Date

    subscript(stage: Stage) -> StageLag? { stages.first { $0.stage == stage } }

    /// Before anything is known.
    static func unknown(at now: Date) -> LagReport {
        LagReport(
            status: .ok,
            circuit: "closed",
            stages: Stage.allCases.map { StageLag(stage: $0) },
            retryTiers: [],
            endToEnd: EndToEnd(windowSeconds: DelayWindow.seconds, samples: 0),
            consumePerSecond: 0,
            drainEtaSeconds: nil,
            asOf: now
        )
    }

    /// The report in JSON; what is not known is null.
    func json() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var text = encoder.singleValueContainer()
            try text.encode(date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
        }
        return Array(try encoder.encode(self))
    }

    private enum CodingKeys: String, CodingKey {
        case status, circuit, stages, retryTiers, endToEnd, consumePerSecond, drainEtaSeconds, asOf
    }

    func encode(to encoder: any Encoder) throws {
        var report = encoder.container(keyedBy: CodingKeys.self)
        try report.encode(status.rawValue, forKey: .status)
        try report.encode(circuit, forKey: .circuit)
        try report.encode(stages, forKey: .stages)
        try report.encode(retryTiers, forKey: .retryTiers)
        try report.encode(endToEnd, forKey: .endToEnd)
        try report.encode(consumePerSecond.toHundredths, forKey: .consumePerSecond)
        try report.encode(drainEtaSeconds?.toHundredths, forKey: .drainEtaSeconds)
        try report.encode(asOf, forKey: .asOf)
    }
}

extension LagReport.StageLag: Encodable {
    private enum CodingKeys: String, CodingKey {
        case stage, messages, oldestSeconds
    }

    /// With null for what is not known.
    func encode(to encoder: any Encoder) throws {
        var lag = encoder.container(keyedBy: CodingKeys.self)
        try lag.encode(stage, forKey: .stage)
        try lag.encode(messages, forKey: .messages)
        try lag.encode(oldestSeconds?.toHundredths, forKey: .oldestSeconds)
    }
}

extension LagReport.Tier: Encodable {
    private enum CodingKeys: String, CodingKey {
        case tierMs, messages, oldestSeconds
    }

    /// With null for what is not known.
    func encode(to encoder: any Encoder) throws {
        var tier = encoder.container(keyedBy: CodingKeys.self)
        try tier.encode(tierMs, forKey: .tierMs)
        try tier.encode(messages, forKey: .messages)
        try tier.encode(oldestSeconds?.toHundredths, forKey: .oldestSeconds)
    }
}

extension LagReport.EndToEnd: Encodable {
    private enum CodingKeys: String, CodingKey {
        case p50Ms, p99Ms, windowSeconds, samples
    }

    /// With null for what is not known.
    func encode(to encoder: any Encoder) throws {
        var endToEnd = encoder.container(keyedBy: CodingKeys.self)
        try endToEnd.encode(p50Ms?.toHundredths, forKey: .p50Ms)
        try endToEnd.encode(p99Ms?.toHundredths, forKey: .p99Ms)
        try endToEnd.encode(windowSeconds, forKey: .windowSeconds)
        try endToEnd.encode(samples, forKey: .samples)
    }
}

extension Double {
    fileprivate var toHundredths: Double { (self * 100).rounded() / 100 }
}
