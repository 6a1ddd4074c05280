import AMQP
import Postgres
import Redis
import ServiceRuntime

extension HealthCheck {
    static func postgres(_ pool: PostgresPool) -> HealthCheck {
        HealthCheck("postgres", isEssential: true) {
            try await pool.ping(deadline: .now + .seconds(1))
        }
    }

    static func rabbitMQ(_ publisher: AMQPPublisher) -> HealthCheck {
        HealthCheck("rabbitmq") {
            try await publisher.ensureConnected(deadline: .now + .seconds(1))
        }
    }

    static func redis(_ client: RedisClient) -> HealthCheck {
        HealthCheck("redis") {
            try await client.ping(deadline: .now + .seconds(1))
        }
    }
}
