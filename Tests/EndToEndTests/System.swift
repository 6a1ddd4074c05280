import Foundation
import Glibc
import Synchronization
import Testing

/// The long-running executables.
enum Service: String, CaseIterable, Sendable {
    case dataPlatform = "data-platform"
    case orderAPI = "order-api"
    case consumer
    case scheduler
    /// Only where a test starts it.
    case aggregator

    var command: String {
        switch self {
        case .dataPlatform, .orderAPI: "serve"
        case .consumer, .scheduler: "run"
        case .aggregator: "follow"
        }
    }

    var portKey: String {
        switch self {
        case .dataPlatform: "PLATFORM_PORT"
        case .orderAPI: "API_PORT"
        case .consumer: "CONSUMER_PORT"
        case .scheduler: "SCHEDULER_PORT"
        case .aggregator: "AGGREGATOR_PORT"
        }
    }
}

/// All of Jumun, running as its own processes on free ports, beside servers' databases of its own.
final class System: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let servers: Servers
    let api: Web
    let platform: Web
    private let ports: [Service: UInt16]
    let folder: URL
    private let running = Mutex<[Service: ChildProcess]>([:])
    private let ownSettings = Mutex<[Service: [String: String]]>([:])

    /// Runs a test with services that are ready: the platform, the API and the consumer, unless said otherwise.
    ///
    /// `settings` are the consumer's, beside the usual ones.
    ///
    /// Afterwards the invariants must hold in the database, and each service must exit with 0 within 10 s of SIGTERM.
    /// When the test throws, all is killed. Nothing remains in either case.
    static func with(
        _ services: [Service] = [.dataPlatform, .orderAPI, .consumer],
        settings: [String: String] = [:],
        _ test: (System) async throws -> Void
    ) async throws {
        let system = try System(servers: try await Servers.create())
        system.set(settings, for: .consumer)
        do {
            try await system.run("orderctl", ["migrate"])
            try await system.start(services)
            try await test(system)
            try await system.audit()
            try await system.stopAll()
        } catch {
            system.killAll()
            try? await system.remove()
            throw error
        }
        try await system.remove()
    }

    private init(servers: Servers) throws {
        self.servers = servers
        ports = try Dictionary(uniqueKeysWithValues: zip(Service.allCases, FreePort.find(Service.allCases.count)))
        api = Web(base: "http://127.0.0.1:\(ports[.orderAPI] ?? 0)")
        platform = Web(base: "http://127.0.0.1:\(ports[.dataPlatform] ?? 0)")
        folder = FileManager.default.temporaryDirectory.appending(path: "jumun-e2e-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    private func remove() async throws {
        try FileManager.default.removeItem(at: folder)
        try await servers.delete()
    }

    /// Settings of a service beside the usual ones, from its next start on.
    func set(_ settings: [String: String], for service: Service) {
        ownSettings.withLock { $0[service] = settings }
    }

    /// Starts services, and waits until all are ready, unless told not to.
    func start(_ services: [Service], waits: Bool = true) async throws {
        for service in services {
            let child = try ChildProcess(
                service.rawValue,
                [service.command],
                settings: try settings(of: service.rawValue),
                logFolder: folder
            )
            running.withLock { $0[service] = child }
        }
        for service in services where waits {
            try await waitUntilReady(service.rawValue, web(of: service))
        }
    }

    /// Where a service answers.
    func web(of service: Service) -> Web {
        Web(base: "http://127.0.0.1:\(ports[service] ?? 0)")
    }

    func waitUntilReady(_ name: String, _ web: Web) async throws {
        try await eventually("\(name) is ready", within: .seconds(30)) {
            (try? await web.get("/health/ready"))?.status == 200
        }
    }

    /// SIGKILL.
    func kill(_ service: Service) async throws {
        guard let child = running.withLock({ $0.removeValue(forKey: service) }) else { return }
        child.kill()
        _ = try await child.exitCode(within: .seconds(10))
        #expect(!child.isRunning)
    }

    /// SIGTERM to a service; it must exit with 0 within 10 s.
    func stop(_ service: Service) async throws {
        guard let child = running.withLock({ $0.removeValue(forKey: service) }) else { return }
        child.terminate()
        let code = try await child.exitCode(within: .seconds(10))
        child.kill()
        #expect(code == 0, "\(child.report)")
    }

    private func stopAll() async throws {
        for service in [Service.scheduler, .aggregator, .orderAPI, .consumer, .dataPlatform] { try await stop(service) }
    }

    private func killAll() {
        for child in running.withLock({ $0.values }) { child.kill() }
    }

    /// Runs an executable to its end, as its own role in the database or another one; it must exit with 0. Returns what
    /// it wrote.
    @discardableResult
    func run(_ name: String, _ arguments: [String], as role: String? = nil) async throws -> String {
        var settings = try settings(of: name)
        if let role { settings["DATABASE_URL"] = servers.databaseURL(as: role) }
        let child = try ChildProcess(name, arguments, settings: settings, logFolder: folder)
        let code = try await child.exitCode(within: .seconds(60))
        child.kill()
        try #require(code == 0, "\(child.report)")
        return child.log
    }

    /// Makes the scheduler run one job each minute.
    func schedule(_ name: String, _ command: String) throws {
        let text = """
            [[job]]
            name = "\(name)"
            cron = "* * * * *"
            command = \(command)
            environment = { DATABASE_URL = "$AGGREGATOR_DATABASE_URL" }

            """
        try text.write(to: scheduleFile, atomically: true, encoding: .utf8)
    }

    private var scheduleFile: URL { folder.appending(path: "schedule.toml") }

    /// Waits until the condition holds; fails with the end of every log when it does not in time.
    func eventually(
        _ what: String,
        within time: Duration,
        _ condition: () async throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + time
        while try await !condition() {
            guard ContinuousClock.now < deadline else {
                let reports = running.withLock { $0.values.map(\.report) }
                throw Failure(description: (["not within \(time): \(what)"] + reports).joined(separator: "\n"))
            }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// The environment as the supervisor gives it to each process: its own role, and nothing that it has no business with.
    func settings(of name: String) throws -> [String: String] {
        var settings = [
            "AMQP_URL": servers.brokerURL, "REDIS_URL": servers.redisURL, "PLATFORM_URL": platform.base,
            "LISTEN_HOST": "127.0.0.1", "LOG_LEVEL": "info", "SCHEDULE_FILE": scheduleFile.path(percentEncoded: false),
            "BIN_DIR": try TestEnvironment.required("JUMUN_TEST_BIN_DIR"),
            "MIGRATIONS_DIR": try TestEnvironment.required("JUMUN_TEST_MIGRATIONS_DIR"),
        ]
        for (service, port) in ports { settings[service.portKey] = "\(port)" }
        let roles = [
            "order-api": "jumun_api", "consumer": "jumun_consumer", "aggregator": "jumun_aggregator",
            "scheduler": "jumun_scheduler", "orderctl": "jumun_owner",
        ]
        settings["DATABASE_URL"] = roles[name].map(servers.databaseURL)
        if name == "consumer" || name == "data-platform" {
            settings["PLATFORM_SIGNING_KEYS"] = "whsec_" + Data(repeating: 42, count: 32).base64EncodedString()
        }
        if name == "data-platform" { settings["PLATFORM_REQUIRE_SIGNATURE"] = "true" }
        if name == "scheduler" { settings["AGGREGATOR_DATABASE_URL"] = servers.databaseURL(as: "jumun_aggregator") }
        let own = Service(rawValue: name).flatMap { service in ownSettings.withLock { $0[service] } }
        return settings.merging(own ?? [:]) { $1 }
    }
}

/// Ports on which nothing listens.
enum FreePort {
    /// All different: each is held until the last is found.
    static func find(_ count: Int) throws -> [UInt16] {
        var sockets: [Int32] = []
        defer { for socket in sockets { close(socket) } }
        return try (0..<count).map { _ in
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            sockets.append(descriptor)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let code = unsafe withUnsafeMutablePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                    unsafe bind(descriptor, pointer, length) | getsockname(descriptor, pointer, &length)
                }
            }
            guard code == 0 else { throw System.Failure(description: "no free port: errno \(errno)") }
            return UInt16(bigEndian: address.sin_port)
        }
    }
}
