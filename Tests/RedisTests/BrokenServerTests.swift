import Backoff
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Redis

@Suite("Redis client with a broken server", .timeLimit(.minutes(1)))
struct BrokenServerTests {
    /// The error of a call that may take so long, and how long it took; `afterPing` connects first.
    private func timedCall(
        _ url: String,
        within limit: Duration = .milliseconds(300),
        afterPing: Bool
    ) async throws -> (error: RedisError, duration: Duration) {
        let client = try makeClient(url)
        if afterPing { try await client.ping(deadline: .soon) }
        let start = ContinuousClock.now
        let error = try await failure { () async throws(RedisError) in
            _ = try await client.send(["GET", "a"], deadline: start + limit)
        }
        return (error, .now - start)
    }

    @Test("a server that accepts and never answers costs no more than the deadline")
    func hangs() async throws {
        let server = try FakeServer { $0.waitForClose() }
        let (error, duration) = try await timedCall(server.url, afterPing: false)
        #expect(error.code == .timedOut && !error.isOutcomeUnknown)
        #expect(duration >= .milliseconds(300) && duration < .seconds(5))
    }

    @Test("a server that hangs after the log-in costs no more than the deadline")
    func hangsLater() async throws {
        let server = try FakeServer { peer in
            peer.acceptPing()
            peer.waitForClose()
        }
        let (error, duration) = try await timedCall(server.url, afterPing: true)
        #expect(error.code == .timedOut && error.isOutcomeUnknown)
        #expect(duration >= .milliseconds(300) && duration < .seconds(5))
    }

    @Test("a server that drips costs no more than the deadline")
    func drips() async throws {
        let server = try FakeServer { peer in
            peer.acceptPing()
            _ = peer.read()
            peer.write("$1000000\r\n")
            for _ in 0..<1_000 {
                peer.write("x")
                usleep(10_000)
            }
        }
        let (error, duration) = try await timedCall(server.url, afterPing: true)
        #expect(error.code == .timedOut && error.isOutcomeUnknown)
        #expect(duration >= .milliseconds(300) && duration < .seconds(5))
    }

    @Test("a server that takes no bytes costs no more than the deadline")
    func takesNothing() async throws {
        let released = Gate()
        let server = try FakeServer { peer in
            peer.acceptPing()
            released.wait()
        }
        defer { released.open() }
        let client = try makeClient(server.url)
        let large = RedisCommand(bytes: [[0x50], [UInt8](repeating: 0x78, count: 50_000_000)])
        try await client.ping(deadline: .soon)
        let start = ContinuousClock.now
        let error = try await failure { () async throws(RedisError) in
            _ = try await client.send(large, deadline: start + .milliseconds(500))
        }
        #expect(error.code == .timedOut && error.isOutcomeUnknown && .now - start < .seconds(5))
    }

    @Test("a server that reads on only when its replies are taken gets both done")
    func readsWhileWriting() async throws {
        let size = 20_000_000
        let server = try FakeServer { peer in
            peer.acceptLogin()
            var received = peer.read().count
            peer.write("$\(size)\r\n\(String(repeating: "x", count: size))\r\n")
            while received < size { received += peer.read().count }
            peer.write("+DONE\r\n")
            peer.waitForClose()
        }
        let client = try makeClient(server.url)
        let large = RedisCommand(bytes: [[0x50], [UInt8](repeating: 0x78, count: size)])
        let replies = try await client.pipeline([["GET", "a"], large], deadline: .soon)
        #expect(replies == [.bulk([UInt8](repeating: 0x78, count: size)), .status("DONE")])
    }

    @Test("the connect timeout ends a log-in before a later deadline, and later calls fail at once")
    func connectTimeout() async throws {
        let server = try FakeServer { $0.waitForClose() }
        var configuration = try RedisConfiguration(url: server.url)
        configuration.connectTimeout = .milliseconds(100)
        let backoff = Backoff(base: .seconds(60), cap: .seconds(60))
        let client = RedisClient(configuration: configuration, logger: quietLogger, backoff: backoff)
        let start = ContinuousClock.now
        for _ in 0..<100 {
            let error = try await failure { () async throws(RedisError) in try await client.ping(deadline: .soon) }
            #expect(error.code == .connectFailed && error.isRetryable && !error.isOutcomeUnknown)
        }
        #expect(.now - start < .seconds(5) && server.connections == 1)
    }

    @Test("a server that closes in the middle of a reply, or at once, has lost the connection")
    func closes() async throws {
        let midway = try FakeServer { peer in
            peer.acceptPing()
            _ = peer.read()
            peer.write("*2\r\n$5\r\nhel")
        }
        let error = try await timedCall(midway.url, within: .seconds(20), afterPing: true).error
        #expect(error.code == .connectionLost && error.isOutcomeUnknown && error.isRetryable)
        let immediate = try FakeServer { _ in }
        let early = try await timedCall(immediate.url, within: .seconds(20), afterPing: false).error
        #expect(early.code == .connectFailed && !early.isOutcomeUnknown && early.isRetryable)
    }

    @Test(
        "a server that answers what is no reply breaks the protocol",
        arguments: [
            "HTTP/1.1 400 Bad Request\r\n\r\n", "\0\u{1}\u{2}\r\n", ":12x\r\n", "$-5\r\n", "$99999999999999999999\r\n",
            "*-7\r\n", "%1\r\n+a\r\n+b\r\n", "+two\r\n+replies\r\n", String(repeating: "*1\r\n", count: 10) + ":1\r\n",
        ]
    )
    func answersGarbage(reply: String) async throws {
        let server = try FakeServer { peer in
            peer.acceptPing()
            _ = peer.read()
            peer.write(reply)
            peer.waitForClose()
        }
        let error = try await timedCall(server.url, within: .seconds(20), afterPing: true).error
        #expect(error.code == .protocolViolation && !error.isRetryable)
    }

