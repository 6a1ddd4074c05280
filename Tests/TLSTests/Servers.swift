import AMQP
import Foundation
import Glibc
import Logging
import Postgres
import Redis
import TestSupport

extension TLSTests {
    static let logger = Logger(label: "tls-tests") { _ in SwiftLogNoOpLogHandler() }

    var soon: ContinuousClock.Instant { .now + .seconds(20) }

    private func environment(_ key: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[key], !value.isEmpty else {
            throw Certificates.Failure(description: "\(key) is not set: run the tests with `make test`")
        }
        return value
    }

    func withCertificates(_ body: (Certificates) async throws -> Void) async throws {
        let certificates = try Certificates()
        do {
            try await body(certificates)
        } catch {
            try? certificates.remove()
            throw error
        }
        try certificates.remove()
    }

    /// What the call fails with, as it is shown; empty when it succeeds.
    func refusal(_ body: () async throws -> Void) async -> String {
        do {
            try await body()
            return ""
        } catch {
            return "\(error)"
        }
    }

    // MARK: PostgreSQL

    /// Runs `body` with the URL of a superuser, by the name `localhost`, on the server that speaks TLS meanwhile.
    func withPostgresTLS(_ certificates: Certificates, _ body: (String) async throws -> Void) async throws {
        let key = try certificates.key(forOwnerOf: try environment("JUMUN_TEST_RUN_DIR") + "/postgres/data")
        let settings = [("ssl_cert_file", certificates.server), ("ssl_key_file", key), ("ssl", "on")]
        for (name, value) in settings { try await TestDatabase.administer("ALTER SYSTEM SET \(name) = '\(value)'") }
        let url = try environment(TestDatabase.environmentKey).replacingOccurrences(
            of: "@127.0.0.1:",
            with: "@localhost:"
        )
        do {
            try await TestDatabase.administer("SELECT pg_reload_conf()")
            try await eventually("PostgreSQL speaks TLS") {
                await refusal { try await connect(url, query: "sslmode=require") }.isEmpty
            }
            try await body(url)
        } catch {
            try? await resetPostgres(settings.map(\.0))
            throw error
        }
        try await resetPostgres(settings.map(\.0))
    }

    private func resetPostgres(_ settings: [String]) async throws {
        for name in settings { try await TestDatabase.administer("ALTER SYSTEM RESET \(name)") }
        try await TestDatabase.administer("SELECT pg_reload_conf()")
    }

    func connect(_ url: String, authority: String) async throws {
        try await connect(url, query: "sslmode=verify-full&sslrootcert=\(authority)")
    }

    private func connect(_ url: String, query: String) async throws {
        let configuration = try PostgresConfiguration(url: "\(url)?\(query)", applicationName: "tls-tests")
        let connection = try await PostgresConnection.connect(configuration, deadline: soon)
        await connection.close()
    }

    func pool(_ url: String, authority: String) throws -> PostgresPool {
        let url = "\(url)?sslmode=verify-full&sslrootcert=\(authority)"
        return PostgresPool(
            configuration: try PostgresConfiguration(url: url, applicationName: "tls-tests"),
            maximumConnections: 1,
            logger: Self.logger
        )
    }

    // MARK: RabbitMQ

    /// Runs `body` with `user:password` and the port of a listener that speaks TLS.
    func withRabbitMQTLS(_ certificates: Certificates, _ body: (String, UInt16) async throws -> Void) async throws {
        let url = try environment("JUMUN_TEST_AMQP_URL")
        let login = String(url.dropFirst("amqp://".count).prefix { $0 != "@" })
        let port = try FreePort.find()
        let files = "{certfile, \"\(certificates.server)\"}, {keyfile, \"\(certificates.key)\"}"
        try control(
            "rabbit_networking:ensure_ssl(), "
                + "rabbit_networking:start_ssl_listener({\"127.0.0.1\", \(port)}, [\(files), {verify, verify_none}], 2)."
        )
        let stop = "ranch:stop_listener({acceptor, {127,0,0,1}, \(port)})."
        do {
            try await eventually("RabbitMQ listens with TLS") { FreePort.isOpen(port) }
            try await body(login, port)
        } catch {
            try? control(stop)
            throw error
        }
        try control(stop)
    }

    private func control(_ expression: String) throws {
        let command = try environment("JUMUN_TEST_RABBITMQCTL")
        guard try Certificates.run(command, ["eval", expression]) == 0 else {
            throw Certificates.Failure(description: "rabbitmqctl eval \(expression)")
        }
    }

    private func publisher(_ url: String, _ topology: AMQPTopology) throws -> AMQPPublisher {
        AMQPPublisher(
            configuration: try AMQPConfiguration(url: url, connectionName: "tls-tests"),
            topology: topology,
            logger: Self.logger
        )
    }

