import AMQP
import EventTopology
import Foundation
import Logging
import Postgres
import TestSupport
import Testing

/// A consumer and a platform without an API: events come straight from the test.
struct Courier: Sendable {
    struct Event: Sendable {
        let id: String
        let order: String

        var body: [UInt8] {
            Array(
                (#"{"specversion":"1.0","id":"\#(id)","source":"/jumun/orders","type":"order.paid.v1","#
                    + #""subject":"\#(order)","sequence":1,"datacontenttype":"application/json","data":{}}"#).utf8
            )
        }
    }

    /// `GET /lag`, as those read it who show it.
    struct Lag: Decodable, Sendable {
        struct Stage: Decodable, Sendable {
            let stage: String
            let messages: Int?
            let oldestSeconds: Double?
        }

        struct EndToEnd: Decodable, Sendable {
            let p50Ms: Double?
            let p99Ms: Double?
            let windowSeconds: Int
            let samples: Int
        }

        let status: String
        let circuit: String
        let stages: [Stage]
        let endToEnd: EndToEnd
        let consumePerSecond: Double
        let drainEtaSeconds: Double?
        let asOf: String
    }

    /// Which of its servers the consumer reaches through a proxy.
    enum ProxiedServer: Sendable {
        case broker, database
    }

    private static let timeout = Duration.seconds(10)
    private static let logger = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }

    let system: System
    let proxy: FaultProxy?
    var consumer: Web { system.web(of: .consumer) }

    /// Runs a test with a platform and a consumer.
    ///
    /// - Parameters:
    ///   - settings: of the consumer, beside the usual ones.
    ///   - proxied: the server between which and the consumer there is a proxy.
    ///   - before: declared before the consumer starts.
    ///   - waits: whether the consumer has to become ready.
    static func with(
        settings: [String: String] = [:],
        throughProxy proxied: ProxiedServer? = nil,
        before: AMQPTopology? = nil,
        waits: Bool = true,
        _ test: (Courier) async throws -> Void
    ) async throws {
        try await System.with([.dataPlatform]) { system in
            let (key, url) =
                proxied == .database
                ? ("DATABASE_URL", system.servers.databaseURL(as: "jumun_consumer"))
                : ("AMQP_URL", system.servers.brokerURL)
            var settings = settings
            var proxy: FaultProxy?
            if proxied != nil {
                let address = try TestDatabase.address(of: url)
                let made = try FaultProxy(host: address.host, port: address.port)
                settings[key] = try TestDatabase.url(url, throughPort: made.port)
                proxy = made
            }
            defer { proxy?.stop() }
            if let before { try await Courier(system: system, proxy: nil).declare(before) }
            system.set(settings, for: .consumer)
            try await system.start([.consumer], waits: waits)
            try await test(Courier(system: system, proxy: proxy))
        }
    }

    /// New events, each of an order of its own.
    static func events(_ count: Int) -> [Event] {
        (0..<count).map { _ in
            Event(id: UUID().uuidString.lowercased(), order: UUID().uuidString.lowercased())
        }
    }

    // MARK: The broker

    private func configuration() throws -> AMQPConfiguration {
        try AMQPConfiguration(url: system.servers.brokerURL, connectionName: "tests")
    }

    func declare(_ topology: AMQPTopology) async throws {
        let inspector = try AMQPInspector(configuration: configuration(), logger: Self.logger)
        try await inspector.declare(topology, deadline: .now + Self.timeout)
        await inspector.close(deadline: .now + .seconds(1))
    }

    func publish(_ events: [Event], headers: [String: AMQPField] = [:]) async throws {
        let now = Int64(Date().timeIntervalSince1970 * 1_000)
        try await publish(
            events.map { event in
                AMQPMessage(
                    exchange: BrokerNames.eventsExchange,
                    routingKey: "order.paid.v1",
                    body: event.body,
                    messageID: event.id,
                    headers: headers.merging([EventHeaders.occurredAtMs: .int64(now)]) { $1 }
                )
            }
        )
    }

    func publish(text: String) async throws {
        try await publish([
            AMQPMessage(exchange: BrokerNames.eventsExchange, routingKey: "order.paid.v1", body: Array(text.utf8))
        ])
    }

