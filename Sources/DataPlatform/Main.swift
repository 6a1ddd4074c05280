import ArgumentParser
import OpsMetrics
import ServiceRuntime

/// The executable `data-platform`.
@main
struct DataPlatformCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data-platform",
        abstract: "A stand-in for the data platform: takes CloudEvents, counts them, and fails on command.",
        subcommands: [Serve.self, Health.self]
    )
}

/// The command `data-platform serve`.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve until SIGTERM or SIGINT.",
        discussion: """
            Environment:
              LISTEN_HOST            address to listen on (default 127.0.0.1)
              PLATFORM_PORT          port to listen on, 0 for any free one (default 8083)
              PLATFORM_SIGNING_KEYS  whsec_… and base64, one or two with a space between: a signature
                                     (Standard Webhooks) that fits none of them is answered 401
              PLATFORM_REQUIRE_SIGNATURE
                                     true: a request without a signature is answered 401 too
                                     (default false)
              LOG_LEVEL              trace, debug, info, notice, warning, error or critical
                                     (default info)

            What arrived is kept in memory only, up to fixed maxima; the oldest is forgotten first.
            """
    )

    func run() async {
        await ServiceProcess.main("data-platform") { settings, logger in
            let host = try settings.string("LISTEN_HOST", default: "127.0.0.1")
            let port = try settings.port("PLATFORM_PORT", default: 8083)
            let signatures = try SignatureCheck(settings)
            let metrics = MetricsRegistry()
            let platform = Platform(metrics: metrics)
            let server = makeHTTPServer(
                router: PlatformRoutes(platform: platform, signatures: signatures).router(metrics: metrics),
                host: host,
                port: port,
                name: "data-platform",
                logger: logger
            )
            try await ServiceProcess.run([server], logger: logger)
        }
    }
}

/// The command `data-platform health`.
struct Health: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask the process that serves whether it is ready: exits 0 if so, and otherwise 1 with the reason."
    )

    func run() async {
        await ServiceProcess.main("data-platform") { settings, _ in
            try await HealthProbe.run(settings, portKey: "PLATFORM_PORT", defaultPort: 8083)
        }
    }
}
