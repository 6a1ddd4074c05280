import ArgumentParser
import ServiceRuntime

/// `aggregator health`
struct Health: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask the process that follows whether it is ready: exits 0 if so, and otherwise 1 with the reason."
    )

    func run() async {
        await ServiceProcess.main("aggregator") { settings, _ in
            try await HealthProbe.run(settings, portKey: "AGGREGATOR_PORT", defaultPort: 8084)
        }
    }
}
