import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import OpsMetrics
import Testing

@testable import DataPlatform

@Suite("Data platform", .timeLimit(.minutes(1)))
struct PlatformRoutesTests {
    private static let one = "application/cloudevents+json"
    private static let batch = "application/cloudevents-batch+json"

    private let metrics = MetricsRegistry()
    private let platform: Platform

    init() {
        platform = Platform(metrics: metrics)
    }

    private struct Client {
        let client: any TestClientProtocol

        @discardableResult
        func post(_ body: String, as type: String = PlatformRoutesTests.one) async throws -> TestResponse {
            let headers: HTTPFields = [.contentType: type]
            return try await client.execute(
                uri: "/v1/events",
                method: .post,
                headers: headers,
                body: ByteBuffer(string: body)
            )
        }

        func put(faults: String) async throws -> TestResponse {
            try await client.execute(uri: "/v1/faults", method: .put, body: ByteBuffer(string: faults))
        }

        func get(_ uri: String) async throws -> TestResponse {
            try await client.execute(uri: uri, method: .get)
        }

        func events(_ query: String = "") async throws -> [[String: Any]] {
            let body = try object(try await get("/v1/events\(query)"))
            #expect(body["nextCursor"] is NSNull)
            return try #require(body["data"] as? [[String: Any]])
        }

        func stats() async throws -> [String: Int] {
            try #require(try object(try await get("/v1/stats")) as? [String: Int])
        }
    }

    private static func event(_ id: String, subject: String = "s", data: String = "{}") -> String {
        #"{"specversion":"1.0","id":"\#(id)","source":"/orders","type":"order.paid.v1","#
            + #""subject":"\#(subject)","data":\#(data)}"#
    }

    private static func object(_ response: TestResponse) throws -> [String: Any] {
        let json = try JSONSerialization.jsonObject(with: Data(response.body.readableBytesView))
        return try #require(json as? [String: Any])
    }

    private func test(_ body: @Sendable (Client) async throws -> Void) async throws {
        let application = Application(router: PlatformRoutes(platform: platform).router(metrics: metrics))
        try await application.test(.router) { client in try await body(Client(client: client)) }
    }

