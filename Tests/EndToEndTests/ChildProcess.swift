import Foundation
import Glibc

/// One of our executables as a process, and what it writes.
final class ChildProcess: Sendable {
    let name: String
    private let process = Process()
    private let logFile: URL

    /// Starts `name arguments…` of the folder that the environment names.
    ///
    /// - Parameter settings: the process's environment beside what every process has; ours are not passed on.
    init(_ name: String, _ arguments: [String], settings: [String: String], logFolder: URL) throws {
        self.name = name
        logFile = logFolder.appending(path: "\(name)-\(UUID().uuidString.prefix(8)).log")
        try Data().write(to: logFile)
        let log = try FileHandle(forWritingTo: logFile)
        process.executableURL = URL(filePath: try TestEnvironment.required("JUMUN_TEST_BIN_DIR")).appending(path: name)
        process.arguments = arguments
        process.environment = TestEnvironment.inherited.merging(settings) { _, new in new }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = log
        process.standardError = log
        try process.run()
        try log.close()
    }

    var isRunning: Bool { process.isRunning }

    /// Everything written so far, on standard output and standard error.
    var log: String { (try? String(contentsOf: logFile, encoding: .utf8)) ?? "" }

    /// The name, the state and the last lines of the log, for a test that fails.
    var report: String {
        let state = process.isRunning ? "is running" : "ended with \(process.terminationStatus)"
        let lines = log.split(separator: "\n").suffix(15).map { "    \($0)" }
        return (["\(name) \(state); the end of its log:"] + lines).joined(separator: "\n")
    }

    /// SIGTERM.
    func terminate() { send(SIGTERM) }

    /// SIGKILL.
    func kill() { send(SIGKILL) }

    /// SIGSTOP.
    func pause() { send(SIGSTOP) }

    /// SIGCONT.
    func resume() { send(SIGCONT) }

    /// The exit code; nil when it still runs after the time, or a signal ended it.
    func exitCode(within time: Duration) async throws -> Int32? {
        let deadline = ContinuousClock.now + time
        while process.isRunning, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(10))
        }
        guard !process.isRunning, process.terminationReason == .exit else { return nil }
        return process.terminationStatus
    }

    private func send(_ signal: Int32) {
        if process.isRunning { Glibc.kill(process.processIdentifier, signal) }
    }
}

/// What `make test` tells us.
enum TestEnvironment {
    struct Missing: Error, CustomStringConvertible {
        let description: String
    }

    /// Throws when the variable is not set, so that the test fails and is not skipped.
    static func required(_ key: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[key], !value.isEmpty else {
            throw Missing(description: "\(key) is not set: run the tests with `make test`")
        }
        return value
    }

    /// What every child gets: our environment without a setting of Jumun, so that each test sets what counts.
    static var inherited: [String: String] {
        ProcessInfo.processInfo.environment.filter { key, _ in !settings.contains(key) && !key.hasPrefix("JUMUN_") }
    }

    private static let settings: Set = [
        "DATABASE_URL", "AGGREGATOR_DATABASE_URL", "AMQP_URL", "REDIS_URL", "PLATFORM_URL", "LISTEN_HOST", "API_PORT",
        "CONSUMER_PORT", "SCHEDULER_PORT", "PLATFORM_PORT", "AGGREGATOR_PORT", "AGGREGATION_WINDOW", "SCHEDULE_FILE",
        "MIGRATIONS_DIR", "BIN_DIR", "LOG_LEVEL",
        "PLATFORM_SIGNING_KEYS", "PLATFORM_REQUIRE_SIGNATURE", "CONSUMER_BATCH_SIZE", "CONSUMER_BATCH_WAIT_MS",
        "CONSUMER_CONCURRENCY", "CONSUMER_PREFETCH", "CONSUMER_ORDERING", "CONSUMER_REQUEST_TIMEOUT_MS",
        "CONSUMER_LAG_SAMPLE_MS",
    ]
}
