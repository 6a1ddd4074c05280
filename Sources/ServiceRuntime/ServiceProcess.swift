import COpenSSL
import Dispatch
import Glibc
package import Logging
package import ServiceLifecycle
import Synchronization
import UnixSignals

/// The life of one of our processes: start, run, stop.
package enum ServiceProcess {
    /// How long services may take to stop by themselves; afterwards they are cancelled.
    package static let gracefulLimit = Duration.seconds(8)
    /// How long stopping may take at all; afterwards the process exits with ``ExitCode/software``.
    package static let stopLimit = Duration.milliseconds(9_500)

    /// Starts a process, and ends it with one line on standard error when it cannot start or a service failed.
    ///
    /// Ignores SIGPIPE, raises the limit of open files, sets up logging from `LOG_LEVEL`, and calls the body. Returns
    /// when the body returns; otherwise exits: with ``ExitCode/configuration`` for a ``SettingsError``, with the code
    /// of a ``ProcessFailure``, with ``ExitCode/failure`` for any other error, whose description is shown.
    ///
    /// - Parameters:
    ///   - name: the executable's name, `service` in its log lines.
    ///   - body: reads the settings, makes the clients and services, and runs them with ``run(_:logger:)``.
    package static func main(_ name: String, _ body: (Settings, Logger) async throws -> Void) async {
        signal(SIGPIPE, SIG_IGN)
        // Before anything of OpenSSL: its clean-up at exit frees what a thread that ends at the same time still uses,
        // and a command that has done its work would die of SIGSEGV (OPENSSL_init_crypto(3)).
        _ = OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil)
        FileLimit.raise()
        let settings = Settings()
        do {
            try await body(settings, bootstrapLogging(service: name, settings: settings))
        } catch {
            // What was printed comes before the reason why it ends.
            fflush(nil)
            let line = "\(name): \(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
            LineOutput.write(line + "\n", to: STDERR_FILENO)
            exit(exitCode(of: error))
        }
    }

    /// Makes JSON lines on standard output the log of the whole process, and gives its logger.
    ///
    /// Once in a process: a second call traps. `LOG_LEVEL` is trace, debug, info (default), notice, warning, error or
    /// critical; anything else throws.
    package static func bootstrapLogging(service: String, settings: Settings) throws(SettingsError) -> Logger {
        let level = try settings.choice("LOG_LEVEL", default: Logger.Level.info)
        LoggingSystem.bootstrap { _ in
            JSONLogHandler(service: service, level: level) { LineOutput.write($0, to: STDOUT_FILENO) }
        }
        return Logger(label: service)
    }

    /// Runs services until SIGTERM or SIGINT, or until one of them ends.
    ///
    /// A service may rely on those before it: they all start at once, and stop one by one from the last to the first,
    /// also when one of them fails. After ``gracefulLimit`` what is left is cancelled; after ``stopLimit`` the process
    /// exits. Throws the first error of a service; returns when none failed.
    package static func run(_ services: [any Service], logger: Logger) async throws {
        try await run(services, logger: logger, gracefulLimit: gracefulLimit, stopLimit: stopLimit)
    }

    static func run(
        _ services: [any Service],
        logger: Logger,
        gracefulLimit: Duration,
        stopLimit: Duration
    ) async throws {
        let stop = StopGuard(limit: stopLimit, logger: logger)
        defer { stop.disarm() }
        let supervised = services.map { SupervisedService(service: $0, stop: stop, logger: logger) }
        // The guard comes last, so it is the first to hear that the group stops.
        let configured = (supervised + [stop] as [any Service]).map {
            ServiceGroupConfiguration.ServiceConfiguration(
                service: $0,
                successTerminationBehavior: .gracefullyShutdownGroup,
                failureTerminationBehavior: .gracefullyShutdownGroup
            )
        }
        var configuration = ServiceGroupConfiguration(
            services: configured,
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: logger
        )
        configuration.maximumGracefulShutdownDuration = gracefulLimit
        try await ServiceGroup(configuration: configuration).run()
        logger.info("stopped")
    }

    static func exitCode(of error: any Error) -> Int32 {
        switch error {
        case is SettingsError: ExitCode.configuration
        case let failure as ProcessFailure: failure.exitCode
        default: ExitCode.failure
        }
    }
}

/// Runs a service with the two rules that the group itself lacks.
///
/// A service that returns while the group is stopping, but before its turn, would make the group cancel all the others
/// at once: it is held until its turn. A service that was cancelled because time was up has not failed.
private struct SupervisedService: Service, CustomStringConvertible {
    let service: any Service
    let stop: StopGuard
    let logger: Logger

    /// The service's own description or its type: the default, every stored property, could show a secret.
    var description: String {
        (service as? any CustomStringConvertible)?.description ?? "\(type(of: service))"
    }

    func run() async throws {
        do {
            try await service.run()
        } catch is CancellationError where stop.isStopping {
            logger.warning("service did not stop in time and was cancelled", metadata: ["component": "\(self)"])
            return
        } catch {
            logger.error("service failed", metadata: ["component": "\(self)", "error": "\(error)"])
            throw error
        }
        if stop.isStopping {
            try? await gracefulShutdown()
        } else {
            logger.notice("service ended", metadata: ["component": "\(self)"])
        }
    }
}

/// Knows whether the group is stopping, and ends a process that does not get done with it.
private final class StopGuard: Service {
    private let stopping = Atomic<Bool>(false)
    private let isDisarmed = Atomic<Bool>(false)
    private let limit: Duration
    private let logger: Logger

    init(limit: Duration, logger: Logger) {
        self.limit = limit
        self.logger = logger
    }

    var isStopping: Bool { stopping.load(ordering: .relaxed) }

    func run() async {
        try? await gracefulShutdown()
        stopping.store(true, ordering: .relaxed)
        logger.info("stopping")
        // A queue of its own: it fires even when every thread of the cooperative pool is stuck.
        let queue = DispatchQueue(label: "jumun.stop-guard")
        queue.asyncAfter(deadline: .now() + limit / .seconds(1)) { [self] in
            guard !isDisarmed.load(ordering: .acquiring) else { return }
            logger.critical("did not stop in time")
            _exit(ExitCode.software)
        }
    }

    /// Called once everything has stopped.
    func disarm() {
        isDisarmed.store(true, ordering: .releasing)
    }
}