    @Test("an event alone and events in a batch are taken and given back as they came, with the time")
    func roundTrip() async throws {
        try await test { client in
            let single = try await client.post(Self.event("1", data: #"{"a":[1,"]}"]}"#))
            #expect(single.status == .accepted)
            #expect(String(buffer: single.body) == #"{"accepted":1,"duplicates":0}"#)
            let two = "[ \(Self.event("2", subject: "t")) ,\n\(Self.event("1")) ]"
            let batch = try await client.post(two, as: "\(Self.batch); charset=utf-8")
            #expect(batch.status == .accepted)
            #expect(String(buffer: batch.body) == #"{"accepted":2,"duplicates":1}"#)
            #expect(try await client.post("[]", as: Self.batch).status == .accepted)

            let events = try await client.events()
            #expect(events.map { $0["id"] as? String } == ["1", "2"])
            #expect((events[0]["data"] as? [String: [Any]])?["a"]?.count == 2)
            let time = try #require(events[0]["receivedAt"] as? String)
            #expect(time.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/) != nil)
            #expect(
                try await client.stats() == [
                    "requests": 3, "events": 3, "unique": 2, "duplicates": 1, "refused": 0,
                ]
            )
        }
    }

    @Test("subject and limit choose the latest events, in the order of arrival")
    func listing() async throws {
        try await test { client in
            for id in 1...6 { try await client.post(Self.event("\(id)", subject: id % 2 == 0 ? "even" : "o d/d")) }
            #expect(try await client.events("?limit=2").map { $0["id"] as? String } == ["5", "6"])
            #expect(try await client.events("?subject=even&limit=2").map { $0["id"] as? String } == ["4", "6"])
            #expect(try await client.events("?subject=o%20d%2Fd").map { $0["id"] as? String } == ["1", "3", "5"])
            #expect(try await client.events("?subject=none").isEmpty)
            for limit in ["0", "10001", "x", "-1"] {
                let response = try await client.get("/v1/events?limit=\(limit)")
                #expect(response.status == .badRequest)
                #expect(try Self.object(response)["code"] as? String == "invalid_parameter")
            }
        }
    }

    @Test("delete forgets events, ids and statistics, and leaves the faults")
    func forgetting() async throws {
        try await test { client in
            try await client.post(Self.event("1"))
            _ = try await client.put(faults: #"{"mode":"slow"}"#)
            let response = try await client.client.execute(uri: "/v1/events", method: .delete)
            #expect(response.status == .noContent)
            #expect(try await client.events().isEmpty)
            #expect(try await client.stats().values.allSatisfy { $0 == 0 })
            #expect(await platform.faults.mode == .slow)
            try await client.post(Self.event("1"))
            #expect(try await client.stats()["unique"] == 1)
        }
    }

    @Test(
        "what is wrong with a request is told as problem+json",
        arguments: [
            (one, "", 400, "malformed_json", []), (one, "{", 400, "malformed_json", []),
            (one, event("1", data: "1.2.3"), 400, "malformed_json", []),
            (one, event("1").replacing("1.0", with: "0.3"), 422, "validation_failed", ["specversion"]),
            (one, event(""), 422, "validation_failed", ["id"]),
            (one, event(String(repeating: "i", count: 256)), 422, "validation_failed", ["id"]),
            (
                one, #"{"specversion":"1.0"}"#, 422, "validation_failed", ["id", "source", "type", "subject"]
            ),
            (one, "[\(event("1"))]", 422, "validation_failed", [""]),
            (batch, event("1"), 422, "validation_failed", [""]),
            (batch, "[\(event("1")),{\"id\":5}]", 422, "validation_failed", ["[1].id"]),
            (
                batch, "[\(event("1")),\(event("2").replacing("subject", with: "x"))]", 422, "validation_failed",
                ["[1].subject"]
            ),
            (
                batch, "[\(Array(repeating: event("1"), count: 1_001).joined(separator: ","))]", 413, "batch_too_large",
                []
            ),
            (
                batch, "[\(event("1", data: "\"\(String(repeating: "x", count: 4 * 1_024 * 1_024))\""))]", 413,
                "content_too_large", []
            ),
            ("application/json", event("1"), 415, "unsupported_media_type", []),
            ("", event("1"), 415, "unsupported_media_type", []),
        ] as [(String, String, Int, String, [String])]
    )
    func refusals(type: String, body: String, status: Int, code: String, fields: [String]) async throws {
        try await test { client in
            let response = try await client.post(body, as: type)
            #expect(response.status.code == status)
            #expect(response.headers[.contentType] == "application/problem+json")
            let problem = try Self.object(response)
            #expect(problem["type"] as? String == "/problems/\(code)")
            #expect(problem["code"] as? String == code)
            #expect(problem["status"] as? Int == status)
            #expect((problem["requestId"] as? String)?.isEmpty == false)
            let errors = problem["errors"] as? [[String: String]] ?? []
            #expect(errors.compactMap { $0["field"] } == fields)
            #expect(
                try await client.stats() == [
                    "requests": 1, "events": 0, "unique": 0, "duplicates": 0, "refused": 1,
                ]
            )
        }
    }

    @Test("an unknown path is problem+json too")
    func notFound() async throws {
        try await test { client in
            let response = try await client.get("/v2")
            #expect(response.status == .notFound)
            #expect(try Self.object(response)["code"] as? String == "not_found")
        }
    }

    @Test("faults are set and shown in full")
    func faultsShown() async throws {
        try await test { client in
            let plain = #"{"latencyMs":0,"mode":"ok","rate":1,"retryAfterS":null,"status":503,"subjects":[]}"#
            #expect(String(buffer: try await client.get("/v1/faults").body) == plain)
            let full = #"{"latencyMs":5,"mode":"down","rate":0.5,"retryAfterS":9,"status":429,"subjects":["a"]}"#
            let response = try await client.put(faults: full)
            #expect(response.status == .ok)
            #expect(String(buffer: response.body) == full)
            #expect(String(buffer: try await client.get("/v1/faults").body) == full)
        }
    }

    @Test(
        "faults that make no sense are refused and change nothing",
        arguments: [
            (#"{"mode":"doom"}"#, 422, "mode"), ("{}", 422, "mode"), (#"{"mode":"ok","x":1}"#, 422, "x"),
            (#"{"mode":"ok","status":200}"#, 422, "status"), (#"{"mode":"ok","status":"503"}"#, 422, "status"),
            (#"{"mode":"ok","latencyMs":-1}"#, 422, "latencyMs"), (#"{"mode":"ok","rate":1.5}"#, 422, "rate"),
            (#"{"mode":"ok","retryAfterS":-1}"#, 422, "retryAfterS"),
            (#"{"mode":"ok","subjects":[1]}"#, 422, "subjects[0]"),
            ("nonsense", 400, ""),
        ]
    )
    func faultsRefused(body: String, status: Int, field: String) async throws {
        try await test { client in
            let response = try await client.put(faults: body)
            #expect(response.status.code == status)
            let errors = try Self.object(response)["errors"] as? [[String: String]]
            #expect(errors?.first?["field"] ?? "" == field)
            #expect(await platform.faults == Faults())
        }
    }

    @Test("down answers its status to every request, with Retry-After, and stores nothing")
    func down() async throws {
        try await test { client in
            _ = try await client.put(faults: #"{"mode":"down","status":429,"retryAfterS":7}"#)
            for body in [Self.event("1"), "nonsense"] {
                let response = try await client.post(body)
                #expect(response.status.code == 429)
                #expect(response.headers[.retryAfter] == "7")
                #expect(response.headers[.contentType] == "application/problem+json")
            }
            #expect(try await client.stats()["refused"] == 2)
            #expect(try await client.events().isEmpty)
            #expect(try await client.get("/health/ready").status == .ok)
        }
    }

    @Test("without retryAfterS there is no Retry-After")
    func downWithoutRetryAfter() async throws {
        try await test { client in
            _ = try await client.put(faults: #"{"mode":"down"}"#)
            let response = try await client.post(Self.event("1"))
            #expect(response.status.code == 503)
            #expect(response.headers[.retryAfter] == nil)
        }
    }

    @Test("flaky answers its status to about the share that was asked for")
    func flaky() async throws {
        try await test { client in
            for (rate, refused) in [(0.0, 0...0), (0.5, 60...140), (1.0, 200...200)] {
                _ = try await client.put(faults: #"{"mode":"flaky","rate":\#(rate)}"#)
                var count = 0
                // Two hundred tosses stray more than forty from the half less than once in a hundred million runs.
                for id in 1...200 where try await client.post(Self.event("\(id)")).status.code == 503 { count += 1 }
                #expect(refused.contains(count))
            }
        }
    }

    @Test("reject answers 422 where a listed subject is in the request, and takes nothing of it")
    func reject() async throws {
        try await test { client in
            _ = try await client.put(faults: #"{"mode":"reject","subjects":["bad"]}"#)
            let mixed = "[\(Self.event("1")),\(Self.event("2", subject: "bad"))]"
            let response = try await client.post(mixed, as: Self.batch)
            #expect(response.status == .unprocessableContent)
            #expect(try Self.object(response)["code"] as? String == "event_rejected")
            #expect(try await client.events().isEmpty)
            #expect(try await client.post(Self.event("1")).status == .accepted)
            #expect(
                try await client.stats() == [
                    "requests": 2, "events": 1, "unique": 1, "duplicates": 0, "refused": 1,
                ]
            )
        }
    }

    @Test("slow takes its time before it takes the event")
    func slow() async throws {
        try await test { client in
            _ = try await client.put(faults: #"{"mode":"slow","latencyMs":200}"#)
            let start = ContinuousClock.now
            #expect(try await client.post(Self.event("1")).status == .accepted)
            #expect(.now - start >= .milliseconds(200))
        }
    }

    @Test("memory is bounded: the oldest ids and events are forgotten first")
    func bounded() async throws {
        let small = Platform(metrics: MetricsRegistry(), maximumIDs: 3, maximumBodies: 2)
        func take(_ id: Int) async throws -> Int {
            let event = try IncomingEvent.one(Array(Self.event("\(id)").utf8))
            guard case .stored(let new, _) = await small.receive([event], at: Date()) else { return -1 }
            return new
        }
        for id in 1...4 { #expect(try await take(id) == 1) }
        #expect(await small.recent(subject: nil, limit: 100).count == 2)
        #expect(try await take(2) == 0)
        #expect(try await take(1) == 1)
    }

    @Test("health and metrics are there")
    func operations() async throws {
        try await test { client in
            try await client.post(Self.event("1"))
            #expect(try await client.get("/health/live").status == .ok)
            let page = String(buffer: try await client.get("/metrics").body)
            #expect(page.contains("platform_requests_total{result=\"accepted\"} 1\n"))
            #expect(page.contains("platform_events_total{kind=\"new\"} 1\n"))
            #expect(
                page.contains(#"http_request_duration_seconds_count{method="POST",route="/v1/events",status="202"} 1"#)
            )
        }
    }
}
