import TestSupport
import Testing

@testable import AMQP

extension BrokerTests {
    @Suite("Faults")
    struct FaultTests {
        private func publisher(
            _ topology: AMQPTopology,
            through proxy: FaultProxy,
            heartbeat: Duration = .seconds(10),
            window: Int = 512
        ) throws -> AMQPPublisher {
            AMQPPublisher(
                configuration: try Broker.configuration(heartbeat: heartbeat, through: proxy),
                topology: topology,
                maximumUnconfirmed: window,
                maximumBodyBytes: 64 * 1_048_576,
                logger: Broker.logger
            )
        }

        @Test("A cut connection ends its call: nothing overtakes what was lost; the next call goes out anew")
        func cut() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                let proxy = try Broker.proxy()
                defer { proxy.stop() }
                let publisher = try publisher(topology, through: proxy, window: 64)
                async let publishing = publisher.publish(
                    Broker.messages(10_000, for: topology, bodyBytes: 2_000),
                    deadline: .now + .seconds(30)
                )
                let queue = topology.queues[0].name
                func ready() async throws -> Int {
                    try await inspector.depth(of: [queue], deadline: .now + .seconds(2))[queue]?.ready ?? 0
                }
                try await eventually("it publishes") { try await ready() > 200 }
                proxy.cutAll()
                let outcomes = await publishing
                let confirmed = outcomes.count { $0 == .confirmed }
                let lost = outcomes.count { $0 == .connectionLost }
                #expect(confirmed + lost == 10_000)
                let firstLost = try #require(outcomes.firstIndex(of: .connectionLost))
                #expect(outcomes[min(firstLost + 64, 10_000)...].allSatisfy { $0 == .connectionLost })
                try await eventually("what was confirmed is there") { try await ready() >= confirmed }
                #expect(try await ready() <= firstLost + 64)
                #expect(
                    await publisher.publish(Broker.messages(1, for: topology), deadline: .now + .seconds(5))
                        == [.confirmed]
                )
                #expect(proxy.accepted == 2)
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("A broker that is silent makes publishing time out at the deadline, and nothing gets stuck")
        func blackHole() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let proxy = try Broker.proxy()
                defer { proxy.stop() }
                let publisher = try publisher(topology, through: proxy)
                try await publisher.ensureConnected(deadline: .now + .seconds(5))
                proxy.pause()
                let clock = ContinuousClock()
                let time = await clock.measure {
                    let outcomes = await publisher.publish(
                        Broker.messages(10, for: topology),
                        deadline: .now + .milliseconds(400)
                    )
                    #expect(outcomes.allSatisfy { $0 == .timedOut })
                }
                #expect(time >= .milliseconds(400) && time < .milliseconds(900))
                proxy.resume()
                let outcomes = await publisher.publish(
                    Broker.messages(10, for: topology),
                    deadline: .now + .seconds(5)
                )
                #expect(outcomes.allSatisfy { $0 == .confirmed })
                #expect(proxy.accepted == 1)
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("A write that blocks is broken off at the deadline, also for calls behind it")
        func stuckWrite() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let proxy = try Broker.proxy()
                defer { proxy.stop() }
                let publisher = try publisher(topology, through: proxy)
                try await publisher.ensureConnected(deadline: .now + .seconds(5))
                proxy.pause()
                let big = Broker.messages(1, for: topology, bodyBytes: 32 * 1_048_576)
                let clock = ContinuousClock()
                let start = clock.now
                async let stuck = publisher.publish(big, deadline: start + .seconds(60))
                try await Task.sleep(for: .milliseconds(200))
                let behind = await publisher.publish(
                    Broker.messages(1, for: topology),
                    deadline: start + .milliseconds(500)
                )
                #expect(behind == [.timedOut])
                #expect(await stuck == [.connectionLost])
                #expect(clock.now - start < .seconds(2))
                proxy.resume()
                #expect(
                    await publisher.publish(Broker.messages(1, for: topology), deadline: .now + .seconds(10))
                        == [.confirmed]
                )
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("Deadlines hold also when the socket is full and a heartbeat is due")
        func fullSocket() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let proxy = try Broker.proxy()
                defer { proxy.stop() }
                let publisher = try publisher(topology, through: proxy, heartbeat: .seconds(1))
                try await publisher.ensureConnected(deadline: .now + .seconds(5))
                proxy.pause()
                let many = Broker.messages(512, for: topology, bodyBytes: 60_000)
                let full = await publisher.publish(many, deadline: .now + .milliseconds(500))
                #expect(full.allSatisfy { $0 == .timedOut })
                // Long enough that a heartbeat is due, and short enough that the broker doesn't miss it.
                try await Task.sleep(for: .milliseconds(800))
                let start = ContinuousClock.now
                let behind = await publisher.publish(
                    Broker.messages(1, for: topology),
                    deadline: start + .milliseconds(300)
                )
                #expect(behind == [.timedOut])
                #expect(ContinuousClock.now - start < .milliseconds(700))
                proxy.resume()
                #expect(
                    await publisher.publish(Broker.messages(1, for: topology), deadline: .now + .seconds(10))
                        == [.confirmed]
                )
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("Deadlines hold while a connection is being opened to nowhere")
        func silentConnect() async throws {
            let proxy = try Broker.proxy()
            defer { proxy.stop() }
            proxy.pause()
            let publisher = try publisher(AMQPTopology(), through: proxy)
            let message = AMQPMessage(exchange: "", routingKey: "x", body: [])
            let clock = ContinuousClock()
            for _ in 0..<3 {
                let start = clock.now
                #expect(await publisher.publish([message], deadline: start + .milliseconds(150)) == [.timedOut])
                #expect(clock.now - start < .milliseconds(600))
            }
            let start = clock.now
            let error = await #expect(throws: AMQPError.self) {
                try await publisher.ensureConnected(deadline: start + .milliseconds(1_500))
            }
            #expect(error?.code == .timedOut)
            #expect(clock.now - start < .seconds(2))
            await publisher.close(deadline: .now + .seconds(1))
        }

        @Test("A port where nobody listens is told by the status, and costs no longer than the deadline")
        func nobodyListens() async throws {
            let publisher = AMQPPublisher(
                configuration: try AMQPConfiguration(url: "amqp://127.0.0.1:1", connectionName: "test"),
                topology: AMQPTopology(),
                logger: Broker.logger
            )
            let message = AMQPMessage(exchange: "", routingKey: "x", body: [])
            #expect(await publisher.publish([message], deadline: .now + .milliseconds(200)) == [.timedOut])
            if case .disconnected(let error) = publisher.status {
                #expect(error?.code == .connectFailed)
            } else {
                Issue.record("\(publisher.status)")
            }
            await publisher.close(deadline: .now + .seconds(1))
        }

        @Test("A connection that the broker closes is opened anew")
        func closedByBroker() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let name = Broker.name("connection")
                let url = try #require(Broker.environment("JUMUN_TEST_AMQP_URL"))
                let configuration = try AMQPConfiguration(url: url, connectionName: name)
                let publisher = AMQPPublisher(configuration: configuration, topology: topology, logger: Broker.logger)
                try await publisher.ensureConnected(deadline: .now + .seconds(5))
                let pids =
                    "[P || [{pid, P}, {client_properties, L}] <- rabbit_networking:connection_info_all([pid, "
                    + "client_properties]), lists:member({<<\"connection_name\">>, longstr, <<\"\(name)\">>}, L)]"
                try Broker.control("eval '[rabbit_networking:close_connection(P, \"test\") || P <- \(pids)].'")
                try await eventually("it notices") { !publisher.status.isConnected }
                if case .disconnected(let error) = publisher.status {
                    #expect(error?.code == .connectionClosed(320))
                    #expect(error?.isRetryable == true)
                }
                let message = Broker.messages(1, for: topology)
                #expect(await publisher.publish(message, deadline: .now + .seconds(5)) == [.confirmed])
                await publisher.close(deadline: .now + .seconds(1))
            }
        }

        @Test("A delivery held longer than the broker allows comes again over a new connection")
        func consumerTimeout() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                func limit(_ timeout: Int, tick: Int) throws {
                    try Broker.control(
                        "eval 'application:set_env(rabbit, consumer_timeout, \(timeout)), "
                            + "application:set_env(rabbit, channel_tick_interval, \(tick)).'"
                    )
                }
                try await Broker.publish(Broker.messages(1, for: topology))
                let consumer = try Broker.consumer(topology)
                let deliveries = consumer.deliveries.makeAsyncIterator()
                try limit(300, tick: 100)
                let before = try await deliveries.require()
                try limit(1_800_000, tick: 60_000)
                let after = try await deliveries.require()
                #expect(after.redelivered)
                let error = await #expect(throws: AMQPError.self) { try await consumer.ack(before) }
                #expect(error?.code == .staleDelivery)
                try await consumer.ack(after)
                await consumer.close(deadline: .now + .seconds(1))
            }
        }

        @Test("A refused password is told at once")
        func password() async throws {
            let publisher = AMQPPublisher(
                configuration: try Broker.configuration(password: "wrong"),
                topology: AMQPTopology(),
                logger: Broker.logger
            )
            let error = await #expect(throws: AMQPError.self) {
                try await publisher.ensureConnected(deadline: .now + .seconds(30))
            }
            #expect(error?.code == .authenticationFailed)
            #expect(error?.description.contains("wrong") == false)
            await publisher.close(deadline: .now + .seconds(1))
        }

        @Test("Idle connections stay alive by their heartbeats")
        func idle() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let proxy = try Broker.proxy()
                defer { proxy.stop() }
                let configuration = try Broker.configuration(heartbeat: .seconds(1), through: proxy)
                let publisher = try publisher(topology, through: proxy, heartbeat: .seconds(1))
                let consumer = try Broker.consumer(topology, configuration: configuration)
                let inspector = AMQPInspector(configuration: configuration, logger: Broker.logger)
                let waiting = Task { try await consumer.deliveries.makeAsyncIterator().require() }
                try await publisher.ensureConnected(deadline: .now + .seconds(5))
                _ = try await inspector.depth(of: [], deadline: .now + .seconds(5))
                try await eventually("it consumes") { consumer.status == .connected }
                #expect(proxy.accepted == 3)
                try await Task.sleep(for: .seconds(4))
                #expect(publisher.status == .connected)
                #expect(consumer.status == .connected)
                #expect(inspector.status == .connected)
                #expect(
                    await publisher.publish(Broker.messages(1, for: topology), deadline: .now + .seconds(5))
                        == [.confirmed]
                )
                try await consumer.ack(try await waiting.value)
                #expect(proxy.accepted == 3)
                await publisher.close(deadline: .now + .seconds(1))
                await consumer.close(deadline: .now + .seconds(1))
                await inspector.close(deadline: .now + .seconds(1))
            }
        }

        @Test("A silent broker is given up after two heartbeats; then its deliveries come again, and the old are stale")
        func silentBroker() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { _ in
                let proxy = try Broker.proxy()
                defer { proxy.stop() }
                try await Broker.publish(Broker.messages(1, for: topology))
                let configuration = try Broker.configuration(heartbeat: .seconds(1), through: proxy)
                let consumer = try Broker.consumer(topology, configuration: configuration)
                let deliveries = consumer.deliveries.makeAsyncIterator()
                let before = try await deliveries.require()
                proxy.pause()
                let waiting = Task { try await deliveries.require() }
                try await eventually(within: .seconds(5), "it notices") { !consumer.status.isConnected }
                proxy.resume()
                let after = try await waiting.value
                #expect(after.redelivered)
                #expect(after.messageID == before.messageID)
                let error = await #expect(throws: AMQPError.self) { try await consumer.ack(before) }
                #expect(error?.code == .staleDelivery)
                try await consumer.ack(after)
                await consumer.close(deadline: .now + .seconds(1))
            }
        }

        @Test("After a cut what wasn't settled comes again, and settling the old delivery touches nothing")
        func cutConsumer() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                let proxy = try Broker.proxy()
                defer { proxy.stop() }
                try await Broker.publish(Broker.messages(4, for: topology))
                let consumer = try Broker.consumer(
                    topology,
                    prefetch: 2,
                    configuration: try Broker.configuration(through: proxy)
                )
                let deliveries = consumer.deliveries.makeAsyncIterator()
                let first = try await deliveries.require()
                try await consumer.ack(first)
                let second = try await deliveries.require()
                // The third only comes when the broker has read the acknowledgement of the first.
                _ = try await deliveries.require()
                proxy.cutAll()
                try await eventually("it notices") { !consumer.status.isConnected }
                let error = await #expect(throws: AMQPError.self) { try await consumer.ack(second) }
                #expect(error?.code == .staleDelivery)
                var left: Set<String> = ["in-1", "in-2", "in-3"]
                while !left.isEmpty {
                    let delivery = try await deliveries.require()
                    #expect(left.remove(delivery.messageID ?? "") != nil)
                    await #expect(throws: AMQPError.self) { try await consumer.ack(second) }
                    try await consumer.ack(delivery)
                }
                await consumer.close(deadline: .now + .seconds(1))
                let queue = topology.queues[0].name
                #expect(try await inspector.depth(of: [queue], deadline: .now + .seconds(2))[queue]?.ready == 0)
            }
        }

        @Test(
            "In a memory alarm publishing times out and keeps its connection, consuming goes on, and then all resumes"
        )
        func memoryAlarm() async throws {
            let topology = Broker.topology()
            try await Broker.with(topology) { inspector in
                let proxy = try Broker.proxy()
                defer { proxy.stop() }
                try await Broker.publish(Broker.messages(1, for: topology))
                let publisher = try publisher(topology, through: proxy, heartbeat: .seconds(1))
                try await publisher.ensureConnected(deadline: .now + .seconds(5))
                try Broker.control("set_vm_memory_high_watermark 0.00001")
                defer { try? Broker.control("set_vm_memory_high_watermark 0.4") }
                let message = Broker.messages(1, for: topology)
                try await eventually("the broker blocks") {
                    _ = await publisher.publish(message, deadline: .now + .milliseconds(100))
                    guard case .blocked = publisher.status else { return false }
                    return true
                }
                let start = ContinuousClock.now
                let outcomes = await publisher.publish(message + message, deadline: start + .seconds(3))
                #expect(outcomes == [.timedOut, .timedOut])
                #expect(ContinuousClock.now - start >= .seconds(3))
                #expect(ContinuousClock.now - start < .milliseconds(3_500))
                #expect(publisher.status.isConnected)

                let consumer = try Broker.consumer(topology)
                try await consumer.ack(try await consumer.deliveries.makeAsyncIterator().require())
                await consumer.close(deadline: .now + .seconds(1))
                _ = try await inspector.depth(of: [topology.queues[0].name], deadline: .now + .seconds(2))

                try Broker.control("set_vm_memory_high_watermark 0.4")
                #expect(await publisher.publish(message, deadline: .now + .seconds(10)) == [.confirmed])
                #expect(publisher.status == .connected)
                #expect(proxy.accepted == 1)
                await publisher.close(deadline: .now + .seconds(1))
            }
        }
    }
}
