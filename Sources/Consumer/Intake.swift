import AMQP
import Synchronization

/// Which consumer takes deliveries at the moment; none while the circuit is open or the inbox away.
final class Intake: Sendable {
    private let consumer = Mutex<AMQPConsumer?>(nil)

    func begin(_ consumer: AMQPConsumer) {
        self.consumer.withLock { $0 = consumer }
    }

    func end() {
        consumer.withLock { $0 = nil }
    }

    /// How it stands with the broker; nil while nothing is to be taken.
    var status: AMQPConnectionStatus? { consumer.withLock { $0 }?.status }

    /// The deliveries in hand.
    func unsettled() async -> Int {
        await consumer.withLock { $0 }?.unsettledCount ?? 0
    }
}
