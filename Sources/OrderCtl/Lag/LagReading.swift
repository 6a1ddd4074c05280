import AMQP
import EventTopology
import Foundation
import Operations
import OrderMessages
import ServiceRuntime

/// Where events wait at one moment; nil is what nobody knows.
struct LagReading {
    struct Waiting: Equatable {
        var messages: Int?
        /// Whether there are more than were counted.
        var isAtLeast = false
        var oldestSeconds: Double?
    }

    struct Outbox: Equatable {
        let waiting: Waiting
        /// Events that the broker can never take.
        let parked: Int
    }

    struct EndToEnd: Equatable {
        let p50Ms: Double?
        let p99Ms: Double?
        let windowSeconds: Double
        let samples: Int
    }

    let asOf: Date
    private(set) var status = "ok"
    private(set) var circuit: String?
    private(set) var outbox = Waiting()
    /// Events that the broker can never take, and that wait for a person; nil when PostgreSQL could not be asked.
    private(set) var parked: Int?
    private(set) var ready = Waiting()
    private(set) var unacked = Waiting()
    private(set) var retry = Waiting()
    private(set) var deadLetters = Waiting()
    private(set) var tiers: [ForwardingDepths.Tier] = []
    /// The age of the oldest event in a retry tier, in seconds, by its delay in milliseconds.
    private var tierAges: [Int: Double] = [:]
    private(set) var endToEnd: EndToEnd?
    private(set) var consumePerSecond: Double?
    private(set) var drainEtaSeconds: Double?
    /// What could not be asked, a line each.
    private(set) var problems: [String] = []
    private var isConsumerReachable = true
    private var isIncomplete = false

    init(at now: Date) {
        asOf = now
    }

    /// What the consumer says; the first to be taken, since others know better how many there are.
    mutating func take(_ told: Result<ConsumerLag, ConsumerClient.Silent>) {
        switch told {
        case .success(let lag):
            status = lag.status
            circuit = lag.circuit
            for stage in lag.stages { take(stage) }
            for tier in lag.retryTiers ?? [] { tierAges[tier.tierMs] = tier.oldestSeconds }
            consumePerSecond = lag.consumePerSecond
            drainEtaSeconds = lag.drainEtaSeconds
            endToEnd = lag.endToEnd.map {
                EndToEnd(
                    p50Ms: $0.p50Ms,
                    p99Ms: $0.p99Ms,
                    windowSeconds: $0.windowSeconds ?? 0,
                    samples: $0.samples ?? 0
                )
            }
        case .failure(let error):
            isConsumerReachable = false
            problems.append("\(error): no ages, no rate")
        }
    }

    private mutating func take(_ stage: ConsumerLag.Stage) {
        let waiting = Waiting(messages: stage.messages, oldestSeconds: stage.oldestSeconds)
        switch stage.stage {
        case "outbox": outbox = waiting
        case "ready": ready = waiting
        case "unacked": unacked = waiting
        case "retry": retry = waiting
        case "dlq": deadLetters = waiting
        default: break
        }
    }

    mutating func take(outbox told: Result<Outbox, any Error>) {
        switch told {
        case .success(let told):
            outbox = told.waiting
            parked = told.parked
        case .failure(let error):
            isIncomplete = true
            problems.append("PostgreSQL cannot be asked: \(error)")
        }
    }

    mutating func take(queues depths: Result<ForwardingDepths, AMQPError>) {
        switch depths {
        case .success(let depths):
            ready.messages = depths.ready
            switch depths.deadLetters {
            case .missing: deadLetters.messages = nil
            case .waiting(let count): deadLetters.messages = count
            case .walked: break  // The consumer says how many there were before.
            }
            tiers = depths.tiers
            retry.messages = depths.retrying
            if ready.messages == nil { problems.append("the broker has no queue \(BrokerNames.forwardQueue)") }
        case .failure(let error):
            isIncomplete = true
            problems.append("RabbitMQ cannot be asked: \(error)")
        }
    }

    mutating func take(delays: EndToEnd?) {
        endToEnd = delays
    }

    /// Finds the status where the consumer does not say it: who is not there delivers nothing.
    mutating func judge() {
        guard !isConsumerReachable else { return }
        status = waiting > 0 ? "stop" : "warn"
    }

    /// All that has yet to reach the platform and will by itself.
    private var waiting: Int {
        [outbox, ready, unacked, retry].reduce(0) { $0 + ($1.messages ?? 0) }
    }

    /// Nil when everything that had to be asked has answered.
    var failure: ProcessFailure? {
        isIncomplete ? ProcessFailure(problems.joined(separator: "; "), exitCode: ExitCode.unavailable) : nil
    }
}

