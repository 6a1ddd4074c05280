import AMQP
import Foundation
import Logging
import Postgres
import Testing

/// A further order-api, of which only the relay counts.
private struct Relay {
    let process: ChildProcess
    let web: Web

    func metric(_ name: String) async throws -> Double { try await web.metric(name) }
}

extension Web {
    /// The value of a metric; 0 when the page does not have it.
    fileprivate func metric(_ name: String) async throws -> Double {
        let line = try await get("/metrics").body.split(separator: "\n").first { $0.hasPrefix(name + " ") }
        return line?.split(separator: " ").last.flatMap { Double($0) } ?? 0
    }
}

extension System {
    /// Starts a further order-api.
    ///
    /// - Parameter changes: to its settings.
    fileprivate func startRelay(_ changes: [String: String] = [:]) async throws -> Relay {
        let name = Service.orderAPI.rawValue
        let port = try #require(try FreePort.find(1).first)
        var settings = try settings(of: name).merging(changes) { $1 }
        settings[Service.orderAPI.portKey] = "\(port)"
        let process = try ChildProcess(name, [Service.orderAPI.command], settings: settings, logFolder: folder)
        let relay = Relay(process: process, web: Web(base: "http://127.0.0.1:\(port)"))
        try await eventually("a further order-api is live", within: .seconds(30)) {
            (try? await relay.web.get("/health/live"))?.status == 200
        }
        return relay
    }

    func run(script: String) async throws {
        let connection = try await connectToDatabase()
        try await connection.execute(script: script, deadline: .now + .seconds(30))
        await connection.close()
    }

    fileprivate func connectToDatabase() async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            PostgresConfiguration(url: servers.databaseURL(as: "jumun_owner"), applicationName: "end-to-end-tests"),
            deadline: .now + .seconds(30)
        )
    }

    /// Waits until the platform has the events of these orders.
    fileprivate func expectEvents(of orders: Set<String>, within time: Duration) async throws {
        try await eventually("the events of all orders are at the platform", within: time) {
            try await Set(events().map(\.subject)).isSuperset(of: orders)
        }
    }
}

/// All that goes over the exchange, in a queue of its own.
private struct Wiretap {
    private static let queue = "test.wiretap"
    private let consumer: AMQPConsumer

    init(_ system: System) async throws {
        let configuration = try AMQPConfiguration(url: system.servers.brokerURL, connectionName: "wiretap")
        let topology = AMQPTopology(
            exchanges: [.init(name: "order.events", kind: .topic)],
            queues: [.init(name: Wiretap.queue)],
            bindings: [.init(queue: Wiretap.queue, exchange: "order.events", routingKey: "order.#")]
        )
        let logger = Logger(label: "wiretap") { _ in SwiftLogNoOpLogHandler() }
        let inspector = AMQPInspector(configuration: configuration, logger: logger)
        try await inspector.declare(topology, deadline: .now + .seconds(10))
        await inspector.close(deadline: .now + .seconds(1))
        consumer = AMQPConsumer(
            configuration: configuration,
            topology: topology,
            queue: Wiretap.queue,
            prefetch: 1_000,
            consumerTag: "wiretap",
            logger: logger
        )
    }

    /// Of each order the numbers of its events, in the order of the queue, until all have arrived; without repeats,
    /// unless told otherwise.
    func sequences(
        withRepeats: Bool = false,
        until isComplete: ([String: [Int]]) -> Bool
    ) async throws -> [String: [Int]] {
        struct Envelope: Decodable {
            let subject: String
            let sequence: Int
        }
        var sequences: [String: [Int]] = [:]
        for await delivery in consumer.deliveries {
            let event = try JSONDecoder().decode(Envelope.self, from: Data(delivery.body))
            if withRepeats || sequences[event.subject]?.contains(event.sequence) != true {
                sequences[event.subject, default: []].append(event.sequence)
            }
            try await consumer.ack(delivery)
            if isComplete(sequences) { break }
        }
        await consumer.close(deadline: .now + .seconds(1))
        return sequences
    }
}

extension EndToEndTests {
    /// A relay that was killed is replaced within this time.
    private static let takeOverTime = Duration.seconds(2)
    /// One that is stopped: when the server has ended its session.
    private static let fencedTime = Duration.seconds(13)

