import EventTopology
import Operations

/// How it stands with the delivery of events, in a word, and why.
struct ConsoleStatus: Encodable, Equatable, Sendable {
    /// From the best to the worst.
    enum Word: String, Comparable, Encodable, Sendable {
        case ok
        case warn
        /// The consumer, which alone would know, does not answer; or somebody was not asked yet.
        case unknown
        case stall
        case stop

        private static let order: [Word] = [.ok, .warn, .unknown, .stall, .stop]

        static func < (left: Word, right: Word) -> Bool {
            (order.firstIndex(of: left) ?? 0) < (order.firstIndex(of: right) ?? 0)
        }
    }

    /// What is promised, from the commit to the platform's answer.
    static let promisedSeconds = 5.0

    private(set) var word = Word.ok
    /// A sentence each, the worst first.
    private(set) var reasons: [String] = []

    init(_ snapshot: ConsoleSnapshot) {
        var found: [(word: Word, reason: String)] = []
        Self.judge(snapshot.consumer, &found)
        Self.judge(snapshot.outbox, &found)
        Self.judge(snapshot.queues, &found)
        if snapshot.orders.failedPerSecond > 0 {
            found.append((.warn, "Orders are answered with an error, or refused because too many wait."))
        }
        word = found.map(\.word).max() ?? .ok
        reasons = found.enumerated()
            .sorted { ($1.element.word, $0.offset) < ($0.element.word, $1.offset) }
            .map(\.element.reason)
    }

    private static func judge(
        _ consumer: Reading<ConsoleSnapshot.Consumer>,
        _ found: inout [(word: Word, reason: String)]
    ) {
        guard let lag = consumer.value else {
            found.append((.unknown, "The consumer \(consumer.silence)."))
            return
        }
        // An open circuit is the reason for what the lag's status would say beside it.
        switch (lag.circuit, lag.status) {
        case ("open", _):
            found.append((.stop, "The circuit is open: the data platform fails, and nothing is sent to it."))
        case ("half_open", _):
            found.append((.stall, "The circuit is half open: the consumer probes the data platform."))
        case (_, "ok"): break
        case (_, "warn"): found.append((.warn, "What waits does not grow less."))
        case (_, "stall"): found.append((.stall, "Requests to the data platform fail."))
        default: found.append((.stop, "Events wait, and none is delivered."))
        }
        if let oldest = lag.oldestSeconds, oldest > promisedSeconds {
            found.append((.warn, "The oldest event has been waiting for \(spoken(seconds: oldest))."))
        }
        if let p99 = lag.p99Ms, p99 > promisedSeconds * 1_000 {
            found.append((.warn, "One event of a hundred took longer than 5 s: \(spoken(seconds: p99 / 1_000))."))
        }
    }

    private static func judge(_ outbox: Reading<ConsoleSnapshot.Outbox>, _ found: inout [(word: Word, reason: String)])
    {
        guard let outbox = outbox.value else {
            found.append(silence(of: outbox, "PostgreSQL", (.stop, "No order can be taken")))
            return
        }
        if outbox.pending > 0, outbox.oldestSeconds > promisedSeconds {
            let age = spoken(seconds: outbox.oldestSeconds)
            found.append((.stall, "An event has been waiting in the outbox for \(age)."))
        }
        if outbox.parked > 0 {
            found.append(
                (.warn, "\(grouped(Int(outbox.parked))) parked in the outbox: the broker can never take them.")
            )
        }
    }

    private static func judge(_ queues: Reading<ConsoleSnapshot.Queues>, _ found: inout [(word: Word, reason: String)])
    {
        guard let queues = queues.value else {
            found.append(silence(of: queues, "RabbitMQ", (.stall, "Events wait in the outbox")))
            return
        }
        if queues.ready == nil { found.append((.stop, "RabbitMQ has no queue \(BrokerNames.forwardQueue).")) }
        guard queues.hasDeadLetterQueue else {
            found.append((.stop, "RabbitMQ has no queue \(BrokerNames.deadLetterQueue)."))
            return
        }
        guard let letters = queues.deadLetters, letters > 0 else { return }
        found.append(
            (.warn, letters == 1 ? "A dead letter waits for you." : "\(grouped(letters)) dead letters wait for you.")
        )
    }

    /// What it means that a server cannot be asked. Of one that nobody has asked lately nobody knows how it stands.
    private static func silence<Value: Encodable & Sendable>(
        of reading: Reading<Value>,
        _ server: String,
        _ away: (word: Word, consequence: String)
    ) -> (word: Word, reason: String) {
        guard reading.problem != nil else { return (.unknown, "\(server) \(reading.silence).") }
        return (away.word, "\(away.consequence): \(server) \(reading.silence).")
    }
}
