import Testing

@testable import AMQP

extension BrokerTests {
    @Suite("Consuming")
    struct ConsumerTests {
        @Test("Acknowledged is gone, given back comes again, dropped is gone")
        func settling() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(3, for: topology))
                let consumer = try Broker.consumer(topology)
                let deliveries = consumer.deliveries.makeAsyncIterator()
                let first = try await deliveries.require()
                let second = try await deliveries.require()
                let third = try await deliveries.require()
                #expect([first, second, third].map(\.messageID) == ["in-0", "in-1", "in-2"])
                #expect(!first.redelivered)
                #expect(first.exchange == topology.exchanges[0].name)
                #expect(first.routingKey == "in")
                #expect(first.isPersistent)
                try await consumer.ack(first)
                try await consumer.nack(second, requeue: true)
                try await consumer.nack(third, requeue: false)
                let again = try await deliveries.require()
                #expect(again.messageID == "in-1")
                #expect(again.redelivered)
                try await consumer.ack(again)
                await consumer.close(deadline: .now + .seconds(2))
                let queue = topology.queues[0].name
                let depth = try await inspector.depth(of: [queue], deadline: .now + .seconds(2))
                #expect(depth == [queue: QueueDepth(ready: 0, consumers: 0)])
            }
        }

        @Test("A delivery can be settled once")
        func settledTwice() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                try await Broker.publish(Broker.messages(2, for: topology))
                let consumer = try Broker.consumer(topology)
                let deliveries = consumer.deliveries.makeAsyncIterator()
                let first = try await deliveries.require()
                try await consumer.ack(first)
                let error = await #expect(throws: AMQPError.self) { try await consumer.ack(first) }
                #expect(error?.code == .staleDelivery)
                try await consumer.ack(try await deliveries.require())
                #expect(consumer.status == .connected)
                await consumer.close(deadline: .now + .seconds(2))
            }
        }

        @Test("Deliveries come in batches, and are acknowledged in one go; those settled already are not counted")
        func batches() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                try await Broker.publish(Broker.messages(5, for: topology))
                let consumer = try Broker.consumer(topology)
                let first = await consumer.batch(upTo: 3, waiting: .seconds(1))
                #expect(first.map(\.messageID) == ["in-0", "in-1", "in-2"])
                let second = await consumer.batch(upTo: 10, waiting: .milliseconds(100))
                #expect(second.map(\.messageID) == ["in-3", "in-4"])
                #expect(await consumer.unsettledCount == 5)
                #expect(await consumer.ack(first + second) == 5)
                #expect(await consumer.ack(first) == 0)
                #expect(await consumer.unsettledCount == 0)
                await consumer.close(deadline: .now + .seconds(2))
                #expect(await consumer.batch(upTo: 3, waiting: .seconds(1)).isEmpty)
            }
        }

        @Test("What is done before an earlier delivery is acknowledged by itself; the earlier one stays")
        func outOfOrder() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(6, for: topology))
                let consumer = try Broker.consumer(topology)
                let first = await consumer.batch(upTo: 2, waiting: .seconds(1))
                let second = await consumer.batch(upTo: 2, waiting: .seconds(1))
                let third = await consumer.batch(upTo: 2, waiting: .seconds(1))
                #expect(await consumer.ack(second) == 2)
                #expect(await consumer.ack(first.suffix(1) + third) == 3)
                #expect(await consumer.unsettledCount == 1)
                await consumer.close(deadline: .now + .seconds(2))
                let queue = topology.queues[0].name
                try await eventually("the one that was not done is left") {
                    let depth = try await inspector.depth(of: [queue], deadline: .now + .seconds(2))
                    return depth == [queue: QueueDepth(ready: 1, consumers: 0)]
                }
                let next = try Broker.consumer(topology)
                #expect(await next.batch(upTo: 9, waiting: .milliseconds(100)).map(\.messageID) == ["in-0"])
                await next.close(deadline: .now + .seconds(2))
            }
        }

        @Test("What is done out of order is told to the broker without another acknowledgement")
        func outOfOrderAlone() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(3, for: topology))
                let consumer = try Broker.consumer(topology, prefetch: 2)
                let first = try await consumer.deliveries.makeAsyncIterator().require()
                let second = await consumer.batch(upTo: 1, waiting: .zero)
                #expect(await consumer.ack(second) == 1)
                // The prefetch lets the third out only once the broker knows of the second.
                #expect(await consumer.batch(upTo: 1, waiting: .zero).map(\.messageID) == ["in-2"])
                try await consumer.ack(first)
                await consumer.close(deadline: .now + .seconds(2))
            }
        }

        @Test("No more than the prefetch is unsettled at a time")
        func prefetch() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(10, for: topology))
                let consumer = try Broker.consumer(topology, prefetch: 3)
                let deliveries = consumer.deliveries.makeAsyncIterator()
                let first = try await deliveries.require()
                let queue = topology.queues[0].name
                func ready() async throws -> Int? {
                    try await inspector.depth(of: [queue], deadline: .now + .seconds(2))[queue]?.ready
                }
                try await eventually("three are out") { try await ready() == 7 }
                try await consumer.ack(first)
                try await eventually("one more is out") { try await ready() == 6 }
                for _ in 0..<9 { try await consumer.ack(try await deliveries.require()) }
                try await eventually("all are done") { try await ready() == 0 }
                await consumer.close(deadline: .now + .seconds(2))
            }
        }

        @Test("After a cancel the sequence ends with what is here, which can still be settled")
        func cancel() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(5, for: topology))
                let consumer = try Broker.consumer(topology, prefetch: 5)
                let first = try await consumer.deliveries.makeAsyncIterator().require()
                let queue = topology.queues[0].name
                try await eventually("all are out") {
                    try await inspector.depth(of: [queue], deadline: .now + .seconds(2))[queue]?.ready == 0
                }
                await consumer.cancel(deadline: .now + .seconds(5))
                try await Broker.publish(Broker.messages(1, for: topology))
                var rest: [AMQPDelivery] = []
                for await delivery in consumer.deliveries { rest.append(delivery) }
                #expect(rest.map(\.messageID) == ["in-1", "in-2", "in-3", "in-4"])
                for delivery in [first] + rest.dropLast() { try await consumer.ack(delivery) }
                #expect(consumer.status == .connected)
                await consumer.close(deadline: .now + .seconds(2))
                try await eventually("the new one and the unsettled one are left") {
                    let depth = try await inspector.depth(of: [queue], deadline: .now + .seconds(2))
                    return depth == [queue: QueueDepth(ready: 2, consumers: 0)]
                }
            }
        }

        @Test("A cancel ends a wait for deliveries")
        func cancelWhileWaiting() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let consumer = try Broker.consumer(topology)
                async let delivered = consumer.deliveries.reduce(0) { count, _ in count + 1 }
                try await eventually("it consumes") { consumer.status == .connected }
                await consumer.cancel(deadline: .now + .seconds(5))
                #expect(await delivered == 0)
                await consumer.close(deadline: .now + .seconds(2))
            }
        }

        @Test("Cancelling the task that iterates ends that iteration only")
        func taskCancellation() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let consumer = try Broker.consumer(topology)
                let waiting = Task { await consumer.deliveries.reduce(0) { count, _ in count + 1 } }
                try await eventually("it consumes") { consumer.status == .connected }
                waiting.cancel()
                #expect(await waiting.value == 0)
                try await Broker.publish(Broker.messages(1, for: topology))
                try await consumer.ack(try await consumer.deliveries.makeAsyncIterator().require())
                await consumer.close(deadline: .now + .seconds(2))
            }
        }

        @Test("A queue deleted under it is declared again, and consumed on")
        func queueDeleted() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                try await Broker.publish(Broker.messages(1, for: topology))
                let consumer = try Broker.consumer(topology)
                let deliveries = consumer.deliveries.makeAsyncIterator()
                let before = try await deliveries.require()
                var waiting = Task { try await deliveries.require() }
                try await inspector.delete(topology, deadline: .now + .seconds(5))
                try await eventually("the queue is there again, with its consumer") {
                    let queue = topology.queues[0].name
                    return try await inspector.depth(of: [queue], deadline: .now + .seconds(2))[queue]?.consumers == 1
                }
                try await Broker.publish(Broker.messages(1, for: topology))
                let after = try await waiting.value
                #expect(after.messageID == "in-0")
                let error = await #expect(throws: AMQPError.self) { try await consumer.ack(before) }
                #expect(error?.code == .staleDelivery)
                try await consumer.ack(after)
                waiting = Task { after }
                await consumer.close(deadline: .now + .seconds(2))
            }
        }

        @Test("Headers and properties of all kinds arrive as they were sent")
        func roundTrip() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                var message = Broker.messages(1, for: topology, bodyBytes: 300_000)[0]
                message.contentType = "application/cloudevents+json"
                message.type = "order.created"
                message.appID = "order-api"
                message.timestamp = 1_764_000_000
                message.isPersistent = false
                message.headers = [
                    "null": .null, "true": .bool(true), "false": .bool(false), "i32": .int32(-5),
                    "i64": .int64(.min), "double": .double(0.1), "decimal": .decimal(scale: 2, value: 12_345),
                    "text": .string("주문 ✓"), "empty": .string(""), "bytes": .bytes([0, 255, 128]),
                    "time": .timestamp(1_764_000_000), "array": .array([.int32(1), .string("a"), .array([])]),
                    "table": .table(["k": .table(["deep": .bool(true)]), "none": .table([:])]),
                ]
                try await Broker.publish([message])
                let consumer = try Broker.consumer(topology)
                let delivery = try await consumer.deliveries.makeAsyncIterator().require()
                // Compared outside of the macro, which would work out the difference of 300,000 bytes for minutes.
                let isWhole = delivery.body == message.body
                #expect(isWhole)
                #expect(delivery.messageID == message.messageID)
                #expect(delivery.contentType == message.contentType)
                #expect(delivery.type == message.type)
                #expect(delivery.appID == message.appID)
                #expect(delivery.timestamp == message.timestamp)
                #expect(!delivery.isPersistent)
                #expect(delivery.headers == message.headers)
                try await consumer.ack(delivery)
                await consumer.close(deadline: .now + .seconds(2))
            }
        }

        @Test("A message given back too often ends in the dead-letter queue, which tells its past")
        func deliveryLimit() async throws {
            let (exchange, deadQueue) = (Broker.name("dlx"), Broker.name("dlq"))
            var topology = Broker.topology(arguments: [
                "x-queue-type": .string("quorum"), "x-delivery-limit": .int32(2),
                "x-dead-letter-exchange": .string(exchange), "x-dead-letter-routing-key": .string("poison"),
                "x-dead-letter-strategy": .string("at-least-once"), "x-overflow": .string("reject-publish"),
            ])
            topology.exchanges.append(.init(name: exchange, kind: .direct))
            topology.queues.append(.init(name: deadQueue, arguments: ["x-queue-type": .string("quorum")]))
            topology.bindings.append(.init(queue: deadQueue, exchange: exchange, routingKey: "poison"))
            try await Broker.with(topology) { [topology] _ in
                try await Broker.publish(Broker.messages(1, for: topology))
                let consumer = try Broker.consumer(topology)
                let deliveries = consumer.deliveries.makeAsyncIterator()
                for attempt in 0..<3 {
                    let delivery = try await deliveries.require()
                    #expect(delivery.deliveryCount == attempt)
                    try await consumer.nack(delivery, requeue: true)
                }
                var deadTopology = topology
                deadTopology.queues = [topology.queues[1]]
                deadTopology.bindings = [topology.bindings[1]]
                let undertaker = try Broker.consumer(deadTopology)
                let dead = try await undertaker.deliveries.makeAsyncIterator().require()
                #expect(dead.messageID == "in-0")
                let death = dead.headers["x-death"]?.array?.first?.table
                #expect(death?["reason"]?.string == "delivery_limit")
                #expect(death?["queue"]?.string == topology.queues[0].name)
                #expect(death?["count"]?.integer == 1)
                try await undertaker.ack(dead)
                await consumer.close(deadline: .now + .seconds(2))
                await undertaker.close(deadline: .now + .seconds(2))
            }
        }
    }
}
