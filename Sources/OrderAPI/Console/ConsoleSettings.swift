import Operations
import ServiceRuntime

/// What the environment says of the operator's console.
struct ConsoleSettings {
    static let help = """
          OPERATOR_TOKEN  who knows it may use the operator's console at /console: 32 to 200 visible characters of
                          ASCII; without it there is no console
          OPERATOR_HOST   address that the console listens on; default 127.0.0.1
          OPERATOR_PORT   port that it listens on; default 8085
          CONSUMER_URL    http://host:port of the consumer, for the console; default http://127.0.0.1:8081
          SCHEDULER_URL   http://host:port of the scheduler, for the console; default http://127.0.0.1:8082
          MOCK_PLATFORM_URL
                          http://host:port of the mock data platform, whose faults the console then switches
        """

    private static let tokenLength = 32...200

    let token: String
    let host: String
    let port: Int
    let consumer: ConsumerClient
    let scheduler: SchedulerClient
    /// Nil where the platform is a real one.
    let mockPlatform: MockPlatform?

    /// Nil when there is to be no console; throws `SettingsError`.
    init?(_ settings: Settings) throws {
        token = try settings.secret("OPERATOR_TOKEN", default: "")
        guard !token.isEmpty else { return nil }
        guard Self.tokenLength.contains(token.utf8.count), token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw SettingsError(key: "OPERATOR_TOKEN", problem: "must be 32 to 200 visible characters of ASCII")
        }
        host = try settings.string("OPERATOR_HOST", default: "127.0.0.1")
        port = try settings.port("OPERATOR_PORT", default: 8085)
        consumer = try ConsumerClient(settings)
        scheduler = SchedulerClient(base: try settings.base("SCHEDULER_URL", default: "http://127.0.0.1:8082"))
        let mock = try settings.string("MOCK_PLATFORM_URL", default: "")
        mockPlatform = mock.isEmpty ? nil : MockPlatform(base: try settings.base("MOCK_PLATFORM_URL"))
    }
}
