import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import OpsMetrics
import Synchronization
import Testing

@testable import ServiceRuntime

@Suite("Operations routes", .timeLimit(.minutes(1)))
struct OperationsTests {
    private struct Ready: Decodable {
        struct Check: Decodable {
            var name: String
            var status: String
            var detail: String?
            var durationMs: Int
        }
        var status: String
        var checks: [Check]
    }

    private struct Refusal: Error, CustomStringConvertible {
        var description: String { "connection refused,\ntwice" }
    }

    private func ready(_ checks: [HealthCheck]) async throws -> (HTTPResponse.Status, Ready) {
        let router = Router()
        OperationsRoutes(metrics: MetricsRegistry(), checks: checks).add(to: router)
        return try await Application(router: router).test(.router) { client in
            let response = try await client.execute(uri: "/health/ready", method: .get)
            return (response.status, try JSONDecoder().decode(Ready.self, from: Data(response.body.readableBytesView)))
        }
    }

    @Test("live asks nobody")
    func live() async throws {
        let router = Router()
        let check = HealthCheck("never") { throw Refusal() }
        OperationsRoutes(metrics: MetricsRegistry(), checks: [check]).add(to: router)
        try await Application(router: router).test(.router) { client in
            let response = try await client.execute(uri: "/health/live", method: .get)
            #expect(response.status == .ok)
            #expect(String(buffer: response.body) == #"{"status":"live"}"#)
            #expect(response.headers[.contentType] == "application/json")
        }
    }

    @Test("ready is 200 when every check passes")
    func allWell() async throws {
        let (status, answer) = try await ready([HealthCheck("a") {}, HealthCheck("b") {}])
        #expect(status == .ok)
        #expect(answer.status == "ready")
        #expect(answer.checks.map(\.name) == ["a", "b"])
        #expect(answer.checks.allSatisfy { $0.status == "ok" && $0.detail == nil })
    }

    @Test("ready is 503 and names what failed and why, on one line")
    func oneFails() async throws {
        let (status, answer) = try await ready([HealthCheck("postgres") { throw Refusal() }, HealthCheck("redis") {}])
        #expect(status == .serviceUnavailable)
        #expect(answer.status == "unready")
        #expect(answer.checks.map(\.status) == ["failed", "ok"])
        #expect(answer.checks[0].detail == "connection refused, twice")
    }

    @Test("slow probes run side by side and are cut off at their time")
    func slowProbes() async throws {
        let start = ContinuousClock.now
        let slow = (0..<5).map { number in
            HealthCheck("slow\(number)", timeout: .milliseconds(200)) { try await Task.sleep(for: .seconds(60)) }
        }
        let (status, answer) = try await ready(slow)
        #expect(status == .serviceUnavailable)
        #expect(answer.checks.allSatisfy { $0.detail == "no answer within 200 ms" && $0.durationMs >= 200 })
        #expect(.now - start < .seconds(5))
    }

    @Test("a probe that ignores its cancellation holds nobody up, and runs once however often one asks")
    func stuckProbe() async throws {
        let calls = Atomic<Int>(0)
        let release = Mutex<[CheckedContinuation<Void, Never>]>([])
        let check = HealthCheck("stuck", timeout: .milliseconds(50)) {
            if calls.wrappingAdd(1, ordering: .relaxed).newValue == 1 {
                await withCheckedContinuation { waiter in release.withLock { $0.append(waiter) } }
            }
        }
        let readiness = Readiness([check])
        for _ in 0..<3 {
            #expect(await readiness.answers().map(\.failure) == ["no answer within 50 ms"])
        }
        #expect(calls.load(ordering: .relaxed) == 1)
        for waiter in release.withLock({ $0 }) { waiter.resume() }
        let deadline = ContinuousClock.now + .seconds(10)
        while await readiness.answers().first?.failure != nil, .now < deadline { await Task.yield() }
        #expect(await readiness.answers().map(\.failure) == [nil])
    }