    @Test("four relays divide the shards, others take over from one killed or stopped, and orders keep their order")
    func relaysShare() async throws {
        try await System.with { system in
            let wiretap = try await Wiretap(system)
            let relays = [try await system.startRelay(), try await system.startRelay(), try await system.startRelay()]
            defer { for relay in relays { relay.process.kill() } }
            try await system.eventually("each relay has two shards", within: .seconds(10)) {
                try await shards(of: [system.api] + relays.map(\.web)) == [2, 2, 2, 2]
            }
            let user = try await system.createUser()
            let product = try await system.createProduct(price: 1, stock: 1_000_000)
            let orders = try await withThrowingTaskGroup(of: Set<String>.self) { group in
                for _ in 0..<4 { group.addTask { try await liveOrders(30, user, product, system) } }
                relays[0].process.kill()
                try await expectAllShards([system.api, relays[1].web, relays[2].web], system, Self.takeOverTime)
                relays[1].process.pause()
                try await expectAllShards([system.api, relays[2].web], system, Self.fencedTime)
                for _ in 0..<4 { group.addTask { try await liveOrders(10, user, product, system) } }
                relays[1].process.resume()
                return try await group.reduce(into: Set<String>()) { $0.formUnion($1) }
            }
            try await system.eventually("the stopped relay has a share again", within: .seconds(10)) {
                try await shards(of: [system.api, relays[1].web, relays[2].web]).allSatisfy { $0 >= 2 }
            }
            let sequences = try await wiretap.sequences { $0.count == orders.count && $0.allSatisfy { $1.count == 4 } }
            #expect(Set(sequences.keys) == orders)
            #expect(sequences.values.allSatisfy { $0 == [1, 2, 3, 4] })
            for relay in relays[1...] {
                relay.process.terminate()
                #expect(try await relay.process.exitCode(within: .seconds(10)) == 0, "\(relay.process.report)")
            }
        }
    }

    /// How many shards each has; a relay that does not answer has none.
    private func shards(of relays: [Web]) async throws -> [Int] {
        var shards: [Int] = []
        for relay in relays {
            shards.append(Int((try? await relay.metric("orders_outbox_relay_shards_owned")) ?? 0))
        }
        return shards
    }

    private func expectAllShards(_ relays: [Web], _ system: System, _ time: Duration) async throws {
        let start = ContinuousClock.now
        try await system.eventually("all shards have a relay", within: time) {
            try await shards(of: relays).reduce(0, +) == 8
        }
        print("all shards had a relay again after \(start.duration(to: .now))")
    }

