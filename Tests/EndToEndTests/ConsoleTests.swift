import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Testing

/// What the operator's console tells and does, beside real processes. How it looks is tested by `make console-test`.
@Suite("Console end to end", .serialized, .timeLimit(.minutes(5)))
struct ConsoleTests {
    private static let token = "a-token-of-the-tests-that-is-long-enough"

    @Test("all viewers are told what goes on, and since when a source says nothing; they do not keep it from ending")
    func live() async throws {
        try await Self.withConsole { system, console in
            let viewers = try await [Stream(console), Stream(console)]
            for viewer in viewers {
                let first = try await viewer.next()
                #expect(["ok", "unknown"].contains(first.status.word))
            }
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 1_000)
            _ = try await system.placeOrders(20, user, of: product)
            for viewer in viewers {
                let told = try await viewer.until { ($0.snapshot.consumer.value?.samples ?? 0) >= 20 }
                #expect(told.status.word == "ok" && told.snapshot.queues.value?.deadLetters == 0)
                #expect(told.snapshot.platform?.value?.mode == "ok")
                // The scheduler does not run here.
                #expect(told.snapshot.scheduler.value == nil && told.snapshot.scheduler.asOf == nil)
            }
            try await system.kill(.consumer)
            let silent = try await viewers[0].until { $0.status.word == "unknown" }
            #expect(silent.snapshot.consumer.value == nil && silent.snapshot.consumer.problem != nil)
            let since = try #require(silent.snapshot.consumer.asOf)
            #expect(since < silent.now)
            let foreign = ["Authorization": "Bearer \(Self.token)", "Host": "evil.example"]
            #expect(try await console.web.send("GET", "/snapshot", headers: foreign).status == 421)
            // Who asks later is told the same.
            let whole: Told = try await console.get("/snapshot").decoded()
            #expect(whole.snapshot.consumer.asOf == since && whole.points.count > 3)
            try await system.start([.consumer])
            _ = try await viewers[1].until { $0.status.word == "ok" }
            // SIGTERM with both still there: it must end with 0 within 10 s, and end their streams.
            try await system.stop(.orderAPI)
            for viewer in viewers { try await viewer.ends() }
        }
    }

    @Test(
        "a dead letter is found with its cause; a dry run changes nothing, a redrive delivers it, the trace tells it"
    )
    func redrives() async throws {
        try await Self.withConsole { system, console in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 10)
            #expect(try await console.change("PUT", "/platform/faults", #"{"mode":"down","status":503}"#).status == 200)
            let order = try #require(try await system.placeOrders(1, user, of: product).first)
            let reject = #"{"mode":"reject","subjects":["\#(order)"]}"#
            #expect(try await console.change("PUT", "/platform/faults", reject).status == 200)
            #expect(try await console.change("PUT", "/platform/faults", #"{"mode":"odd"}"#).status == 422)
            try await system.eventually("the dead letter is seen", within: .seconds(60)) {
                try await console.get("/dead-letters").decoded(as: Groups.self).total == 1
            }
            let groups: Groups = try await console.get("/dead-letters").decoded()
            let found = try #require(groups.data.first)
            #expect(groups.data.count == 1 && found.group.messages == 1 && found.group.status == 422)
            #expect(found.sample.orderId == order && found.sample.message.contains(order))
            #expect(try await Self.looks(8, at: console) == [groups.asOf], "one look is for all")

            let group = found.group.group
            let dry = try await console.change("POST", "/redrives", #"{"dryRun":true,"group":"\#(group)"}"#)
            let plan: Report = try dry.decoded()
            #expect((plan.wouldSend, plan.sent) == (1, 0))
            #expect(try await console.get("/dead-letters").decoded(as: Groups.self).total == 1)
            let other = try await console.change("POST", "/redrives", #"{"dryRun":true,"group":"none like it"}"#)
            #expect(try other.decoded(as: Report.self).wouldSend == 0)

            #expect(try await console.change("PUT", "/platform/faults", #"{"mode":"ok"}"#).status == 200)
            let id = UUID().uuidString
            let go = #"{"dryRun":false,"group":"\#(group)","expected":1,"redriveId":"\#(id)"}"#
            #expect(try await console.change("POST", "/redrives", go).decoded(as: Report.self).sent == 1)
            #expect(try await Self.looks(8, at: console).count == 1, "those who come together share one look")
            // Said again it sends nothing twice.
            #expect(try await console.change("POST", "/redrives", go).decoded(as: Report.self).sent == 0)
            try await system.eventually("the trace says that it was delivered", within: .seconds(20)) {
                let trace: Trace = try await console.get("/orders/\(order)/trace").decoded()
                return trace.data.map(\.status) == ["DELIVERED"] && trace.data[0].redrives.map(\.redriveId) == [id]
            }
            #expect(try await system.statistics().duplicates == 0)
        }
    }

    /// Asks so many times at once for the dead letters; when those were looked at.
    private static func looks(_ count: Int, at console: Console) async throws -> Set<String> {
        try await withThrowingTaskGroup(of: String.self) { group in
            for _ in 0..<count {
                group.addTask { try await console.get("/dead-letters").decoded(as: Groups.self).asOf }
            }
            return try await group.reduce(into: []) { $0.insert($1) }
        }
    }

    @Test("when the console's port is taken, orders go on without it")
    func portIsTaken() async throws {
        try await System.with([.dataPlatform]) { system in
            let taken = try #require(system.platform.base.split(separator: ":").last)
            system.set(["OPERATOR_TOKEN": Self.token, "OPERATOR_PORT": "\(taken)"], for: .orderAPI)
            try await system.start([.orderAPI])
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 10)
            #expect(try await system.placeOrders(3, user, of: product).count == 3)
            try await system.stop(.orderAPI)
        }
    }

    // MARK: Helpers

    private static func withConsole(_ test: (System, Console) async throws -> Void) async throws {
        try await System.with([.dataPlatform, .consumer]) { system in
            let port = try FreePort.find(1)[0]
            let settings = [
                "OPERATOR_TOKEN": token, "OPERATOR_PORT": "\(port)", "MOCK_PLATFORM_URL": system.platform.base,
                "CONSUMER_URL": system.web(of: .consumer).base, "SCHEDULER_URL": system.web(of: .scheduler).base,
            ]
            system.set(settings, for: .orderAPI)
            try await system.start([.orderAPI])
            try await test(system, Console(web: Web(base: "http://127.0.0.1:\(port)/console/api")))
        }
    }

    /// A program with the operator's token.
    struct Console {
        let web: Web

        func get(_ path: String) async throws -> Web.Answer {
            try await web.send("GET", path, headers: ["Authorization": "Bearer \(token)"])
        }

        func change(_ method: String, _ path: String, _ body: String) async throws -> Web.Answer {
            try await web.send(method, path, body: body, headers: ["Authorization": "Bearer \(token)"])
        }
    }

    /// Server-sent events, as they come.
    struct Stream {
        private let messages: AsyncThrowingStream<Told, any Error>

        init(_ console: Console) async throws {
            var request = HTTPClientRequest(url: console.web.base + "/events")
            request.headers.add(name: "Authorization", value: "Bearer \(token)")
            let response = try await HTTPClient.shared.execute(request, timeout: .seconds(120))
            #expect(response.status == .ok)
            #expect(response.headers.first(name: "content-type") == "text/event-stream")
            messages = AsyncThrowingStream { found in
                let reading = Task {
                    var text = ""
                    do {
                        for try await chunk in response.body {
                            text += String(buffer: chunk)
                            for told in try Self.take(from: &text) { found.yield(told) }
                        }
                        found.finish()
                    } catch {
                        found.finish(throwing: error)
                    }
                }
                found.onTermination = { _ in reading.cancel() }
            }
        }

        /// The whole messages at the head of the text, which is left with the rest.
        private static func take(from text: inout String) throws -> [Told] {
            var all: [Told] = []
            while let end = text.range(of: "\n\n") {
                let lines = text[..<end.lowerBound].split(separator: "\n")
                text = String(text[end.upperBound...])
                for line in lines where line.hasPrefix("data: ") {
                    all.append(try JSONDecoder().decode(Told.self, from: Data(line.dropFirst("data: ".count).utf8)))
                }
            }
            return all
        }

        /// The next message; throws at the end.
        func next() async throws -> Told {
            try await until { _ in true }
        }

        /// One comes each second, so this ends.
        func until(_ condition: (Told) -> Bool) async throws -> Told {
            var count = 0
            for try await told in messages {
                if condition(told) { return told }
                count += 1
                if count == 60 { break }
            }
            throw Web.Unexpected(description: "not within \(count) messages")
        }

        func ends() async throws {
            for try await _ in messages {}
        }
    }

    struct Told: Decodable, Sendable {
        struct Status: Decodable, Sendable {
            let word: String
        }

        struct Reading<Value: Decodable & Sendable>: Decodable, Sendable {
            let value: Value?
            let asOf: String?
            let problem: String?
        }

        struct Snapshot: Decodable, Sendable {
            let consumer: Reading<Consumer>
            let queues: Reading<Queues>
            let platform: Reading<Platform>?
            let scheduler: Reading<[String: String]>
        }

        struct Consumer: Decodable, Sendable {
            let samples: Int?
        }

        struct Queues: Decodable, Sendable {
            let deadLetters: Int?
        }

        struct Platform: Decodable, Sendable {
            let mode: String
        }

        let now: String
        let status: Status
        let snapshot: Snapshot
        let points: [[Double?]]
    }

    struct Groups: Decodable {
        struct Entry: Decodable {
            let group: Group
            let sample: Sample
        }

        struct Group: Decodable {
            let group: String
            let status: Int?
            let messages: Int
        }

        struct Sample: Decodable {
            let orderId: String?
            let message: String
        }

        let asOf: String
        let total: Int
        let data: [Entry]
    }

    struct Report: Decodable {
        let wouldSend: Int?
        let sent: Int
    }

    struct Trace: Decodable {
        struct Event: Decodable {
            let status: String
            let redrives: [Redrive]
        }

        struct Redrive: Decodable {
            let redriveId: String
        }

        let data: [Event]
    }
}
