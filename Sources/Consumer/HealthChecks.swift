import AMQP
import Postgres
import ServiceRuntime

// Without either it delivers nothing.
extension HealthCheck {
    /// Whether messages come, or would if any were wanted: the platform's outages are there to be bridged.
    static func rabbitMQ(_ intake: Intake, _ inspector: AMQPInspector) -> HealthCheck {
        HealthCheck("rabbitmq", isEssential: true) {
            guard case .disconnected(let error) = intake.status ?? inspector.status else { return }
            throw BrokerTrouble(error)
        }
    }

    static func postgres(_ pool: PostgresPool) -> HealthCheck {
        HealthCheck("postgres", isEssential: true) {
            try await pool.ping(deadline: .now + .seconds(1))
        }
    }
}

/// Why no messages come, and what would help.
struct BrokerTrouble: Error, CustomStringConvertible {
    let description: String

    init(_ error: AMQPError?) {
        switch error {
        case nil: description = "not connected yet"
        // The broker's own words name the queue and the argument, and say what is there and what was wanted.
        case let error? where error.code == .topologyMismatch:
            description = "a queue or exchange exists with other arguments; delete it when it is empty: \(error.reason)"
        case let error?: description = "\(error)"
        }
    }
}
