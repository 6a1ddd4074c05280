import Testing

@testable import AMQP

extension BrokerTests {
    @Suite("Publishing")
    struct PublisherTests {
        @Test("Five thousand messages through a window of 256 are all confirmed, and all there")
        func manyConfirmed() async throws {
            let topology = Broker.topology(arguments: ["x-queue-type": .string("quorum")])
            try await Broker.with(topology) { inspector in
                let publisher = try Broker.publisher(topology, window: 256)
                let outcomes = await publisher.publish(
                    Broker.messages(5_000, for: topology),
                    deadline: .now + .seconds(30)
                )
                #expect(outcomes.count == 5_000)
                #expect(outcomes.allSatisfy { $0 == .confirmed })
                #expect(publisher.status == .connected)
                await publisher.close(deadline: .now + .seconds(1))
                let queue = topology.queues[0].name
                try await eventually("the queue holds 5,000 messages") {
                    try await inspector.depth(of: [queue], deadline: .now + .seconds(2))[queue]?.ready == 5_000
                }
            }
        }

        @Test("Calls that overlap share the window, and each gets its own outcomes")
        func overlapping() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let publisher = try Broker.publisher(topology, window: 16)
                await withTaskGroup(of: (Int, [PublishOutcome]).self) { group in
                    for call in 0..<20 {
                        let key = call.isMultiple(of: 2) ? "in" : "nowhere-\(call)"
                        let messages = Broker.messages(20, for: topology, routingKey: key)
                        group.addTask { (call, await publisher.publish(messages, deadline: .now + .seconds(20))) }
                    }
                    for await (call, outcomes) in group {
                        #expect(outcomes.count == 20)
                        #expect(outcomes.allSatisfy { ($0 == .confirmed) == call.isMultiple(of: 2) }, "call \(call)")
                    }
                }
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("What no queue is bound for is returned, large bodies too, and the others are confirmed")
        func returned() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let publisher = try Broker.publisher(topology)
                let lost = Broker.messages(2, for: topology, routingKey: "nowhere", bodyBytes: 400_000)
                let kept = Broker.messages(3, for: topology)
                let batch = [kept[0], lost[0], kept[1], lost[1], kept[2]]
                for _ in 0..<3 {
                    let outcomes = await publisher.publish(batch, deadline: .now + .seconds(10))
                    let returned = PublishOutcome.returned(code: 312, reason: "NO_ROUTE")
                    #expect(outcomes == [.confirmed, returned, .confirmed, returned, .confirmed])
                }
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("A full queue that rejects refuses")
        func nacked() async throws {
            let topology = Broker.topology(arguments: [
                "x-max-length": .int32(2), "x-overflow": .string("reject-publish"),
            ])
            try await Broker.with(topology) { _ in
                let publisher = try Broker.publisher(topology, window: 1)
                let outcomes = await publisher.publish(
                    Broker.messages(4, for: topology),
                    deadline: .now + .seconds(10)
                )
                #expect(outcomes == [.confirmed, .confirmed, .nacked, .nacked])
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("What can't be sent is refused on the spot, and the others of its batch go out")
        func refused() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let publisher = try Broker.publisher(topology)
                var messages = Broker.messages(4, for: topology)
                messages[1].body = [UInt8](repeating: 0, count: 1_048_577)
                messages[2].headers = ["x": .unsupported(kind: 63)]
                messages[3].body = []
                let outcomes = await publisher.publish(messages, deadline: .now + .seconds(10))
                #expect(outcomes[0] == .confirmed)
                #expect(outcomes[1] == .tooLarge)
                #expect(outcomes[2].isInvalid)
                #expect(outcomes[3] == .confirmed)
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("Headers near the limit of a frame are sent whole")
        func largeHeaders() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                var message = Broker.messages(1, for: topology)[0]
                message.headers = ["x": .string(String(repeating: "x", count: AMQPMessage.maximumHeaderBytes - 20))]
                try await Broker.publish([message])
            }
        }

        @Test("An exchange that doesn't exist costs the connection, and the next call works")
        func missingExchange() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let publisher = try Broker.publisher(topology)
                let lost = AMQPMessage(exchange: Broker.name("missing"), routingKey: "in", body: [])
                #expect(await publisher.publish([lost], deadline: .now + .seconds(10)) == [.connectionLost])
                if case .disconnected(let error) = publisher.status { #expect(error?.code == .channelClosed(404)) }
                let kept = Broker.messages(1, for: topology)
                #expect(await publisher.publish(kept, deadline: .now + .seconds(10)) == [.confirmed])
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("After closing nothing is accepted, and nobody waits")
        func closed() async throws {
            let publisher = try Broker.publisher(AMQPTopology())
            try await publisher.ensureConnected(deadline: .now + .seconds(10))
            await publisher.close(deadline: .now + .seconds(1))
            let message = AMQPMessage(exchange: "", routingKey: "x", body: [])
            #expect(await publisher.publish([message], deadline: .now + .seconds(60)) == [.connectionLost])
            let error = await #expect(throws: AMQPError.self) {
                try await publisher.ensureConnected(deadline: .now + .seconds(60))
            }
            #expect(error?.code == .closed)
            #expect(!publisher.status.isConnected)
        }
    }

    @Suite("Topology")
    struct TopologyTests {
        @Test("Declaring it again changes nothing")
        func idempotent() async throws {
            let topology = Broker.topology(arguments: [
                "x-queue-type": .string("quorum"), "x-delivery-limit": .int32(20), "x-max-length": .int64(1_000),
            ])
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(3, for: topology))
                try await inspector.declare(topology, deadline: .now + .seconds(10))
                let queue = topology.queues[0].name
                try await eventually("the messages are still there") {
                    try await inspector.depth(of: [queue], deadline: .now + .seconds(2))[queue]?.ready == 3
                }
            }
        }

        @Test("Another topology than the one that exists is reported, and not retried by who waits")
        func mismatch() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                var other = topology
                let name = topology.queues[0].name
                other.queues = [.init(name: name, arguments: ["x-max-length": .int32(5)])]
                let publisher = try Broker.publisher(other)
                let error = await #expect(throws: AMQPError.self) {
                    try await publisher.ensureConnected(deadline: .now + .seconds(60))
                }
                #expect(error?.code == .topologyMismatch)
                #expect(error?.reason.contains("x-max-length") == true)
                #expect(error?.isRetryable == false)
                #expect(publisher.status == .disconnected(error))
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("Depths come for the queues that exist, the others are left out")
        func depths() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(2, for: topology))
                let (queue, missing) = (topology.queues[0].name, Broker.name("missing"))
                let depths = try await inspector.depth(of: [missing, queue, missing], deadline: .now + .seconds(5))
                #expect(depths == [queue: QueueDepth(ready: 2, consumers: 0)])
                #expect(inspector.status == .connected)
            }
        }
    }
}