    @Test("nine levels of arrays are read")
    func readsNineLevels() async throws {
        let server = try FakeServer { peer in
            peer.acceptLogin()
            _ = peer.read()
            peer.write(String(repeating: "*1\r\n", count: 8) + ":1\r\n")
            peer.waitForClose()
        }
        let client = try makeClient(server.url)
        let reply = try await client.send(["GET", "a"], deadline: .soon)
        #expect(reply == (0..<8).reduce(.integer(1)) { inner, _ in .array([inner]) })
    }

    @Test("what a server says unasked never answers the next command")
    func saysUnasked() async throws {
        let hasReply = Gate()
        let server = try FakeServer { peer in
            peer.acceptLogin()
            _ = peer.read()
            peer.write("+reply \(peer.number)\r\n")
            if peer.number == 1 {
                hasReply.wait()
                peer.write("+unasked\r\n")
            }
            peer.waitForClose()
        }
        defer { hasReply.open() }
        let client = try makeClient(server.url)
        #expect(try await client.send(["GET", "a"], deadline: .soon) == .status("reply 1"))
        hasReply.open()
        try await waitUntil { await !client.isConnected }
        #expect(try await client.send(["GET", "b"], deadline: .soon) == .status("reply 2"))
    }

    @Test("what a server says after the deadline never answers the next command")
    func saysTooLate() async throws {
        let secondIsHere = Gate()
        let server = try FakeServer { peer in
            if peer.number == 1 { peer.acceptPing() } else { peer.acceptLogin() }
            _ = peer.read()
            guard peer.number == 1 else {
                secondIsHere.open()
                peer.write("+second\r\n")
                return peer.waitForClose()
            }
            secondIsHere.wait()
            peer.write("+late\r\n")
            peer.waitForClose()
        }
        defer { secondIsHere.open() }
        let client = try makeClient(server.url)
        try await client.ping(deadline: .soon)
        let error = try await failure { () async throws(RedisError) in
            _ = try await client.send(["GET", "a"], deadline: .now + .milliseconds(300))
        }
        #expect(error.code == .timedOut)
        #expect(try await client.send(["GET", "b"], deadline: .soon) == .status("second"))
    }

    @Test("a refused connection fails at once, waits out the backoff, and recovers")
    func recovers() async throws {
        let server = try FakeServer(isListening: false) { peer in
            peer.acceptLogin()
            while !peer.read().isEmpty { peer.write("+PONG\r\n") }
        }
        let patient = try makeClient(server.url, backoff: Backoff(base: .seconds(60), cap: .seconds(60)))
        let eager = try makeClient(server.url, backoff: Backoff(base: .milliseconds(1), cap: .milliseconds(50)))
        let start = ContinuousClock.now
        for client in [patient, eager] {
            let error = try await failure { () async throws(RedisError) in try await client.ping(deadline: .soon) }
            #expect(error.code == .connectFailed && error.isRetryable && !error.isOutcomeUnknown)
            #expect(error.description.contains("Connection refused"))
        }
        #expect(.now - start < .seconds(5))
        server.listen()
        try await waitUntil { (try? await eager.ping(deadline: .soon)) != nil }
        let error = try await failure { () async throws(RedisError) in try await patient.ping(deadline: .soon) }
        #expect(error.code == .connectFailed && server.connections == 1)
    }

    @Test("writing to a server that has gone raises no signal")
    func survivesBrokenPipe() async {
        // In a process of its own, where nobody ignores the signal.
        await #expect(processExitsWith: .success) {
            signal(SIGPIPE, SIG_DFL)
            let server = try FakeServer { $0.acceptLogin() }
            let connection = try Connection(RedisConfiguration(url: server.url), deadline: .soon)
            try await waitUntil { connection.isSpent }
            // The first bytes make the peer reset the connection; what is written after that would raise the signal.
            for _ in 0..<3 {
                let error = #expect(throws: RedisError.self) {
                    try connection.exchange([0x50], replies: 1, deadline: .soon)
                }
                try #require(error?.code == .connectionLost)
            }
        }
    }

    @Test("a connection that could not be made leaves no descriptor open")
    func leaksNothing() async {
        // In a process of its own, where nobody else opens files.
        await #expect(processExitsWith: .success) {
            let refusing = try FakeServer(isListening: false) { _ in }
            let denying = try FakeServer { peer in
                _ = peer.read()
                peer.write("-ERR no\r\n")
                peer.waitForClose()
            }
            let descriptors = { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count }
            let before = try descriptors()
            for url in [refusing.url, denying.url] {
                let configuration = try RedisConfiguration(url: url)
                for _ in 0..<100 {
                    #expect(throws: RedisError.self) { try Connection(configuration, deadline: .soon) }
                }
            }
            // The fake server's side closes a little later, and Foundation may open a few of its own.
            try await waitUntil { try descriptors() < before + 50 }
        }
    }
}

/// Holds threads until it is opened.
final class Gate: Sendable {
    private let state = Atomic(false)

    var isOpen: Bool { state.load(ordering: .sequentiallyConsistent) }

    func open() { state.store(true, ordering: .sequentiallyConsistent) }

    func wait() {
        while !isOpen { usleep(1_000) }
    }
}
