import HTTPTypes
import HummingbirdTesting
import Logging
import NIOCore
import OpsMetrics
import ServiceLifecycle
import ServiceRuntime
import Testing

@testable import DataPlatform

@Suite("Hanging requests over a real connection", .timeLimit(.minutes(1)))
struct HangTests {
    private let metrics = MetricsRegistry()
    private let platform: Platform

    init() {
        platform = Platform(metrics: metrics)
    }

    /// Runs a server on a free port for as long as the body runs, which may stop it earlier.
    private func withServer(_ body: @Sendable (Int, ServiceGroup) async throws -> Void) async throws {
        let (ports, tell) = AsyncStream.makeStream(of: Int.self)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let router = PlatformRoutes(platform: platform).router(metrics: metrics)
        let server = makeHTTPServer(router: router, host: "127.0.0.1", port: 0, name: "t", logger: logger) { port in
            tell.yield(port)
        }
        let group = ServiceGroup(services: [server], logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            var iterator = ports.makeAsyncIterator()
            let port = try #require(await iterator.next())
            try await body(port, group)
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private func withClient(port: Int, _ body: @Sendable (TestClient) async throws -> Void) async throws {
        let configuration = TestClient.Configuration(timeout: .seconds(20))
        let client = TestClient(host: "127.0.0.1", port: port, configuration: configuration)
        client.connect()
        try await body(client)
        try? await client.shutdown()
    }

    private func post(_ client: TestClient) async throws -> TestClient.Response {
        try await client.post(
            "/v1/events",
            headers: [.contentType: "application/cloudevents+json"],
            body: ByteBuffer(string: "{}")
        )
    }

    private func hanging(are count: Double) async -> Bool {
        let deadline = ContinuousClock.now + .seconds(10)
        while .now < deadline {
            if metrics.render().contains("platform_hanging_requests \(Int(count))\n") { return true }
            try? await Task.sleep(for: .milliseconds(5))
        }
        return false
    }

    @Test("a request hangs until the mode changes, and then its connection is closed without an answer")
    func endsWithMode() async throws {
        var faults = Faults()
        faults.mode = .hang
        await platform.set(faults)
        try await withServer { port, _ in
            try await withClient(port: port) { client in
                let response = Task { try await post(client) }
                #expect(await hanging(are: 1))
                await platform.set(Faults())
                await #expect(throws: (any Error).self) { try await response.value }
                #expect(await hanging(are: 0))
            }
        }
        #expect(await platform.statistics == .init(requests: 1, refused: 1))
    }

    @Test("a request that hangs does not hold up the stop")
    func endsWithStop() async throws {
        var faults = Faults()
        faults.mode = .hang
        await platform.set(faults)
        try await withServer { port, group in
            try await withClient(port: port) { client in
                let response = Task { try await post(client) }
                #expect(await hanging(are: 1))
                let start = ContinuousClock.now
                await group.triggerGracefulShutdown()
                await #expect(throws: (any Error).self) { try await response.value }
                #expect(.now - start < .seconds(5))
            }
        }
        #expect(await hanging(are: 0))
    }

    @Test("a request whose client has gone no longer hangs")
    func endsWithClient() async throws {
        var faults = Faults()
        faults.mode = .hang
        await platform.set(faults)
        try await withServer { port, _ in
            try await withClient(port: port) { client in
                let request = TestClient.Request(
                    "/v1/events",
                    method: .post,
                    headers: [.contentLength: "2"],
                    body: ByteBuffer(string: "{}")
                )
                try await client.executeAndDontWaitForResponse(request)
                #expect(await hanging(are: 1))
            }
            #expect(await hanging(are: 0))
        }
    }

    @Test("requests beyond the maximum are cut off at once")
    func bounded() async {
        var faults = Faults()
        faults.mode = .hang
        await platform.set(faults)
        for _ in 0..<Platform.maximumHanging {
            guard case .hang = await platform.admit() else {
                Issue.record("cut off too early")
                return
            }
        }
        guard case .cutOff = await platform.admit() else {
            Issue.record("not cut off")
            return
        }
        await platform.endHanging()
        guard case .hang = await platform.admit() else {
            Issue.record("a place was not freed")
            return
        }
    }
}
