import Testing

@testable import AMQP

extension BrokerTests {
    @Suite("Walking through a queue")
    struct QueueWalkTests {
        private static let quorum: [String: AMQPField] = ["x-queue-type": .string("quorum")]

        @Test("all is seen in order, what is removed is gone, the rest is there again in its old order")
        func walk() async throws {
            let topology = Broker.topology(arguments: Self.quorum)
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(50, for: topology))
                // Steps of 3, 6, 12, …: several consumers.
                let seen = try await Self.walk(topology, removing: { $0 % 7 == 0 })
                #expect(seen == (0..<50).map { "in-\($0)" })
                let rest = (0..<50).filter { $0 % 7 != 0 }.map { "in-\($0)" }
                #expect(try await Self.walk(topology) == rest)
                let queue = topology.queues[0].name
                let depth = try await inspector.depth(of: [queue], deadline: .now + .seconds(2))
                #expect(depth[queue]?.ready == rest.count)
            }
        }

        @Test("a walk that stops early leaves the order as it was, also the second time")
        func partialWalks() async throws {
            let topology = Broker.topology(arguments: Self.quorum)
            try await Broker.with(topology) { _ in
                try await Broker.publish(Broker.messages(40, for: topology))
                let all = (0..<40).map { "in-\($0)" }
                #expect(try await Self.walk(topology, limit: 20) == Array(all.prefix(20)))
                // Some of what was handed back is seen, some is not.
                let few = try await Self.walk(topology, limit: 5)
                #expect(few == Array(all.prefix(5)))
                let again = try await Self.walk(topology)
                #expect(again == all)
            }
        }

        @Test(
            "where a long queue was walked before, the end keeps its order, and fails no walk when it has no time for it"
        )
        func endOfPartialWalk() async throws {
            let topology = Broker.topology(arguments: Self.quorum)
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(5_000, for: topology))
                #expect(try await Self.walk(topology).count == 5_000)
                let walk = AMQPQueueWalk(queue: topology.queues[0].name, configuration: try Broker.configuration())
                _ = try await walk.begin(deadline: .now + .seconds(5))
                let first = try #require(try await walk.next(deadline: .now + .seconds(5)))
                try await walk.remove(first)
                // Long enough to say goodbye, too short to see the other 4,999.
                try await walk.end(deadline: .now + .milliseconds(20))
                let queue = topology.queues[0].name
                try await eventually("all others are there") {
                    let depth = try await inspector.depth(of: [queue], deadline: .now + .seconds(2))
                    return depth == [queue: QueueDepth(ready: 4_999, consumers: 0)]
                }
                #expect(try await Set(Self.walk(topology)).count == 4_999)
            }
        }

        @Test("what comes after the start is not seen, and is not lost")
        func laterMessages() async throws {
            let topology = Broker.topology(arguments: Self.quorum)
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(3, for: topology))
                let walk = try await Self.begin(topology, messages: 3)
                try await Broker.publish(Broker.messages(2, for: topology, routingKey: "in"))
                var seen = 0
                while let delivery = try await walk.next(deadline: .now + .seconds(5)) {
                    try await walk.remove(delivery)
                    seen += 1
                }
                // A removed one makes room for one that came later: it is handed back.
                try await walk.end(deadline: .now + .seconds(5))
                #expect(seen == 3)
                let queue = topology.queues[0].name
                let depth = try await inspector.depth(of: [queue], deadline: .now + .seconds(2))
                #expect(depth == [queue: QueueDepth(ready: 2, consumers: 0)])
            }
        }

        @Test("a second walk is told of the first, sees nothing of what that one has, and ends")
        func twoWalks() async throws {
            let topology = Broker.topology(arguments: Self.quorum)
            try await Broker.with(topology) { _ in
                // As many as the first one's first step asks for.
                try await Broker.publish(Broker.messages(3, for: topology))
                let first = try await Self.begin(topology, messages: 3)
                _ = try await first.next(deadline: .now + .seconds(5))
                let second = AMQPQueueWalk(queue: topology.queues[0].name, configuration: try Broker.configuration())
                let start = try await second.begin(deadline: .now + .seconds(5))
                #expect(start.isBusy)
                #expect(try await second.next(deadline: .now + .seconds(5)) == nil)
                try await second.end(deadline: .now + .seconds(5))
                try await first.end(deadline: .now + .seconds(5))
                #expect(try await Self.walk(topology).count == 3)
            }
        }

        @Test("a queue that does not exist is an error")
        func noQueue() async throws {
            let walk = AMQPQueueWalk(queue: Broker.name("none"), configuration: try Broker.configuration())
            let error = await #expect(throws: AMQPError.self) {
                _ = try await walk.begin(deadline: .now + .seconds(5))
            }
            #expect(error?.code == .channelClosed(404))
        }

        private static func begin(_ topology: AMQPTopology, messages: Int) async throws -> AMQPQueueWalk {
            let configuration = try Broker.configuration()
            let walk = AMQPQueueWalk(queue: topology.queues[0].name, configuration: configuration, firstStep: 3)
            let start = try await walk.begin(deadline: .now + .seconds(5))
            #expect(start.messages == messages && !start.isBusy)
            return walk
        }

        /// The ids that a walk sees.
        private static func walk(
            _ topology: AMQPTopology,
            limit: Int = .max,
            removing: (Int) -> Bool = { _ in false }
        ) async throws -> [String] {
            let configuration = try Broker.configuration()
            let walk = AMQPQueueWalk(queue: topology.queues[0].name, configuration: configuration, firstStep: 3)
            _ = try await walk.begin(deadline: .now + .seconds(5))
            var seen: [String] = []
            while seen.count < limit, let delivery = try await walk.next(deadline: .now + .seconds(5)) {
                if removing(seen.count) { try await walk.remove(delivery) }
                seen.append(delivery.messageID ?? "")
            }
            try await walk.end(deadline: .now + .seconds(5))
            return seen
        }
    }

    @Suite("Drift")
    struct DriftTests {
        @Test("what is missing and what is otherwise is told, and nothing is created")
        func drift() async throws {
            var topology = Broker.topology(arguments: ["x-max-length": .int64(10)])
            try await Broker.with(topology) { inspector in
                #expect(try await inspector.drift(from: topology, deadline: .now + .seconds(5)) == [])
                let name = topology.queues[0].name
                topology.queues = [.init(name: name, arguments: ["x-max-length": .int64(11)])]
                topology.queues.append(.init(name: Broker.name("none")))
                topology.exchanges.append(.init(name: Broker.name("none"), kind: .topic))
                topology.exchanges[0] = .init(name: topology.exchanges[0].name, kind: .fanout)
                for _ in 0..<2 {
                    let drift = try await inspector.drift(from: topology, deadline: .now + .seconds(5))
                    #expect(drift.map(\.name) == topology.exchanges.map(\.name) + topology.queues.map(\.name))
                    #expect(drift.map { $0.difference == .missing } == [false, true, false, true])
                }
            }
        }
    }
}