extension LagReading {
    /// One screen.
    var text: String {
        var lines = [
            "status  \(Console.styled(status, style))    circuit \(circuit ?? "unknown")    as of \(asOf.rfc3339)",
            "", table, "", delayLine,
        ]
        lines.append("forwarded           \(consumePerSecond.map { String(format: "%.1f a second", $0) } ?? "unknown")")
        lines.append("drained             \(drained)")
        if !problems.isEmpty { lines.append("") }
        lines += problems.map { Console.styled("! \($0)", .warning) }
        return lines.joined(separator: "\n")
    }

    private var drained: String {
        if isIncomplete { return "unknown" }
        if waiting == 0 { return "nothing waits" }
        return drainEtaSeconds.map { "in \(spoken(seconds: $0))" } ?? "not foreseeable"
    }

    private var style: Console.Style {
        switch status {
        case "ok": .good
        case "warn": .warning
        default: .bad
        }
    }

    private var table: String {
        var table = TextTable([("STAGE", .left), ("MESSAGES", .right), ("OLDEST", .right)])
        add("outbox", outbox, to: &table)
        add("ready", ready, to: &table)
        add("unacked", unacked, to: &table)
        add("retry", retry, to: &table)
        for tier in tiers {
            let waiting = Waiting(messages: tier.messages, oldestSeconds: tierAges[tier.tierMs])
            add("  \(spoken(seconds: Double(tier.tierMs) / 1_000))", waiting, to: &table)
        }
        add("dead letters", deadLetters, to: &table)
        table.add(["parked", parked.map(grouped) ?? "unknown", ""])
        return table.text
    }

    private func add(_ name: String, _ waiting: Waiting, to table: inout TextTable) {
        let messages = waiting.messages.map { grouped($0) + (waiting.isAtLeast ? "+" : "") } ?? "unknown"
        let age = waiting.messages == 0 ? "-" : waiting.oldestSeconds.map { spoken(seconds: $0) } ?? "unknown"
        table.add([name, messages, age])
    }

    private var delayLine: String {
        if endToEnd == nil { return "commit to platform  unknown" }
        guard let endToEnd, endToEnd.samples > 0, let p50 = endToEnd.p50Ms, let p99 = endToEnd.p99Ms else {
            return "commit to platform  nothing was delivered in the last minutes"
        }
        return "commit to platform  p50 \(spoken(seconds: p50 / 1_000)), p99 \(spoken(seconds: p99 / 1_000))"
            + " of \(grouped(endToEnd.samples)) in \(spoken(seconds: endToEnd.windowSeconds))"
    }

    var json: some Encodable { JSON(self) }

    private struct JSON: Encodable {
        struct Stage: Encodable {
            let stage: String
            let messages: Nullable<Int>
            /// Whether there are more than `messages`.
            let isAtLeast: Bool
            let oldestSeconds: Nullable<Double>

            init(_ stage: String, _ waiting: Waiting) {
                self.stage = stage
                messages = Nullable(waiting.messages)
                isAtLeast = waiting.isAtLeast
                oldestSeconds = Nullable(waiting.messages == 0 ? nil : waiting.oldestSeconds)
            }
        }

        struct Tier: Encodable {
            let tierMs: Int
            let messages: Int
            let oldestSeconds: Nullable<Double>
        }

        struct Delays: Encodable {
            let p50Ms: Nullable<Double>
            let p99Ms: Nullable<Double>
            let windowSeconds: Double
            let samples: Int

            init(_ endToEnd: EndToEnd) {
                p50Ms = Nullable(endToEnd.p50Ms)
                p99Ms = Nullable(endToEnd.p99Ms)
                windowSeconds = endToEnd.windowSeconds
                samples = endToEnd.samples
            }
        }

        let status: String
        let circuit: Nullable<String>
        let stages: [Stage]
        let retryTiers: [Tier]
        let parked: Nullable<Int>
        let endToEnd: Nullable<Delays>
        let consumePerSecond: Nullable<Double>
        let drainEtaSeconds: Nullable<Double>
        let asOf: String
        let problems: [String]

        init(_ reading: LagReading) {
            status = reading.status
            circuit = Nullable(reading.circuit)
            stages = [
                Stage("outbox", reading.outbox), Stage("ready", reading.ready), Stage("unacked", reading.unacked),
                Stage("retry", reading.retry), Stage("dlq", reading.deadLetters),
            ]
            retryTiers = reading.tiers.map { tier in
                let age = tier.messages == 0 ? nil : reading.tierAges[tier.tierMs]
                return Tier(tierMs: tier.tierMs, messages: tier.messages, oldestSeconds: Nullable(age))
            }
            parked = Nullable(reading.parked)
            endToEnd = Nullable(reading.endToEnd.map(Delays.init))
            consumePerSecond = Nullable(reading.consumePerSecond)
            drainEtaSeconds = Nullable(reading.drainEtaSeconds)
            asOf = reading.asOf.rfc3339
            problems = reading.problems
        }
    }
}