    func connect(broker url: String) async throws {
        let publisher = try publisher(url, AMQPTopology())
        let reason = await refusal { try await publisher.ensureConnected(deadline: .now + .seconds(8)) }
        await publisher.close(deadline: .now + .seconds(1))
        guard reason.isEmpty else { throw Certificates.Failure(description: reason) }
    }

    /// Publishes 500 messages of up to 40 kB, which are more than a TLS record, and takes them back in their order.
    func carryMessages(_ url: String) async throws {
        let queue = "jumun-test.tls.\(UUID().uuidString)"
        let topology = AMQPTopology(
            exchanges: [.init(name: queue, kind: .direct)],
            queues: [.init(name: queue, arguments: [:])],
            bindings: [.init(queue: queue, exchange: queue, routingKey: "in")]
        )
        let sizes = (0..<500).map { $0 * 80 }
        let publisher = try publisher(url, topology)
        let outcomes = await publisher.publish(
            sizes.map { AMQPMessage(exchange: queue, routingKey: "in", body: [UInt8](repeating: 7, count: $0)) },
            deadline: soon
        )
        guard outcomes.allSatisfy({ $0 == .confirmed }) else { throw Certificates.Failure(description: "\(outcomes)") }
        let configuration = try AMQPConfiguration(url: url, connectionName: "tls-tests")
        let consumer = AMQPConsumer(
            configuration: configuration,
            topology: topology,
            queue: queue,
            prefetch: 100,
            consumerTag: "test",
            logger: Self.logger
        )
        try await take(sizes, from: consumer)
        await consumer.close(deadline: .now + .seconds(1))
        await publisher.close(deadline: .now + .seconds(1))
        let inspector = AMQPInspector(configuration: configuration, logger: Self.logger)
        try await inspector.delete(topology, deadline: soon)
        await inspector.close(deadline: .now + .seconds(1))
    }

    private func take(_ sizes: [Int], from consumer: AMQPConsumer) async throws {
        var rest = sizes[...]
        for await delivery in consumer.deliveries {
            let size = rest.removeFirst()
            guard delivery.body.count == size else {
                throw Certificates.Failure(description: "a body of \(delivery.body.count) bytes, not \(size)")
            }
            try await consumer.ack(delivery)
            if rest.isEmpty { return }
        }
        throw Certificates.Failure(description: "\(rest.count) messages did not come")
    }

    // MARK: Redis

    /// Runs `body` with the password and the port on which Redis speaks TLS.
    func withRedisTLS(_ certificates: Certificates, _ body: (String, UInt16) async throws -> Void) async throws {
        let url = try environment("JUMUN_TEST_REDIS_URL")
        let password = String(url.dropFirst("redis://:".count).prefix { $0 != "@" })
        let port = try FreePort.find()
        let redis = RedisClient(configuration: try RedisConfiguration(url: url), logger: Self.logger)
        _ = try await redis.send(
            [
                "CONFIG", "SET", "tls-cert-file", certificates.server, "tls-key-file", certificates.key,
                "tls-ca-cert-file", certificates.authority, "tls-auth-clients", "no", "tls-port", "\(port)",
            ],
            deadline: soon
        )
        do {
            try await body(password, port)
        } catch {
            _ = try? await redis.send(["CONFIG", "SET", "tls-port", "0"], deadline: soon)
            throw error
        }
        _ = try await redis.send(["CONFIG", "SET", "tls-port", "0"], deadline: soon)
        await redis.close()
    }

    func ping(_ url: String) async throws {
        let redis = RedisClient(configuration: try RedisConfiguration(url: url), logger: Self.logger)
        let reason = await refusal { try await redis.ping(deadline: .now + .seconds(5)) }
        await redis.close()
        guard reason.isEmpty else { throw Certificates.Failure(description: reason) }
    }

    /// Writes and reads values of up to 3 MB, and many in one pipeline, over one connection.
    func carryValues(_ url: String) async throws {
        let redis = RedisClient(configuration: try RedisConfiguration(url: url), logger: Self.logger)
        let key = "test:\(UUID().uuidString)"
        for size in [0, 1, 16_384, 16_385, 3_000_000] {
            let value = [UInt8](repeating: 0x61, count: size)
            _ = try await redis.send(RedisCommand(bytes: [Array("SET".utf8), Array(key.utf8), value]), deadline: soon)
            let back = try await redis.send(["GET", key], deadline: soon)
            guard back == .bulk(value) else { throw Certificates.Failure(description: "\(size) bytes changed") }
        }
        let echoes = (0..<5_000).map { RedisCommand(["ECHO", "\($0)"]) }
        let replies = try await redis.pipeline(echoes, deadline: soon)
        guard replies == (0..<5_000).map({ .bulk(Array("\($0)".utf8)) }) else {
            throw Certificates.Failure(description: "a pipeline came back otherwise")
        }
        _ = try await redis.send(["DEL", key], deadline: soon)
        await redis.close()
    }
}
