import AMQP
import EventTopology
import Foundation
import TestSupport
import Testing

/// The consumer with a platform that fails in every way, and events that come straight from the broker.
extension EndToEndTests {
    @Test("a thousand events are a few requests; sent again they are none, and nothing waits")
    func eventBatches() async throws {
        try await Courier.with { courier in
            let events = Courier.events(1_000)
            try await courier.publish(events)
            try await courier.expectDelivered(events)
            let before = try await courier.statistics()
            #expect(before.requests <= 100)
            #expect(try await courier.rows("event_deliveries") == 1_000)

            try await courier.publish(events)
            try await courier.system.eventually("all are known", within: Self.deliveryTime) {
                try await courier.metric(#"event_consumer_deliveries_total{outcome="duplicate"}"#) == 1_000
            }
            let after = try await courier.statistics()
            #expect((after.requests, after.duplicates) == (before.requests, 0))
            try await courier.expectEmpty()
            #expect(try await courier.metric(#"event_consumer_deliveries_total{outcome="success"}"#) == 1_000)
            try await expectReport(courier)
        }
    }

    private func expectReport(_ courier: Courier) async throws {
        // It is made anew every 2 s.
        try await courier.system.eventually("the report is up to date", within: .seconds(10)) {
            try await courier.lag().endToEnd.samples == 1_000
        }
        let report = try await courier.lag()
        #expect((report.status, report.circuit) == ("ok", "closed"))
        #expect(report.stages.map(\.stage) == ["outbox", "ready", "unacked", "retry", "dlq"])
        #expect(report.endToEnd.p50Ms ?? 0 > 0)
    }

    @Test("of 200 events the two that are refused are dead letters with status and reason, the others are delivered")
    func poisonAmongMany() async throws {
        try await Courier.with { courier in
            let events = Courier.events(200)
            let poison = [events[17], events[150]]
            let subjects = poison.map { #""\#($0.order)""# }.joined(separator: ",")
            try await courier.setFaults(#"{"mode":"reject","subjects":[\#(subjects)]}"#)
            try await courier.publish(events)
            try await courier.publish(text: "no event")
            try await courier.publish(text: #"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"s"}"#)
            // No CloudEvent, but it says of which order it is.
            try await courier.publish(text: #"{"id":"\#(UUID())","subject":"\#(UUID())"}"#)
            try await courier.expectDelivered(events.filter { event in !poison.contains { $0.id == event.id } })
            let letters = try await courier.deadLetters(5)
            let refused = letters.filter { $0.headers["x-error-status"]?.integer == 422 }
            #expect(Set(refused.compactMap(\.messageID)) == Set(poison.map(\.id)))
            for letter in refused {
                #expect(letter.headers["x-attempt"]?.integer == 1)
                #expect(letter.headers["x-fingerprint"]?.string == "422 event_rejected")
                #expect(letter.headers["x-error-message"]?.string?.contains("told to reject") == true)
                #expect(letter.headers["x-death"] == nil)
            }
            let reasons = letters.compactMap { $0.headers["x-error-message"]?.string }
            #expect(reasons.contains("the message is not a CloudEvent in JSON"))
            #expect(reasons.contains("the event's id is not a UUID"))
            #expect(reasons.contains("the message lacks specversion 1.0, source or type of a CloudEvent"))
            try await courier.system.eventually("what can be told of it is noted", within: .seconds(10)) {
                try await courier.rows("delivery_attempts") == 3
            }
            #expect(try await courier.metric(#"event_consumer_deliveries_total{outcome="dead_lettered"}"#) == 5)
        }
    }

    @Test("retries come after 1, 2 and 4 s, and a tenth more at most; ten in a row open the circuit and lose nothing")
    func tiers() async throws {
        try await Courier.with { courier in
            try await courier.setFaults(#"{"mode":"down","status":500}"#)
            let events = Courier.events(1)
            let times = try await courier.requestTimes(4) { try await courier.publish(events) }
            for (gap, tier) in zip(
                zip(times, times.dropFirst()).map { $0.duration(to: $1) / .seconds(1) },
                [1.0, 2, 4]
            ) {
                #expect((0.95 * tier...1.1 * tier + 0.5).contains(gap), "\(gap) s for the tier of \(tier) s")
            }
            try await courier.setFaults(#"{"mode":"ok"}"#)
            try await courier.expectDelivered(events, within: .seconds(20))
            #expect(try await courier.metric(#"event_retry_scheduled_total{tier="4000"}"#) == 1)
        }
    }

    @Test("an event that is sent back ten times by the platform's own wish is not lost, and no attempt is counted")
    func tenTimes() async throws {
        try await Courier.with { courier in
            try await courier.setFaults(#"{"mode":"down","status":429,"retryAfterS":1}"#)
            let events = Courier.events(1)
            try await courier.publish(events)
            try await courier.system.eventually("ten requests", within: .seconds(40)) {
                try await courier.statistics().refused >= 10
            }
            try await courier.setFaults(#"{"mode":"ok"}"#)
            try await courier.expectDelivered(events, within: .seconds(40))
            #expect(try await courier.count("SELECT attempts::bigint AS n FROM event_deliveries") == 1)
            let postponed = try await courier.count(
                "SELECT count(*) AS n FROM delivery_attempts WHERE outcome = 'POSTPONED' AND attempts = 0"
            )
            #expect(postponed >= 10)
        }
    }

    @Test(
        "while the platform is away nothing is taken and nothing given up; afterwards all is delivered",
        arguments: [#"{"mode":"down","status":503}"#, #"{"mode":"hang"}"#, #"{"mode":"down","status":401}"#]
    )
    func outage(faults: String) async throws {
        let settings = ["CONSUMER_REQUEST_TIMEOUT_MS": "300", "CONSUMER_BATCH_SIZE": "20"]
        try await Courier.with(settings: settings) { courier in
            try await courier.setFaults(faults)
            let events = Courier.events(500)
            try await courier.publish(events)
            try await courier.system.eventually("the circuit is open", within: .seconds(30)) {
                try await courier.metric("event_consumer_circuit_state") == 2
            }
            // Long enough for several probes.
            try await courier.system.eventually("probes fail", within: .seconds(30)) {
                try await courier.statistics().refused >= 13
            }
            #expect(try await courier.consumer.get("/health/ready").status == 200)
            try await courier.setFaults(#"{"mode":"ok"}"#)
            try await courier.expectDelivered(events, within: .seconds(40))
            try await courier.expectEmpty()
            #expect(try await courier.metric("event_dlq_messages") == 0)
            let counted = try await courier.count("SELECT max(attempts)::bigint AS n FROM event_deliveries")
            #expect(counted == 1, "an attempt of the outage was counted")
        }
    }

    @Test(
        "a platform that is slow, or fails three times in ten, gets everything, and nothing is given up",
        arguments: [#"{"mode":"slow","latencyMs":300}"#, #"{"mode":"flaky","rate":0.3,"status":500}"#]
    )
    func flaky(faults: String) async throws {
        try await Courier.with(settings: ["CONSUMER_BATCH_SIZE": "10"]) { courier in
            try await courier.setFaults(faults)
            let events = Courier.events(500)
            try await courier.publish(events)
            try await courier.expectDelivered(events, within: .seconds(90))
            try await courier.expectEmpty()
            #expect(try await courier.metric("event_dlq_messages") == 0)
        }
    }

    @Test("killed between the platform's answer and its acknowledgement, an event is not sent twice")
    func killedBeforeAck() async throws {
        try await Courier.with(throughProxy: .broker) { courier in
            let proxy = try #require(courier.proxy)
            try await courier.setFaults(#"{"mode":"slow","latencyMs":700}"#)
            let events = Courier.events(10)
            try await courier.publish(events)
            try await courier.system.eventually("the request is under way", within: .seconds(10)) {
                try await courier.statistics().requests >= 1
            }
            // From here on the broker hears nothing, not even an acknowledgement.
            proxy.pause()
            try await courier.system.eventually("the inbox knows them", within: .seconds(10)) {
                try await courier.rows("event_deliveries") == 10
            }
            try await courier.system.kill(.consumer)
            proxy.cutAll()
            proxy.resume()
            try await courier.system.start([.consumer])
            try await courier.system.eventually("they come again", within: .seconds(30)) {
                try await courier.metric(#"event_consumer_deliveries_total{outcome="duplicate"}"#) == 10
            }
            let statistics = try await courier.statistics()
            #expect((statistics.events, statistics.duplicates) == (10, 0))
            try await courier.expectEmpty()
        }
    }

    @Test("without PostgreSQL nothing is sent and the consumer says so; when it is back all is delivered once")
    func inboxAway() async throws {
        try await Courier.with(throughProxy: .database) { courier in
            let proxy = try #require(courier.proxy)
            let first = Courier.events(20)
            try await courier.publish(first)
            try await courier.expectDelivered(first)
            proxy.pause()
            let second = Courier.events(50)
            try await courier.publish(second)
            try await courier.system.eventually("the consumer is not ready", within: .seconds(20)) {
                let answer = try await courier.consumer.get("/health/ready")
                return answer.status == 503 && answer.body.contains("postgres")
            }
            // Its container's health check says so too.
            let serving = try await courier.consumer.get("/health/serving")
            #expect(serving.status == 503 && serving.body.contains("postgres") && serving.body.contains("rabbitmq"))
            // A look at the inbox may take 2 s; then nothing stays in hand.
            try await courier.system.eventually("nothing is in hand", within: .seconds(20)) {
                try await courier.lag().stages.first { $0.stage == "unacked" }?.messages == 0
            }
            #expect(try await courier.statistics().events == 20)
            proxy.cutAll()
            proxy.resume()
            try await courier.expectDelivered(first + second, within: .seconds(40))
            #expect(try await courier.statistics().duplicates == 0)
            try await courier.expectEmpty()
            // Moved out of the way, but nothing failed.
            #expect(try await courier.metric(#"event_retry_scheduled_total{tier="1000"}"#) ?? 0 > 0)
            #expect(try await courier.metric(#"event_consumer_deliveries_total{outcome="retried"}"#) == 0)
        }
    }

    @Test("a broker that takes nothing costs an event no delivery, and nobody says dead letter before it is one")
    func brokerTakesNothing() async throws {
        try await Courier.with { courier in
            defer { try? controlBroker("set_vm_memory_high_watermark 0.4") }
            let event = Courier.events(1)
            try await courier.setFaults(#"{"mode":"reject","subjects":["\#(event[0].order)"]}"#)
            try await courier.system.stop(.consumer)
            try await courier.publish(event)
            try controlBroker("set_vm_memory_high_watermark 0.00001")
            try await courier.system.start([.consumer])
            try await courier.system.eventually("it is refused", within: .seconds(20)) {
                try await courier.statistics().refused == 1
            }
            // Longer than the broker may take for one try, with the pause before it would be given back.
            try await Task.sleep(for: .seconds(35))
            #expect(try await courier.statistics().refused == 1)
            #expect(try await courier.rows("delivery_attempts") == 0)
            #expect(try await courier.lag().stages.first { $0.stage == "unacked" }?.messages == 1)
            try controlBroker("set_vm_memory_high_watermark 0.4")
            let letter = try #require(try await courier.deadLetters(1).first)
            #expect(letter.messageID == event[0].id)
            try await courier.system.eventually("it is noted", within: .seconds(10)) {
                try await courier.rows("delivery_attempts") == 1
            }
            let others = Courier.events(20)
            try await courier.publish(others)
            try await courier.expectDelivered(others)
            #expect(try await courier.statistics().refused == 1)
        }
    }

    @Test("a queue with other arguments: the consumer is not ready, names queue and argument, and does not die")
    func drift() async throws {
        let name = BrokerNames.retryQueue(delayMs: 1_000)
        var other = AMQPTopology.forwarding.queues.filter { $0.name == name }
        other[0] = .init(
            name: name,
            arguments: other[0].arguments.merging(["x-message-ttl": .int64(7)]) { $1 }
        )
        try await Courier.with(before: AMQPTopology(queues: other), waits: false) { courier in
            try await courier.system.eventually("the consumer says what is wrong", within: .seconds(20)) {
                let answer = try? await courier.consumer.get("/health/ready")
                return answer?.status == 503 && answer?.body.contains("x-message-ttl") == true
                    && answer?.body.contains(name) == true
            }
            #expect(try await courier.consumer.get("/health/live").status == 200)
        }
    }

    @Test("a message with which consumers died is handled alone; one too many, and it is a dead letter unread")
    func deadlyMessages() async throws {
        try await Courier.with { courier in
            let events = Courier.events(3)
            try await courier.publish([events[0]], headers: [EventHeaders.crashes: .int64(5)])
            try await courier.publish([events[1]], headers: [EventHeaders.crashes: .int64(20)])
            try await courier.publish([events[2]])
            try await courier.expectDelivered([events[0], events[2]], within: .seconds(30))
            let letter = try #require(try await courier.deadLetters(1).first)
            #expect(letter.messageID == events[1].id)
            #expect(letter.routingKey == BrokerNames.poisonKey)
            #expect(letter.headers["x-fingerprint"]?.string == "crash")
            try await courier.system.eventually("it is noted", within: .seconds(10)) {
                try await courier.count(
                    "SELECT count(*) AS n FROM delivery_attempts WHERE fingerprint = 'crash' AND outcome = 'DEAD_LETTERED'"
                ) == 1
            }
            #expect(try await courier.metric(#"event_consumer_deliveries_total{outcome="poison"}"#) == 1)
        }
    }

    @Test("a redriven event is counted by how it ends")
    func redriven() async throws {
        try await Courier.with { courier in
            let events = Courier.events(1)
            try await courier.publish(events, headers: [DeadLetterHeaders.redriveID: .string("r-1")])
            try await courier.expectDelivered(events)
            try await courier.publish(events, headers: [DeadLetterHeaders.redriveID: .string("r-1")])
            try await courier.system.eventually("the second is known", within: Self.deliveryTime) {
                try await courier.metric(#"event_dlq_redriven_total{result="duplicate"}"#) == 1
            }
            #expect(try await courier.metric(#"event_dlq_redriven_total{result="delivered"}"#) == 1)
        }
    }

    @Test("where order is kept, the events of an order arrive in sequence though requests fail")
    func ordered() async throws {
        let settings = ["CONSUMER_ORDERING": "key", "CONSUMER_BATCH_SIZE": "3"]
        try await System.with(settings: settings) { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 100)
            let faults = #"{"mode":"flaky","rate":0.3,"status":500}"#
            #expect(try await system.platform.send("PUT", "/v1/faults", body: faults).status == 200)
            let orders = try await system.placeOrders(10, user, of: product)
            for next in ["PREPARING", "SHIPPED", "DELIVERED"] {
                for order in orders {
                    let path = "/v1/orders/\(order)/transitions"
                    #expect(try await system.api.post(path, #"{"to":"\#(next)"}"#).status == 200)
                }
            }
            try await system.eventually("all 40 events are at the platform", within: Self.recoveryTime) {
                try await system.events().count == 40
            }
            let bySubject = Dictionary(grouping: try await system.events()) { $0.subject }
            for (subject, events) in bySubject {
                #expect(events.map(\.sequence) == [1, 2, 3, 4], "of order \(subject)")
            }
            #expect(bySubject.count == 10)
        }
    }

    /// What the consumer needs for a thousand events, on a busy machine.
    static let deliveryTime = Duration.seconds(30)
}