    @Test("those who ask at the same time share one probe")
    func sharedProbe() async throws {
        let calls = Atomic<Int>(0)
        let readiness = Readiness([
            HealthCheck("shared", timeout: .seconds(30)) {
                calls.add(1, ordering: .relaxed)
                try await Task.sleep(for: .milliseconds(200))
            }
        ])
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<20 {
                group.addTask { #expect(await readiness.answers().map(\.failure) == [nil]) }
            }
        }
        #expect(calls.load(ordering: .relaxed) < 20)
    }

    @Test("metrics come as Prometheus text, requests measured by route pattern")
    func metrics() async throws {
        let metrics = MetricsRegistry()
        let router = Router()
        router.add(middleware: HTTPMetricsMiddleware(metrics: metrics))
        router.get("/v1/orders/:id") { _, _ in "order" }
        router.post("/v1/orders") { _, _ -> String in throw HTTPError(.conflict) }
        router.get("/broken") { _, _ -> String in throw Refusal() }
        OperationsRoutes(metrics: metrics, checks: []).add(to: router)
        let brew = try #require(HTTPRequest.Method("BREW"))
        try await Application(router: router).test(.router) { client in
            for id in 1...3 { _ = try await client.execute(uri: "/v1/orders/\(id)", method: .get) }
            _ = try await client.execute(uri: "/v1/orders", method: .post)
            _ = try? await client.execute(uri: "/broken", method: .get)
            _ = try await client.execute(uri: "/nowhere/\(UInt64.random(in: 0...99))", method: .get)
            _ = try await client.execute(uri: "/v1/orders/1", method: .delete)
            _ = try await client.execute(uri: "/v1/orders/1", method: brew)
            let response = try await client.execute(uri: "/metrics", method: .get)
            #expect(response.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
            let counts = String(buffer: response.body).split(separator: "\n").filter { $0.contains("_count{") }
            #expect(
                counts == [
                    #"http_request_duration_seconds_count{method="DELETE",route="unmatched",status="404"} 1"#,
                    #"http_request_duration_seconds_count{method="GET",route="/broken",status="500"} 1"#,
                    #"http_request_duration_seconds_count{method="GET",route="/v1/orders/{id}",status="200"} 3"#,
                    #"http_request_duration_seconds_count{method="GET",route="unmatched",status="404"} 1"#,
                    #"http_request_duration_seconds_count{method="POST",route="/v1/orders",status="409"} 1"#,
                    #"http_request_duration_seconds_count{method="other",route="unmatched",status="404"} 1"#,
                ]
            )
        }
    }

    @Test("metrics tell which server can be reached")
    func dependencies() async throws {
        let router = Router()
        let checks = [HealthCheck("postgres") {}, HealthCheck("redis") { throw Refusal() }]
        OperationsRoutes(metrics: MetricsRegistry(), checks: checks).add(to: router)
        try await Application(router: router).test(.router) { client in
            let text = String(buffer: try await client.execute(uri: "/metrics", method: .get).body)
            #expect(text.contains("\ndependency_up{dependency=\"postgres\"} 1\n"))
            #expect(text.contains("\ndependency_up{dependency=\"redis\"} 0\n"))
        }
    }

    @Test("a body over the limit is 413, whether or not its length is announced", arguments: [10, 11])
    func bodyLimit(bytes: Int) async throws {
        let router = Router()
        router.post("/") { request, _ in
            String(try await request.collectBody(limit: 10).readableBytes)
        }
        try await Application(router: router).test(.router) { client in
            let body = ByteBuffer(repeating: UInt8(ascii: "x"), count: bytes)
            for headers in [HTTPFields(), [.contentLength: "\(bytes)"]] {
                let response = try await client.execute(uri: "/", method: .post, headers: headers, body: body)
                #expect(response.status == (bytes > 10 ? .contentTooLarge : .ok))
            }
        }
    }
}
