package import AMQP
import Backoff
import EventTopology
import ServiceRuntime

/// The dead-letter queue, which is the truth about what was given up.
package struct DeadLetterQueue {
    private static let connectTimeout = Duration.seconds(10)
    /// How long the broker may be silent although there is something.
    private static let nextTimeout = Duration.seconds(10)
    private static let endTimeout = Duration.seconds(30)
    /// How long to wait while somebody else goes through the queue: mostly the console, which takes no longer.
    private static let turnTimeout = Duration.seconds(5)
    private static let shortestPause = Duration.milliseconds(100)
    private static let longestPause = Duration.milliseconds(500)

    private let broker: AMQPConfiguration

    /// The queue on this broker; it is connected to when it is gone through.
    package init(broker: AMQPConfiguration) {
        self.broker = broker
    }

    /// Goes through what is in the queue now, from its head, until `visit` returns false; what `visit` does not remove
    /// stays. Returns how many there were. `begin` is told how many there are, `end` is called while what was seen can
    /// still be removed.
    ///
    /// Only one can go through the queue at a time, since each would miss what the other has: it waits 5 s
    /// for its turn.
    ///
    /// Throws ``ProcessFailure`` when the broker is away, or its turn has not come; `CancellationError` when it is
    /// cancelled while it waits.
    @discardableResult
    package func walk(
        begin: (Int) -> Void = { _ in },
        _ visit: (DeadLetter, AMQPQueueWalk) async throws -> Bool,
        end: (AMQPQueueWalk) async throws -> Void = { _ in }
    ) async throws -> Int {
        let (walk, messages) = try await start()
        do {
            begin(messages)
            while let delivery = try await walk.next(deadline: .now + Self.nextTimeout) {
                guard try await visit(DeadLetter(delivery), walk) else { break }
            }
            try await end(walk)
            try await walk.end(deadline: .now + Self.endTimeout)
            return messages
        } catch {
            try? await walk.end(deadline: .now + Self.endTimeout)
            throw Self.failure(error)
        }
    }

    /// Begins once nobody else goes through the queue; returns how many there are.
    private func start() async throws -> (AMQPQueueWalk, messages: Int) {
        let limit = ContinuousClock.now + Self.turnTimeout
        var backoff = Backoff(base: Self.shortestPause, cap: Self.longestPause)
        while true {
            let walk = AMQPQueueWalk(queue: BrokerNames.deadLetterQueue, configuration: broker)
            let start: AMQPQueueWalk.Start
            do {
                start = try await walk.begin(deadline: .now + Self.connectTimeout)
            } catch {
                throw Self.failure(error)
            }
            guard start.isBusy else { return (walk, start.messages) }
            try? await walk.end(deadline: .now + Self.endTimeout)
            let pause = backoff.next()
            guard .now + pause < limit else {
                throw ProcessFailure(
                    "somebody else has been going through the dead letters for 5 s, another command or the console; "
                        + "try again when it is done",
                    exitCode: ExitCode.temporaryFailure
                )
            }
            try await Task.sleep(for: pause)
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
