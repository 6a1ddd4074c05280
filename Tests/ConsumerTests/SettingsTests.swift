import ServiceRuntime
import Testing

@testable import Consumer

@Suite("The consumer's settings")
struct SettingsTests {
    private let required = ["AMQP_URL": "amqp://u:p@localhost/v", "PLATFORM_URL": "http://localhost:8083/base/"]

    @Test("what isn't set has a default, and the platform's address loses its last slash")
    func defaults() throws {
        let settings = try ConsumerSettings(Settings(required))
        #expect(settings.platformURL == "http://localhost:8083/base")
        #expect(settings.host == "127.0.0.1")
        #expect(settings.port == 8081)
        #expect(settings.concurrency == 16)
        #expect(settings.requestTimeout == .seconds(2))
    }

    @Test(
        "a wrong value is refused",
        arguments: [
            ("AMQP_URL", "http://localhost"), ("PLATFORM_URL", "ftp://localhost"),
            ("PLATFORM_URL", "http://localhost/?a=b"), ("CONSUMER_CONCURRENCY", "0"), ("CONSUMER_CONCURRENCY", "257"),
            ("CONSUMER_REQUEST_TIMEOUT_MS", "0"),
        ]
    )
    func wrong(key: String, value: String) {
        let settings = Settings(required.merging([key: value]) { $1 })
        #expect(throws: SettingsError.self) { try ConsumerSettings(settings) }
    }
}
