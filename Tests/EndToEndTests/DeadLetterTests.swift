import AMQP
import EventTopology
import Foundation
import Logging
import Postgres
import Testing

@testable import Operations

/// What an operator does about events that were given up.
@Suite("Dead letters end to end", .serialized, .timeLimit(.minutes(5)))
struct DeadLetterTests {
    @Test("refused events are listed in one group, shown, exported, and delivered once after a redrive")
    func redrives() async throws {
        try await System.with { system in
            let (refused, good) = try await Self.refuse(5, of: 7, in: system)
            let list = try await system.deadLetters(atLeast: 5)
            #expect(list.total == 5 && Set(list.data.compactMap(\.orderId)) == refused)
            #expect(list.data.allSatisfy { $0.status == 422 && $0.attempts == 1 && $0.redriveCount == 0 })
            let groups: GroupList = try await system.orderctl(["dlq", "list", "--group-by", "fingerprint"])
            #expect(groups.total == 5 && groups.data.map(\.messages) == [5])
            try await Self.looksWithoutChanging(system, list, group: groups.data[0].group)

            try await system.setFault(#"{"mode":"ok"}"#)
            let group = groups.data[0].group
            let first: Redrive = try await system.orderctl(
                Self.redrive(["--group", group, "--limit", "2"], id: "first")
            )
            #expect((first.sent, first.result) == (2, "DONE"))
            let rest = try await system.deadLetters(atLeast: 3)
            #expect(rest.data.map(\.eventId) == Array(list.data.map(\.eventId).dropFirst(2)))
            let second: Redrive = try await system.orderctl(Self.redrive(["--all"], id: "second"))
            #expect((second.sent, second.selected) == (3, 3))
            try await system.eventually("all events are at the platform", within: EndToEndTests.eventTime) {
                try await Set(system.events().map(\.subject)) == refused.union(good)
            }
            let again: Redrive = try await system.orderctl(Self.redrive(["--all"], id: "second"))
            #expect((again.sent, again.selected, again.result) == (0, 0, "DONE"))
            try await system.refuses(
                ["dlq", "redrive", "--all", "--without-consumer"],
                1,
                "no dead letter matches --all"
            )
            #expect(try await system.statistics().duplicates == 0)
            #expect(try await system.deadLetters(atLeast: 0).total == 0)
            try await Self.showsTheWay(system, of: list.data[4])
        }
    }

    /// Nothing of this changes anything, neither what is there nor its order.
    private static func looksWithoutChanging(_ system: System, _ list: LetterList, group: String) async throws {
        let id = list.data[3].eventId
        let shown: Exported = try await system.orderctl(["dlq", "show", id])
        #expect(shown.messageId == id && shown.body.id == id && shown.body.subject == list.data[3].orderId)
        #expect(shown.headers["x-error-status"] == .number(422))
        let file = system.folder.appending(path: "letters.jsonl").path(percentEncoded: false)
        try await system.orderctl(text: ["dlq", "export", "--out", file])
        let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
        let exported = try lines.map { try JSONDecoder().decode(Exported.self, from: Data($0.utf8)) }
        #expect(exported.map(\.messageId) == list.data.map(\.eventId))

        let dry: Redrive = try await system.orderctl(["dlq", "redrive", "--group", group, "--dry-run"])
        #expect((dry.wouldSend, dry.sent, dry.groups) == (5, 0, [group: 5]))
        try await system.refuses(["dlq", "show", UUID().uuidString], 1, "no dead letter has the event id")
        try await system.refuses(
            ["dlq", "redrive", "--since", "0s", "--without-consumer"],
            1,
            "no dead letter matches"
        )
        try await system.refuses(["dlq", "redrive", "--since", "soon"], 64, "'soon' is no time")
        try await system.refuses(["dlq", "purge", "--group", group], 64, "--yes")
        try await system.refuses(
            ["dlq", "purge", "--group", "other", "--yes"],
            1,
            "no dead letter is in the group other"
        )
        try await system.stop(.consumer)
        try await system.refuses(["dlq", "redrive", "--all"], 75, "--without-consumer")
        try await system.start([.consumer])
        #expect(try await system.deadLetters(atLeast: 5).data.map(\.eventId) == list.data.map(\.eventId))
        let part: LetterList = try await system.orderctl(["dlq", "list", "--limit", "2"])
        #expect(part.total == 5 && part.data.map(\.eventId) == list.data.prefix(2).map(\.eventId))
        #expect(try await system.deadLetters(atLeast: 5).data.map(\.eventId) == list.data.map(\.eventId))
    }

    /// `orderctl trace` and the API tell the same of an event that was redriven.
    private static func showsTheWay(_ system: System, of letter: Letter) async throws {
        let order = try #require(letter.orderId)
        let traced: Deliveries = try await system.orderctl(["trace", order])
        #expect(traced.data.count == 1 && traced.data[0].eventId == letter.eventId)
        #expect(traced.data[0].redrives.map(\.redriveId) == ["second"])
        #expect(try await system.api.get("/v1/orders/\(order)/deliveries").decoded(as: Deliveries.self) == traced)
        let text = try await system.orderctl(text: ["trace", order])
        #expect(text.contains("committed") && text.contains("redriven") && text.contains("by second"))
        let unknown = UUID().uuidString.lowercased()
        try refused(await system.api.get("/v1/orders/\(unknown)/deliveries"), 404, "order_not_found")
        try await system.refuses(["trace", unknown], 1, "there is no order \(unknown)")
        try await system.refuses(["trace", "x"], 64, "'x' is no order id")
    }

    @Test("what fails again stays, is not sent twice by the same redrive, and can be purged")
    func comesBack() async throws {
        try await System.with { system in
            _ = try await Self.refuse(3, of: 3, in: system)
            _ = try await system.deadLetters(atLeast: 3)
            let once: Redrive = try await system.orderctl(Self.redrive(["--all"], id: "r1"))
            #expect(once.sent == 3)
            try await system.eventually("they are dead letters again", within: EndToEndTests.eventTime) {
                let list: LetterList = try await system.orderctl(["dlq", "list"])
                return list.data.count { $0.redriveId == "r1" && $0.redriveCount == 1 } == 3
            }
            let twice: Redrive = try await system.orderctl(Self.redrive(["--all"], id: "r1"))
            #expect(twice.sent == 0)
            try await system.refuses(Self.redrive(["--group", "g"], id: "r1"), 1, "was begun with --all")
            try await Self.limitsWhatIsSent(system)
            let list = try await system.deadLetters(atLeast: 3)
            let purged: Purged = try await system.orderctl(["dlq", "purge", "--group", list.data[0].group, "--yes"])
            #expect(purged.removed == 3)
            for letter in list.data {
                let order = try #require(letter.orderId)
                let trail = try await system.api.get("/v1/orders/\(order)/deliveries").decoded(as: Deliveries.self)
                #expect(trail.data.map(\.status) == ["PURGED"] && trail.data[0].purged?.by == NSUserName())
                #expect(try await system.orderctl(["trace", order]) == trail)
                #expect(
                    try await system.orderctl(text: ["trace", order]).contains("by \(NSUserName()): never to be sent")
                )
            }
            #expect(try await system.deadLetters(atLeast: 0).total == 0)
        }
    }