    /// Orders that go all the way to the customer, four events each.
    private func liveOrders(
        _ count: Int,
        _ user: Int64,
        _ product: Product,
        _ system: System
    ) async throws
        -> Set<String>
    {
        var orders: Set<String> = []
        for _ in 0..<count {
            let order: Order = try await system.placeOrder(user, [(product.id, 1)]).decoded()
            for state in ["PREPARING", "SHIPPED", "DELIVERED"] {
                let answer = try await system.api.post("/v1/orders/\(order.id)/transitions", #"{"to":"\#(state)"}"#)
                try #require(answer.status == 200, "\(answer.body)")
            }
            orders.insert(order.id)
        }
        return orders
    }

    @Test("a relay that does not reach the broker leaves its shards to one that does")
    func deafRelayResigns() async throws {
        try await System.with { system in
            let deaf = try await system.startRelay(["AMQP_URL": "amqp://guest:guest@127.0.0.1:1/none"])
            defer { deaf.process.kill() }
            try await system.eventually("the deaf relay has a share", within: .seconds(5)) {
                try await shards(of: [system.api, deaf.web]) == [4, 4]
            }
            let orders = try await system.placeOrders(20, system.createUser(), of: system.createProduct(stock: 20))
            try await system.expectEvents(of: orders, within: .seconds(15))
            #expect(try await shards(of: [system.api, deaf.web]) == [8, 0])
            deaf.process.terminate()
            #expect(try await deaf.process.exitCode(within: .seconds(10)) == 0, "\(deaf.process.report)")
        }
    }

    @Test("events that come back because a binding was removed are held, and go out once it is there again")
    func unroutableIsHeld() async throws {
        try await System.with { system in
            let returned = #"orders_outbox_published_total{result="returned"}"#
            let orders = try await orders(system, under: "no binding") {
                try await system.servers.unbindForwardQueue()
                try await system.eventually("events come back", within: .seconds(20)) {
                    try await system.api.metric(returned) > 0
                }
            }
            try await system.expectEvents(of: orders, within: Self.recoveryTime)
            try await system.eventually("nothing is held", within: .seconds(10)) {
                try await system.api.metric("orders_outbox_relay_shards_held") == 0
            }
        }
    }

    @Test("an event that the broker refuses is never overtaken by the next of its order")
    func refusedIsNotOvertaken() async throws {
        try await System.with([.orderAPI]) { system in
            let wiretap = try await Wiretap(system)
            try await system.servers.refuseEvents(ofType: "order.paid.v1")
            let refused = #"orders_outbox_published_total{result="nacked"}"#
            let order: Order = try await system.placeOrder(
                system.createUser(),
                [(system.createProduct(stock: 1).id, 1)]
            ).decoded()
            try await system.eventually("it is refused", within: .seconds(10)) {
                try await system.api.metric(refused) > 0
            }
            let path = "/v1/orders/\(order.id)/transitions"
            #expect(try await system.api.post(path, #"{"to":"PREPARING"}"#).status == 200)
            // A relay that begins finds both at once.
            try await system.stop(.orderAPI)
            try await system.start([.orderAPI])
            try await system.eventually("it is refused again", within: .seconds(10)) {
                try await system.api.metric(refused) > 0
            }
            try await system.servers.takeRefusedEvents()
            #expect(try await system.api.post(path, #"{"to":"SHIPPED"}"#).status == 200)
            let sequences = try await wiretap.sequences(withRepeats: true) { $0[order.id]?.last == 3 }
            #expect(sequences[order.id]?.drop { $0 == 1 } == [2, 3], "\(sequences)")
        }
    }

    @Test("orders are taken while the broker accepts nothing, and their events go out afterwards")
    func brokerIsBlocked() async throws {
        try await System.with { system in
            defer { try? controlBroker("set_vm_memory_high_watermark 0.4") }
            let orders = try await orders(system, under: "a memory alarm") {
                try controlBroker("set_vm_memory_high_watermark 0.00001")
                try await system.eventually("events wait", within: .seconds(20)) {
                    try await system.api.metric("orders_outbox_pending_events") > 0
                }
                _ = try await system.placeOrders(20, system.createUser(), of: system.createProduct(stock: 20))
                try controlBroker("set_vm_memory_high_watermark 0.4")
            }
            try await system.expectEvents(of: orders, within: Self.recoveryTime)
        }
    }

    /// All orders that a load has placed around something that happens to the broker.
    private func orders(
        _ system: System,
        under what: String,
        _ happens: () async throws -> Void
    ) async throws
        -> Set<String>
    {
        var orders: Set<String> = []
        try await system.underLoad(clients: 4) { load in
            try await system.eventually("orders before \(what)", within: .seconds(20)) { load.orders > 50 }
            try await happens()
            let before = load.orders
            try await system.eventually("orders after \(what)", within: .seconds(20)) { load.orders > before + 50 }
            load.end()
        }
        let statement = SQLStatement("test_order_ids", "SELECT id::text AS id FROM orders")
        for row in try await system.rows(statement) { orders.insert(try row.get("id")) }
        return orders
    }

    func controlBroker(_ arguments: String) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        let command = try TestEnvironment.required("JUMUN_TEST_RABBITMQCTL")
        process.arguments = ["-c", "'\(command)' \(arguments) > /dev/null 2>&1"]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "rabbitmqctl \(arguments)")
    }

    @Test("an event that the broker can never take is parked, a late commit waits for itself alone, all others go on")
    func oddEvents() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 1_000)
            var orders = try await system.placeOrders(1, user, of: product)
            try await system.run(script: copyEvent("repeat('x', 1200000)", "NULL", of: 8))
            try await system.run(script: copyEvent("''", "repeat('x', 130000)", of: 8))
            let late = try await system.connectToDatabase()
            try await late.execute(script: "BEGIN; " + copyEvent("''", "NULL", of: 8), deadline: .now + .seconds(10))

            orders.formUnion(try await system.placeOrders(40, user, of: product))
            try await system.expectEvents(of: orders, within: Self.eventTime)
            try await system.eventually("16 events are parked", within: .seconds(5)) {
                try await system.api.metric("orders_outbox_parked_events") == 16
            }
            #expect(try await system.api.metric(#"orders_outbox_published_total{result="refused"}"#) == 16)
            try await system.eventually("the open transaction shows", within: .seconds(5)) {
                try await system.api.metric("orders_outbox_blocking_transaction_age_seconds") > 1
            }
            #expect(try await Set(system.events().map(\.subject)) == orders)
            try await Self.dealsWithParked(system)

            try await late.execute(script: "COMMIT", deadline: .now + .seconds(10))
            await late.close()
            try await system.eventually("the late events are there", within: Self.eventTime) {
                try await system.events().count == orders.count + 8
            }
            try await system.eventually("nothing is pending", within: .seconds(5)) {
                try await system.api.metric("orders_outbox_pending_events") == 0
            }
            // What no order has told is a violation.
            try await system.run(
                script: "DELETE FROM outbox_events WHERE order_id NOT IN (SELECT id FROM orders)"
            )
        }
    }

    /// Gives one back, which is parked again, and all of them up.
    private static func dealsWithParked(_ system: System) async throws {
        let list: ParkedList = try await system.orderctl(["parked", "list", "--limit", "3"])
        #expect(list.total == 16 && list.data.count == 3)
        let id = try #require(list.data.first).eventId
        let text = try await system.orderctl(text: ["parked", "show", id])
        #expect(text.contains(id) && text.contains("reason"))
        let redrive = ["parked", "redrive", "--id", id, "--redrive-id", "p"]
        let dry: ParkedRedrive = try await system.orderctl(redrive + ["--dry-run"])
        #expect(dry.events == 1 && dry.dryRun)
        #expect(try await (system.orderctl(redrive) as ParkedRedrive).events == 1)
        try await system.eventually("it is parked again", within: .seconds(10)) {
            try await (system.orderctl(["parked", "list"]) as ParkedList).total == 16
        }
        let again: ParkedRedrive = try await system.orderctl(redrive)
        #expect(again.events == 0 && again.earlier == 1)
        try await system.refuses(["parked", "redrive", "--all", "--redrive-id", "p"], 1, "was begun with parked --id")
        try await system.refuses(["parked", "redrive", "--id", UUID().uuidString], 1, "no parked event matches --id")
        try await system.refuses(["parked", "redrive"], 64, "one of --id and --all")
        let lag: ParkedLag = try await system.orderctl(["lag"])
        #expect(lag.parked == 16)
        try await system.refuses(["parked", "purge", "--all"], 64, "--yes")
        let one: ParkedPurge = try await system.orderctl(["parked", "purge", "--all", "--limit", "1", "--yes"])
        #expect(one.purged == 1)
        #expect(try await (system.orderctl(["parked", "purge", "--all", "--yes"]) as ParkedPurge).purged == 15)
        #expect(try await system.orderctl(text: ["parked", "list"]).contains("no parked events"))
        try await system.refuses(["parked", "purge", "--all", "--yes"], 1, "no parked event matches --all")
        try await system.eventually("none is parked", within: .seconds(10)) {
            try await system.api.metric("orders_outbox_parked_events") == 0
        }
    }

    private struct ParkedList: Decodable {
        struct Event: Decodable {
            let eventId: String
        }

        let total: Int
        let data: [Event]
    }

    private struct ParkedRedrive: Decodable {
        let dryRun: Bool
        let events: Int
        let earlier: Int
    }

    private struct ParkedPurge: Decodable {
        let purged: Int
    }

    private struct ParkedLag: Decodable {
        let parked: Int
    }

    /// An event for each shard that no order has told, made of one that an order has.
    private func copyEvent(_ padding: String, _ traceparent: String, of shards: Int) -> String {
        """
        INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, traceparent, data)
        SELECT n, gen_random_uuid(), gen_random_uuid(), 1, e.type, e.occurred_at, \(traceparent),
               (left(e.data::text, -1) || ',"padding":"' || \(padding) || '"}')::json
        FROM (SELECT type, occurred_at, data FROM outbox_events ORDER BY id LIMIT 1) e
        CROSS JOIN generate_series(0, \(shards - 1)) AS n
        """
    }

    @Test("a dump restored into another cluster goes on with its events: those that waited, and those that come")
    func restoredElsewhere() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 1_000)
            var orders = try await system.placeOrders(20, user, of: product)
            try await system.expectEvents(of: orders, within: Self.eventTime)
            try await system.kill(.orderAPI)
            // No broker listens there: these orders' events wait in the outbox that is dumped.
            let deaf = try await system.startRelay(["AMQP_URL": "amqp://guest:guest@127.0.0.1:1/none"])
            for _ in 0..<10 {
                let answer = try await deaf.web.placeOrder(user, [(product.id, 1)])
                try #require(answer.status == 201, "\(answer.body)")
                orders.insert(try answer.decoded(as: Order.self).id)
            }
            deaf.process.kill()

            let cluster = try await SecondCluster.start()
            defer { cluster.stop() }
            try await cluster.restore(system.servers.adminDatabaseURL)
            let restored = try await system.startRelay(["DATABASE_URL": cluster.url(as: "jumun_api")])
            defer { restored.process.kill() }
            for _ in 0..<10 {
                let answer = try await restored.web.placeOrder(user, [(product.id, 1)])
                try #require(answer.status == 201, "\(answer.body)")
                orders.insert(try answer.decoded(as: Order.self).id)
            }
            try await system.expectEvents(of: orders, within: Self.recoveryTime)
            try await system.eventually("nothing is pending", within: .seconds(5)) {
                try await restored.metric("orders_outbox_pending_events") == 0
            }
            let events = try await system.events()
            #expect(Set(events.map(\.subject)) == orders)
            #expect(events.count == orders.count, "an event that was confirmed before the dump came again")
            restored.process.terminate()
            #expect(try await restored.process.exitCode(within: .seconds(10)) == 0, "\(restored.process.report)")
        }
    }
}
