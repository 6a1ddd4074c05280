import Glibc
import Hummingbird
import Logging
import OpsMetrics
import ServiceLifecycle
import Testing

@testable import ServiceRuntime

@Suite("Drain", .timeLimit(.minutes(1)))
struct DrainTests {
    private struct Failure: Error {}

    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    @Test("after the wish to stop, health checks say no while requests are answered and their connections closed")
    func drains() async throws {
        let drain = Drain(.seconds(5))
        try await withServer(drain) { port, stop in
            try await HealthProbe.run(settings(port), portKey: "PORT", defaultPort: 0)
            let before = try Exchange(port, "GET / HTTP/1.1\r\nHost: t\r\n\r\n", until: "hello")
            #expect(!before.answer.lowercased().contains("connection: close"))

            stop()
            while !drain.hasBegun { await Task.yield() }
            let during = try Exchange(port, "GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            #expect(during.answer.hasPrefix("HTTP/1.1 200") && during.answer.hasSuffix("hello"))
            #expect(during.answer.lowercased().contains("\r\nconnection: close\r\n"))
            // A connection of before is closed by its next answer too.
            let next = try before.ask("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            #expect(next.hasPrefix("HTTP/1.1 200") && next.lowercased().contains("\r\nconnection: close\r\n"))
            for path in ["ready", "serving"] {
                let health = try Exchange(port, "GET /health/\(path) HTTP/1.1\r\nHost: t\r\n\r\n").answer
                #expect(health.hasPrefix("HTTP/1.1 503") && health.contains(#""detail":"it is stopping""#))
            }
            let failure = await #expect(throws: ProcessFailure.self) {
                try await HealthProbe.run(settings(port), portKey: "PORT", defaultPort: 0)
            }
            #expect(failure?.exitCode == 1 && failure?.description.contains("it is stopping") == true)
        }
    }

    @Test("of requests that came at once, all are answered before the connection closes")
    func pipelined() async throws {
        let drain = Drain(.seconds(5))
        try await withServer(drain) { port, stop in
            stop()
            while !drain.hasBegun { await Task.yield() }
            let request = "GET / HTTP/1.1\r\nHost: t\r\n\r\n"
            let answers = try Exchange(port, request + request + request).answer
            #expect(answers.ranges(of: "HTTP/1.1 200").count == 3)
            #expect(answers.lowercased().ranges(of: "connection: close").count == 1)
        }
    }

    @Test("serving asks the essential checks alone")
    func serving() async throws {
        let checks = [
            HealthCheck("postgres", isEssential: true) {}, HealthCheck("redis") { throw Failure() },
        ]
        try await withServer(Drain(.zero), checks: checks) { port, _ in
            let ready = try Exchange(port, "GET /health/ready HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            #expect(ready.answer.hasPrefix("HTTP/1.1 503"))
            let serving = try Exchange(port, "GET /health/serving HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            #expect(serving.answer.hasPrefix("HTTP/1.1 200") && !serving.answer.contains("redis"))
            try await HealthProbe.run(settings(port), portKey: "PORT", defaultPort: 0)
        }
    }

    @Test("a health check of nobody says where it asked")
    func nobody() async throws {
        let failure = await #expect(throws: ProcessFailure.self) {
            try await HealthProbe.run(Settings(["LISTEN_HOST": "0.0.0.0"]), portKey: "PORT", defaultPort: 1)
        }
        #expect(failure?.exitCode == 1)
        #expect(failure?.description.hasPrefix("cannot reach 127.0.0.1, port 1") == true)
    }

    @Test("DRAIN_MS has bounds", arguments: ["-1", "5001", "x", ""])
    func bounds(text: String) throws {
        let error = #expect(throws: SettingsError.self) { try Drain(Settings(["DRAIN_MS": text])) }
        #expect(error?.key == "DRAIN_MS")
    }

    private func settings(_ port: Int) -> Settings {
        Settings(["LISTEN_HOST": "0.0.0.0", "PORT": "\(port)"])
    }

    /// Runs `body` with the port of a server, and what asks it to stop; it has stopped when this returns.
    private func withServer(
        _ drain: Drain,
        checks: [HealthCheck] = [],
        _ body: (Int, @escaping @Sendable () -> Void) async throws -> Void
    ) async throws {
        let router = Router()
        router.get("/") { _, _ in "hello" }
        OperationsRoutes(metrics: MetricsRegistry(), checks: checks, drain: drain).add(to: router)
        let (ports, tell) = AsyncStream.makeStream(of: Int.self)
        let server = makeHTTPServer(
            router: router,
            host: "127.0.0.1",
            port: 0,
            name: "t",
            drain: drain,
            logger: logger,
            onListening: { tell.yield($0) }
        )
        let group = ServiceGroup(services: [server, drain], logger: logger)
        let running = Task { try await group.run() }
        var iterator = ports.makeAsyncIterator()
        let port = try #require(await iterator.next())
        do {
            try await body(port) { Task { await group.triggerGracefulShutdown() } }
        } catch {
            running.cancel()
            throw error
        }
        running.cancel()
        _ = await running.result
    }
}

/// A connection on which requests are sent as they are.
private final class Exchange {
    private struct Failure: Error {}

    private let descriptor: Int32
    /// The answer to the first request.
    private(set) var answer = ""

    /// Sends a request, and reads until the server closes, or a text has come.
    init(_ port: Int, _ request: String, until end: String? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let code = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                unsafe connect(descriptor, pointer, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw Failure() }
        answer = try ask(request, until: end)
    }

    deinit { close(descriptor) }

    /// Sends a further request.
    func ask(_ request: String, until end: String? = nil) throws -> String {
        let bytes = Array(request.utf8)
        guard unsafe send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { throw Failure() }
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = unsafe recv(descriptor, &buffer, buffer.count, 0)
            if count == 0 { return text }
            guard count > 0 else { throw Failure() }
            text += String(decoding: buffer.prefix(count), as: UTF8.self)
            if let end, text.contains(end) { return text }
        }
    }
}