    /// Three that the redrive `r1` has sent in vain are in front of one that it has not.
    private static func limitsWhatIsSent(_ system: System) async throws {
        _ = try await refuse(1, of: 1, in: system)
        _ = try await system.deadLetters(atLeast: 4)
        try await system.setFault(#"{"mode":"ok"}"#)
        let dry: Redrive = try await system.orderctl(redrive(["--since", "1h", "--limit", "4", "--dry-run"], id: "r2"))
        #expect(dry.wouldSend == 4)
        // As if it had been stopped after the first three.
        let all = redrive(["--all", "--limit", "4"], id: "r1")
        try await system.run(script: "UPDATE redrives SET result = 'STOPPED' WHERE id = 'r1'")
        let last: Redrive = try await system.orderctl(all)
        #expect((last.sent, last.selected) == (1, 4))
    }

    @Test("a redrive that PostgreSQL cannot note leaves no second copy, and is not done again")
    func unnoted() async throws {
        try await System.with { system in
            _ = try await Self.refuse(3, of: 3, in: system)
            _ = try await system.deadLetters(atLeast: 3)
            try await system.run(
                script: """
                    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                        $$ BEGIN RAISE EXCEPTION 'disk full'; END $$;
                    CREATE TRIGGER refuse BEFORE INSERT ON redriven_events FOR EACH ROW EXECUTE FUNCTION refuse();
                    """
            )
            try await system.refuses(Self.redrive(["--all"], id: "r"), 1, "PostgreSQL did not note it")
            try await system.eventually("each is a dead letter again, once", within: EndToEndTests.eventTime) {
                let list: LetterList = try await system.orderctl(["dlq", "list"])
                return list.total == 3 && list.data.allSatisfy { $0.redriveId == "r" }
            }
            try await system.run(script: "DROP TRIGGER refuse ON redriven_events; DROP FUNCTION refuse;")
            let again: Redrive = try await system.orderctl(Self.redrive(["--all"], id: "r"))
            #expect((again.selected, again.sent, again.result) == (3, 0, "DONE"))
            try await system.setFault(#"{"mode":"ok"}"#)
            let other: Redrive = try await system.orderctl(Self.redrive(["--all"], id: "s"))
            #expect(other.sent == 3)
            try await system.eventually("all events are at the platform", within: EndToEndTests.eventTime) {
                try await system.statistics().unique == 3
            }
            #expect(try await system.deadLetters(atLeast: 0).total == 0)
        }
    }

    @Test("a redrive keeps its rate, stops when told, or killed, and goes on where it was: each event arrives once")
    func stopsAndGoesOn() async throws {
        try await System.with { system in
            let (refused, _) = try await Self.refuse(240, of: 240, in: system)
            _ = try await system.deadLetters(atLeast: 240)
            try await system.setFault(#"{"mode":"ok"}"#)
            let arguments = Self.redrive(["--all", "--rate", "100"], id: "r")
            for signal in ["TERM", "KILL"] {
                let before = try await system.statistics().unique
                let child = try system.child(arguments)
                try await system.eventually("some are sent", within: .seconds(20)) {
                    try await system.statistics().unique >= before + 30
                }
                if signal == "TERM" { child.terminate() } else { child.kill() }
                let code = try await child.exitCode(within: .seconds(10))
                #expect(code == (signal == "TERM" ? 75 : nil), "\(child.report)")
                if signal == "TERM" {
                    #expect(child.log.contains("go on with: orderctl dlq redrive --all"), "\(child.log)")
                }
            }
            // What was delivered meanwhile is not sent a second time.
            try await system.eventually("the broker has put back what the killed one held", within: .seconds(10)) {
                let list: LetterList = try await system.orderctl(["dlq", "list", "--limit", "1000"])
                return list.total > 0 && list.total == list.data.count
            }
            let start = ContinuousClock.now
            let last: Redrive = try await system.orderctl(arguments)
            #expect(last.result == "DONE" && start.duration(to: .now) < .seconds(20))
            if last.sent >= 50 {
                let rate = Double(last.sent) / (Double(last.durationMs) / 1_000)
                #expect(rate < 112, "\(rate)")
            }
            try await system.eventually("all events are at the platform", within: EndToEndTests.eventTime) {
                try await Set(system.events().map(\.subject)) == refused
            }
            #expect(try await system.deadLetters(atLeast: 0).total == 0)
        }
    }

    @Test("a command waits until nobody else goes through the dead letters, and gives up after 5 s")
    func waitsForItsTurn() async throws {
        try await System.with { system in
            _ = try await Self.refuse(1, of: 1, in: system)
            _ = try await system.deadLetters(atLeast: 1)
            let other = AMQPQueueWalk(
                queue: BrokerNames.deadLetterQueue,
                configuration: try AMQPConfiguration(url: system.servers.brokerURL, connectionName: "tests")
            )
            #expect(try await other.begin(deadline: .now + .seconds(5)).messages == 1)
            _ = try await other.next(deadline: .now + .seconds(5))
            let start = ContinuousClock.now
            try await system.refuses(["dlq", "list"], 75, "somebody else has been going through the dead letters")
            #expect((3...8).contains(start.duration(to: .now) / .seconds(1)))

            async let list: LetterList = system.orderctl(["dlq", "list"])
            // So long the other still goes on.
            try await Task.sleep(for: .seconds(2))
            try await other.end(deadline: .now + .seconds(5))
            #expect(try await list.total == 1)
        }
    }

    @Test("a redrive that takes long goes back to the queue's head in between, and sends each event once")
    func goesBackToTheHead() async throws {
        try await Courier.with { courier in
            let events = Courier.events(30)
            let subjects = events.map { #""\#($0.order)""# }.joined(separator: ",")
            try await courier.setFaults(#"{"mode":"reject","subjects":[\#(subjects)]}"#)
            try await courier.publish(text: "no event")
            try await courier.publish(events)
            _ = try await courier.system.deadLetters(atLeast: 31)
            try await courier.setFaults(#"{"mode":"ok"}"#)
            let (report, walks) = try await Self.redriveSlowly(courier.system)
            #expect(walks > 1)
            #expect((report.sent, report.selected, report.unreadable) == (30, 31, 1))
            #expect(report.failure == nil)
            try await courier.expectDelivered(events)
            #expect(try await courier.statistics().duplicates == 0)
            #expect(try await courier.system.deadLetters(atLeast: 1).total == 1)
        }
    }

    /// Takes 1.5 s for 30, and may go through the queue for 0.3 s at a time; returns also how often it did.
    private static func redriveSlowly(_ system: System) async throws -> (RedriveReport, walks: Int) {
        let broker = try AMQPConfiguration(url: system.servers.brokerURL, connectionName: "tests")
        let logger = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
        let publisher = AMQPPublisher(configuration: broker, topology: AMQPTopology(), logger: logger)
        let database = try await PostgresConnection.connect(
            PostgresConfiguration(url: system.servers.databaseURL(as: "jumun_owner"), applicationName: "tests"),
            deadline: .now + .seconds(10)
        )
        let plan = RedriveRun.Plan(
            id: "long",
            selection: .all,
            limit: nil,
            perSecond: 20,
            isDryRun: false,
            requestedBy: "mina"
        )
        var walks = 0
        let run = RedriveRun(
            plan,
            queue: DeadLetterQueue(broker: broker),
            publisher: publisher,
            database: database,
            circuit: nil,
            stop: StopRequest(),
            progress: { if case .began = $0 { walks += 1 } }
        )
        run.walkLimit = .milliseconds(300)
        let report = try await run.run()
        await publisher.close(deadline: .now + .seconds(1))
        await database.close()
        return (report, walks)
    }

    /// Places orders, and lets the platform refuse the first of them until told otherwise.
    private static func refuse(_ count: Int, of all: Int, in system: System) async throws -> (Set<String>, Set<String>)
    {
        let user = try await system.createUser()
        let product = try await system.createProduct(stock: 1_000)
        try await system.stop(.consumer)
        let orders = try await system.placeOrders(all, user, of: product).sorted()
        let (refused, good) = (Set(orders.prefix(count)), Set(orders.dropFirst(count)))
        let subjects = String(decoding: try JSONEncoder().encode(refused), as: UTF8.self)
        try await system.setFault(#"{"mode":"reject","subjects":\#(subjects)}"#)
        try await system.start([.consumer])
        return (refused, good)
    }

    private static func redrive(_ selection: [String], id: String) -> [String] {
        ["dlq", "redrive"] + selection + ["--redrive-id", id, "--without-consumer"]
    }
}