    private func publish(_ messages: [AMQPMessage]) async throws {
        let publisher = try AMQPPublisher(
            configuration: configuration(),
            topology: .orderEvents,
            logger: Self.logger
        )
        let outcomes = await publisher.publish(messages, deadline: .now + Self.timeout)
        await publisher.close(deadline: .now + .seconds(1))
        try #require(outcomes.allSatisfy { $0 == .confirmed })
    }

    /// Takes the dead letters, which must become so many.
    func deadLetters(_ count: Int) async throws -> [AMQPDelivery] {
        let letters = try AMQPConsumer(
            configuration: configuration(),
            topology: .forwarding,
            queue: BrokerNames.deadLetterQueue,
            prefetch: 100,
            consumerTag: "tests",
            logger: Self.logger
        )
        let deadline = ContinuousClock.now + .seconds(30)
        var taken: [AMQPDelivery] = []
        let timer = Task {
            try await Task.sleep(until: deadline, clock: .continuous)
            await letters.close(deadline: .now)
        }
        while taken.count < count {
            let batch = await letters.batch(upTo: 100, waiting: .milliseconds(50))
            if batch.isEmpty { break }
            taken += batch
        }
        timer.cancel()
        await letters.close(deadline: .now + .seconds(1))
        #expect(taken.count == count)
        return taken
    }

    /// Nothing waits in any queue but that of the dead letters.
    func expectEmpty() async throws {
        let queues = AMQPTopology.forwarding.queues.map(\.name).filter { $0 != BrokerNames.deadLetterQueue }
        let inspector = try AMQPInspector(configuration: configuration(), logger: Self.logger)
        try await system.eventually("all queues are empty", within: .seconds(20)) {
            try await inspector.depth(of: queues, deadline: .now + Self.timeout).values.allSatisfy { $0.ready == 0 }
        }
        await inspector.close(deadline: .now + .seconds(1))
        try await system.eventually("nothing is in hand", within: .seconds(20)) {
            try await lag().stages.first { $0.stage == "unacked" }?.messages == 0
        }
    }

    // MARK: The platform

    func setFaults(_ faults: String) async throws {
        try #require(try await system.platform.send("PUT", "/v1/faults", body: faults).status == 200)
    }

    func statistics() async throws -> PlatformStatistics {
        try await system.platform.get("/v1/stats").decoded()
    }

    /// All these events, and no others, are at the platform, once.
    func expectDelivered(_ events: [Event], within time: Duration = .seconds(30)) async throws {
        try await system.eventually("\(events.count) events are at the platform", within: time) {
            try await statistics().unique >= events.count
        }
        let arrived = try await system.platform.get("/v1/events?limit=10000").decoded(as: List<ArrivedEvent>.self).data
        #expect(Set(arrived.map(\.id)) == Set(events.map(\.id)))
    }

    private struct ArrivedEvent: Decodable, Sendable {
        let id: String
    }

    /// The times at which the platform has refused its first requests, to some hundredths of a second.
    func requestTimes(_ count: Int, after begin: () async throws -> Void) async throws -> [ContinuousClock.Instant] {
        try await begin()
        var times: [ContinuousClock.Instant] = []
        let deadline = ContinuousClock.now + .seconds(60)
        while times.count < count, ContinuousClock.now < deadline {
            while try await statistics().refused <= times.count, ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(10))
            }
            times.append(.now)
        }
        return times
    }

    // MARK: The consumer

    func lag() async throws -> Lag {
        try await consumer.get("/lag").decoded()
    }

    /// The value of a series; nil when there is none.
    func metric(_ series: String) async throws -> Double? {
        let page = try await consumer.get("/metrics").body
        let line = page.split(separator: "\n").first { $0.hasPrefix(series + " ") }
        return line?.split(separator: " ").last.flatMap { Double($0) }
    }

    // MARK: The database

    func rows(_ table: String) async throws -> Int64 {
        table == "event_deliveries"
            ? try await count("SELECT count(*) AS n FROM event_deliveries")
            : try await count("SELECT count(*) AS n FROM delivery_attempts")
    }

    /// The number `n` of a query.
    func count(_ query: StaticString) async throws -> Int64 {
        let connection = try await PostgresConnection.connect(
            PostgresConfiguration(url: system.servers.databaseURL(as: "jumun_owner"), applicationName: "tests"),
            deadline: .now + Self.timeout
        )
        let rows = try await connection.query(SQLStatement("count", query), deadline: .now + Self.timeout)
        await connection.close()
        return try rows[0].get("n")
    }
}
