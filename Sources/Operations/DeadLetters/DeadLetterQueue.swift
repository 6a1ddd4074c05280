package import AMQP
import EventTopology
import ServiceRuntime

/// The dead-letter queue, which is the truth about what was given up.
package struct DeadLetterQueue {
    private static let connectTimeout = Duration.seconds(10)
    /// How long the broker may be silent although there is something.
    private static let nextTimeout = Duration.seconds(10)
    private static let endTimeout = Duration.seconds(30)

    private let broker: AMQPConfiguration

    /// The queue on this broker; it is connected to when it is gone through.
    package init(broker: AMQPConfiguration) {
        self.broker = broker
    }

    /// Goes through what is in the queue now, from its head, until `visit` returns false; what `visit` does not remove
    /// stays. Returns how many there were. `begin` is told how many there are, `end` is called while what was seen can
    /// still be removed.
    ///
    /// Throws ``ProcessFailure`` when the broker is away, or when another command goes through the queue: only one can,
    /// since each would miss what the other has.
    @discardableResult
    package func walk(
        begin: (Int) -> Void = { _ in },
        _ visit: (DeadLetter, AMQPQueueWalk) async throws -> Bool,
        end: (AMQPQueueWalk) async throws -> Void = { _ in }
    ) async throws -> Int {
        let walk = AMQPQueueWalk(queue: BrokerNames.deadLetterQueue, configuration: broker)
        do {
            let start = try await walk.begin(deadline: .now + Self.connectTimeout)
            guard !start.isBusy else {
                throw ProcessFailure(
                    "another command goes through the dead letters; try again when it is done",
                    exitCode: ExitCode.temporaryFailure
                )
            }
            begin(start.messages)
            while let delivery = try await walk.next(deadline: .now + Self.nextTimeout) {
                guard try await visit(DeadLetter(delivery), walk) else { break }
            }
            try await end(walk)
            try await walk.end(deadline: .now + Self.endTimeout)
            return start.messages
        } catch {
            try? await walk.end(deadline: .now + Self.endTimeout)
            throw Self.failure(error)
        }
    }

    private static func failure(_ error: any Error) -> any Error {
        guard let error = error as? AMQPError else { return error }
        if error.code == .channelClosed(404) {
            return ProcessFailure(
                "the broker has no queue \(BrokerNames.deadLetterQueue); the consumer and order-api declare it when "
                    + "they start"
            )
        }
        return ProcessFailure("the broker cannot be asked: \(error)", exitCode: ExitCode.unavailable)
    }
}
