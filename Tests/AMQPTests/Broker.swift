import AMQP
import Glibc
import Logging
import TestSupport
import Testing

@testable import struct AMQP.AMQPConfiguration

/// All tests that need the broker; one after another, because some of them make it refuse messages for a moment.
@Suite("AMQP with a broker", .serialized, .timeLimit(.minutes(3)))
struct BrokerTests {}

/// The broker that the tests run against.
enum Broker {
    static let logger = Logger(label: "amqp-tests") { _ in SwiftLogNoOpLogHandler() }

    /// How to reach it, directly or through a proxy on the given port.
    static func configuration(
        heartbeat: Duration = .seconds(10),
        through proxy: FaultProxy? = nil,
        password: String? = nil
    ) throws -> AMQPConfiguration {
        let url = try #require(environment("JUMUN_TEST_AMQP_URL"), "start the servers with `make test`")
        let direct = try AMQPConfiguration(url: url, connectionName: "amqp-tests", heartbeat: heartbeat)
        guard proxy != nil || password != nil else { return direct }
        let host = proxy.map { "127.0.0.1:\($0.port)" } ?? "\(direct.host):\(direct.port)"
        let virtualHost = direct.virtualHost == "/" ? "%2F" : direct.virtualHost
        return try AMQPConfiguration(
            url: "amqp://\(direct.user):\(password ?? direct.password)@\(host)/\(virtualHost)",
            connectionName: "amqp-tests",
            heartbeat: heartbeat,
            timeout: .seconds(1)
        )
    }

    /// A proxy to it.
    static func proxy() throws -> FaultProxy {
        let direct = try configuration()
        let host = direct.host == "localhost" ? "127.0.0.1" : direct.host
        return try FaultProxy(host: host, port: UInt16(clamping: direct.port))
    }

    static func environment(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    /// Runs `rabbitmqctl` against the broker.
    static func control(_ arguments: String) throws {
        let command = try #require(environment("JUMUN_TEST_RABBITMQCTL"), "start the servers with `make test`")
        try #require(unsafe system("'\(command)' \(arguments) > /dev/null 2>&1") == 0, "rabbitmqctl \(arguments)")
    }

    /// A name that no other test uses.
    static func name(_ kind: String) -> String {
        "jumun-test.\(kind).\(UInt64.random(in: 0...UInt64.max))"
    }

    /// Runs a test with a topology that exists before and is deleted after it.
    static func with<Answer>(
        _ topology: AMQPTopology,
        _ test: (AMQPInspector) async throws -> Answer
    ) async throws -> Answer {
        let inspector = AMQPInspector(configuration: try configuration(), logger: logger)
        try await inspector.declare(topology, deadline: .now + .seconds(10))
        do {
            let answer = try await test(inspector)
            try await inspector.delete(topology, deadline: .now + .seconds(10))
            await inspector.close(deadline: .now + .seconds(1))
            return answer
        } catch {
            try? await inspector.delete(topology, deadline: .now + .seconds(10))
            throw error
        }
    }

    /// One exchange, and one queue bound to it with the key `in`.
    static func topology(arguments: [String: AMQPField] = [:]) -> AMQPTopology {
        let (exchange, queue) = (name("exchange"), name("queue"))
        return AMQPTopology(
            exchanges: [.init(name: exchange, kind: .direct)],
            queues: [.init(name: queue, arguments: arguments)],
            bindings: [.init(queue: queue, exchange: exchange, routingKey: "in")]
        )
    }

    /// Numbered messages for the queue of a topology.
    static func messages(
        _ count: Int,
        for topology: AMQPTopology,
        routingKey: String = "in",
        bodyBytes: Int = 20
    ) -> [AMQPMessage] {
        (0..<count).map { number in
            AMQPMessage(
                exchange: topology.exchanges[0].name,
                routingKey: routingKey,
                body: [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: bodyBytes),
                messageID: "\(routingKey)-\(number)"
            )
        }
    }

    static func publisher(_ topology: AMQPTopology, window: Int = 512) throws -> AMQPPublisher {
        AMQPPublisher(
            configuration: try configuration(),
            topology: topology,
            maximumUnconfirmed: window,
            logger: logger
        )
    }

    static func consumer(
        _ topology: AMQPTopology,
        prefetch: Int = 10,
        configuration: AMQPConfiguration? = nil
    ) throws -> AMQPConsumer {
        AMQPConsumer(
            configuration: try configuration ?? Self.configuration(),
            topology: topology,
            queue: topology.queues[0].name,
            prefetch: prefetch,
            consumerTag: "test",
            logger: logger
        )
    }

    /// Publishes over a connection of its own, and requires that all is confirmed.
    static func publish(_ messages: [AMQPMessage]) async throws {
        let publisher = AMQPPublisher(configuration: try configuration(), topology: AMQPTopology(), logger: logger)
        let outcomes = await publisher.publish(messages, deadline: .now + .seconds(10))
        await publisher.close(deadline: .now + .seconds(1))
        try #require(outcomes.allSatisfy { $0 == .confirmed })
    }
}

/// Waits until a condition holds; fails the test when it doesn't within the time.
func eventually(
    within time: Duration = .seconds(10),
    _ what: Comment,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + time
    while try await !condition() {
        try #require(ContinuousClock.now < deadline, what, sourceLocation: sourceLocation)
        try await Task.sleep(for: .milliseconds(10))
    }
}

extension AMQPDeliveries.AsyncIterator {
    /// The next delivery; fails the test when none comes within ten seconds.
    func require(sourceLocation: SourceLocation = #_sourceLocation) async throws -> AMQPDelivery {
        let delivery = await withTaskGroup(of: AMQPDelivery?.self) { group in
            var iterator = self
            group.addTask { await iterator.next() }
            group.addTask {
                try? await Task.sleep(for: .seconds(10))
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
        return try #require(delivery, "no delivery", sourceLocation: sourceLocation)
    }
}
