import AMQP
import Foundation
import Logging
import Operations
import OrderDomain
import OrderMessages
import Postgres
import ServiceLifecycle
import ServiceRuntime

/// Looks at the dead letters and sends them again, as `orderctl dlq` does. One at a time goes through the queue.
actor DeadLetterDesk {
    /// The dead letters by what they failed of.
    struct Groups: Encodable, Sendable {
        /// When somebody began to look.
        let asOf: String
        let total: Int
        /// How many were looked at, from the oldest.
        let looked: Int
        let data: [Group]
    }

    /// Failures of one cause.
    struct Group: Encodable, Sendable {
        let group: DeadLetterGroups.Group
        let sample: Sample
    }

    /// The first of a group.
    struct Sample: Encodable, Sendable {
        let eventId: String
        let orderId: String?
        let type: String
        let attempts: Int
        let redriveCount: Int
        /// The message with its headers in JSON, as far as it is shown.
        let message: String
    }

    /// What is to be sent again.
    struct Order: Sendable {
        let selection: DeadLetterSelection
        let dryRun: Bool
        /// The most that are dealt with: as many as a dry run has selected.
        let limit: Int
        /// Said again it goes on, and sends nothing twice.
        let redriveId: String?
    }

    /// The most that are looked at, and that one redrive sends: it ends within the time of a request.
    static let maximumLetters = 1_000
    private static let maximumGroups = 50
    private static let maximumMessageLength = 8_000
    /// A longer redrive is stopped, and goes on when it is said again.
    private static let redriveLimit = Duration.seconds(20)
    /// How long a look is good for all who come after: each takes the letters out of everybody's sight for its time.
    private static let lifetime = Duration.seconds(10)
    /// The same when another number of letters is counted than it found.
    private static let changedLifetime = Duration.seconds(1)

    private let broker: AMQPConfiguration
    private let database: PostgresConfiguration
    private let consumer: ConsumerClient
    private let logger: Logger
    /// Ends when whoever came last is done.
    private var last: Task<Void, Never>?
    private var kept: (groups: Groups, at: ContinuousClock.Instant)?
    /// The look that is under way, for all who want one.
    private var looking: Task<Groups, any Error>?

    init(broker: AMQPConfiguration, database: PostgresConfiguration, consumer: ConsumerClient, logger: Logger) {
        self.broker = broker
        self.database = database
        self.consumer = consumer
        self.logger = logger
    }

    /// The groups, the largest first, as they were found at most 10 s ago, or 1 s when another number than that is
    /// `counted` now.
    ///
    /// Throws `ProcessFailure` when the queue cannot be gone through. A cancelled caller waits with the others: a look
    /// ends within its deadlines.
    func groups(counted: Int?) async throws -> Groups {
        if let kept {
            let isSame = counted == nil || counted == kept.groups.total
            if kept.at.duration(to: .now) < (isSame ? Self.lifetime : Self.changedLifetime) { return kept.groups }
        }
        if let looking { return try await looking.value }
        let look = Task {
            try await inTurn {
                let groups = try await Self.look(at: DeadLetterQueue(broker: self.broker))
                await self.keep(groups)
                return groups
            }
        }
        looking = look
        defer { looking = nil }
        return try await look.value
    }

    private func keep(_ groups: Groups?) {
        kept = groups.map { ($0, .now) }
    }

    private static func look(at queue: DeadLetterQueue) async throws -> Groups {
        var counted = DeadLetterGroups(maximum: maximumGroups)
        var samples: [String: Sample] = [:]
        var looked = 0
        let asOf = Date().rfc3339
        let total = try await queue.walk { letter, _ in
            counted.add(letter)
            if samples[letter.group] == nil, samples.count < maximumGroups {
                samples[letter.group] = try sample(letter)
            }
            looked += 1
            return looked < maximumLetters
        }
        let data = counted.sorted.compactMap { group in
            samples[group.group].map { Group(group: group, sample: $0) }
        }
        return Groups(asOf: asOf, total: total, looked: looked, data: data)
    }

    private static func sample(_ letter: DeadLetter) throws -> Sample {
        Sample(
            eventId: letter.eventID,
            orderId: letter.orderID?.text,
            type: letter.type,
            attempts: letter.attempts,
            redriveCount: letter.redriveCount,
            message: String(try DeadLetterMessage(letter: letter).json.prefix(maximumMessageLength))
        )
    }

    /// Sends dead letters again, or says what would be sent: what became of it, in JSON.
    ///
    /// It ends after the batch that is under way when the process shall stop or the request is cancelled. Throws
    /// `ProcessFailure` or `PostgresError` when nothing could be sent.
    func redrive(_ order: Order) async throws -> String {
        let stop = StopRequest()
        return try await withTaskCancellationHandler {
            try await withGracefulShutdownHandler {
                try await inTurn {
                    let report = try await self.run(order, stop)
                    await self.keep(nil)
                    return try encoded(report.json)
                }
            } onGracefulShutdown: {
                stop.stop()
            }
        } onCancel: {
            stop.stop()
        }
    }

    private nonisolated func run(_ order: Order, _ stop: StopRequest) async throws -> RedriveReport {
        // It may have waited long for its turn.
        guard !stop.isRequested else {
            throw ProcessFailure("nothing was sent: order-api stops", exitCode: ExitCode.temporaryFailure)
        }
        let plan = RedriveRun.Plan(
            id: order.redriveId ?? UUID.version7().text,
            selection: order.selection,
            limit: order.limit,
            perSecond: nil,
            isDryRun: order.dryRun,
            requestedBy: "console"
        )
        let connection = try await PostgresConnection.connect(database, deadline: .now + .seconds(5))
        let publisher = AMQPPublisher(configuration: broker, topology: AMQPTopology(), logger: logger)
        let clock = Task {
            try await Task.sleep(for: Self.redriveLimit)
            stop.stop()
        }
        let run = RedriveRun(
            plan,
            queue: DeadLetterQueue(broker: broker),
            publisher: publisher,
            database: connection,
            circuit: order.dryRun ? nil : CircuitGuard(consumer),
            stop: stop
        )
        do {
            let report = try await run.run()
            clock.cancel()
            await publisher.close(deadline: .now + .seconds(1))
            await connection.close()
            return report
        } catch {
            clock.cancel()
            await publisher.close(deadline: .now + .seconds(1))
            await connection.close()
            throw error
        }
    }

    /// Waits for those who came before. Each of them ends, since every wait of a walk has its deadline; a cancelled one
    /// ends at once.
    private func inTurn<Answer: Sendable>(_ body: @escaping @Sendable () async throws -> Answer) async throws -> Answer
    {
        let before = last
        let task = Task {
            await before?.value
            return try await body()
        }
        last = Task { _ = await task.result }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }
}
