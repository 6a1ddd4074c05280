import Glibc
import Hummingbird
import Logging
import ServiceLifecycle
import Synchronization
import Testing

@testable import ServiceRuntime

@Suite("Service process", .timeLimit(.minutes(1)))
struct ServiceProcessTests {
    struct Broken: Error, CustomStringConvertible {
        var description: String { "the wheel\ncame off" }
    }

    final class Journal: Sendable {
        private let entries = Mutex<[String]>([])
        var all: [String] { entries.withLock { $0 } }
        func note(_ entry: String) { entries.withLock { $0.append(entry) } }
    }

    /// Runs until it is told to stop, and notes how it was.
    struct Patient: Service {
        let name: String
        let journal: Journal
        func run() async throws {
            do {
                try await gracefulShutdown()
                journal.note("\(name) stopped")
            } catch {
                journal.note("\(name) cancelled")
                throw error
            }
        }
    }

    struct Closure: Service {
        let body: @Sendable () async throws -> Void
        func run() async throws { try await body() }
    }

    private let journal = Journal()
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func run(_ services: [any Service], gracefulLimit: Duration = .seconds(30)) async throws {
        try await ServiceProcess.run(services, logger: logger, gracefulLimit: gracefulLimit, stopLimit: .seconds(60))
    }

    @Test("a service that fails stops the others gracefully, from the last to the first")
    func failureStopsInOrder() async {
        let services: [any Service] = [
            Patient(name: "first", journal: journal),
            Closure { throw Broken() },
            Patient(name: "second", journal: journal),
            Patient(name: "third", journal: journal),
        ]
        await #expect(throws: Broken.self) { try await run(services) }
        #expect(journal.all == ["third stopped", "second stopped", "first stopped"])
    }

    @Test("a service that ends stops the others too, without an error")
    func endStopsInOrder() async throws {
        try await run([
            Patient(name: "first", journal: journal), Patient(name: "second", journal: journal), Closure {},
        ])
        #expect(journal.all == ["second stopped", "first stopped"])
    }

    @Test("a service that ends before its turn while the group stops does not get the others cancelled")
    func earlyEnd() async throws {
        let (lastStops, tell) = AsyncStream.makeStream(of: Void.self)
        let early = Closure { [journal] in
            for await _ in lastStops {}
            journal.note("early ended")
        }
        let last = Closure { [journal] in
            try await gracefulShutdown()
            tell.finish()
            // Gives the group time to hear of the early end, which would cancel this sleep.
            do { try await Task.sleep(for: .milliseconds(300)) } catch { journal.note("last cancelled") }
        }
        try await run([Patient(name: "first", journal: journal), early, last, Closure {}])
        #expect(journal.all == ["early ended", "first stopped"])
    }

    @Test("a service that does not stop in time is cancelled, which is no failure")
    func gracefulStopIsBounded() async throws {
        let stubborn = Closure { try await Task.sleep(for: .seconds(3_600)) }
        let start = ContinuousClock.now
        try await run(
            [Patient(name: "first", journal: journal), stubborn, Closure {}],
            gracefulLimit: .milliseconds(100)
        )
        #expect(.now - start < .seconds(5))
    }

    @Test("an error while stopping is the result")
    func errorWhileStopping() async {
        let sore = Closure {
            try await gracefulShutdown()
            throw Broken()
        }
        await #expect(throws: Broken.self) {
            try await run([Patient(name: "first", journal: journal), sore, Closure {}])
        }
        #expect(journal.all == ["first stopped"])
    }

    @Test("SIGTERM and SIGINT end a process with exit code 0", arguments: [SIGTERM, SIGINT])
    func signals(signal: Int32) async {
        await #expect(processExitsWith: .success) { [signal] in
            await ServiceProcess.main("test") { _, logger in
                let killer = Closure {
                    kill(getpid(), signal)
                    try await gracefulShutdown()
                }
                try await ServiceProcess.run([killer], logger: logger)
            }
        }
    }

    @Test("a process that does not stop at all is ended with exit code 70")
    func hardStop() async {
        await #expect(processExitsWith: .exitCode(ExitCode.software)) {
            let deaf = Closure { while true { await Task.yield() } }
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            try await ServiceProcess.run(
                [deaf, Closure {}],
                logger: logger,
                gracefulLimit: .milliseconds(50),
                stopLimit: .milliseconds(300)
            )
        }
    }

    @Test("a wrong setting is one line and exit code 78")
    func settingsError() async throws {
        let result = try await #require(processExitsWith: .exitCode(78), observing: [\.standardErrorContent]) {
            await ServiceProcess.main("order-api") { _, _ in
                _ = try Settings(["API_PORT": "x"]).port("API_PORT", default: 1)
            }
        }
        let said = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(said == "order-api: API_PORT is 'x': expected a port number from 0 to 65535\n")
    }

    @Test("any other error is one line and exit code 1")
    func otherError() async throws {
        let result = try await #require(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
            await ServiceProcess.main("consumer") { _, logger in
                try await ServiceProcess.run([Closure { throw Broken() }], logger: logger)
            }
        }
        #expect(String(decoding: result.standardErrorContent, as: UTF8.self) == "consumer: the wheel came off\n")
    }

    @Test("a process failure gives the exit code")
    func processFailure() async {
        await #expect(processExitsWith: .exitCode(75)) {
            await ServiceProcess.main("aggregator") { _, _ in
                throw ProcessFailure("another run is going", exitCode: ExitCode.temporaryFailure)
            }
        }
    }

    @Test("a write to a closed pipe is an error, not the end")
    func brokenPipe() async {
        await #expect(processExitsWith: .success) {
            await ServiceProcess.main("test") { _, _ in
                var ends: [Int32] = [-1, -1]
                unsafe _ = pipe(&ends)
                close(ends[0])
                #expect(unsafe write(ends[1], "x", 1) == -1)
            }
        }
    }

    @Test("a port in use is one clear line")
    func portInUse() async throws {
        let (ports, tell) = AsyncStream.makeStream(of: Int.self)
        let first = makeHTTPServer(router: Router(), host: "127.0.0.1", port: 0, name: "t", logger: logger) { port in
            tell.yield(port)
        }
        let second = Closure { [logger] in
            var ports = ports.makeAsyncIterator()
            let port = try #require(await ports.next())
            try await makeHTTPServer(router: Router(), host: "127.0.0.1", port: port, name: "t", logger: logger).run()
        }
        let error = await #expect(throws: ProcessFailure.self) { try await run([first, second]) }
        #expect(error?.exitCode == ExitCode.unavailable)
        #expect(error?.description.hasPrefix("port ") == true)
        #expect(error?.description.contains(" on 127.0.0.1 is in use") == true)
    }
}
