import ServiceRuntime
import Testing

@testable import Consumer

@Suite("The consumer's settings")
struct SettingsTests {
    private let required = [
        "DATABASE_URL": "postgres://u:p@localhost/d", "AMQP_URL": "amqp://u:p@localhost/v",
        "PLATFORM_URL": "http://localhost:8083/base/",
    ]

    @Test("what isn't set has a default, and the platform's address loses its last slash")
    func defaults() throws {
        let settings = try ConsumerSettings(Settings(required))
        #expect(settings.platformURL == "http://localhost:8083/base")
        #expect(settings.host == "127.0.0.1")
        #expect(settings.port == 8081)
        let limits = SessionLimits(prefetch: 800, batchSize: 100, batchWait: .milliseconds(5), requests: 4)
        #expect(settings.limits == limits)
        #expect(settings.ordering == .none)
        #expect(settings.signingKeys == nil)
        #expect(settings.lagSampleInterval == .seconds(3))
        #expect(settings.requestTimeout == .seconds(2))
    }

    @Test(
        "a wrong value is refused",
        arguments: [
            ("AMQP_URL", "http://localhost"), ("PLATFORM_URL", "ftp://localhost"),
            ("PLATFORM_URL", "http://localhost/?a=b"), ("CONSUMER_CONCURRENCY", "0"), ("CONSUMER_CONCURRENCY", "257"),
            ("CONSUMER_BATCH_SIZE", "0"), ("CONSUMER_BATCH_SIZE", "501"), ("CONSUMER_BATCH_WAIT_MS", "1001"),
            ("CONSUMER_PREFETCH", "2001"), ("CONSUMER_ORDERING", "strict"), ("PLATFORM_SIGNING_KEYS", "whsec_short"),
            ("DATABASE_URL", "mysql://localhost/d"), ("CONSUMER_LAG_SAMPLE_MS", "99"),
            ("CONSUMER_REQUEST_TIMEOUT_MS", "0"),
        ]
    )
    func wrong(key: String, value: String) {
        let settings = Settings(required.merging([key: value]) { $1 })
        #expect(throws: SettingsError.self) { try ConsumerSettings(settings) }
    }

    @Test("a prefetch follows from requests and batches, up to what a quorum queue gains from")
    func prefetch() throws {
        let values = ["CONSUMER_CONCURRENCY": "16", "CONSUMER_BATCH_SIZE": "500"]
        let settings = try ConsumerSettings(Settings(required.merging(values) { $1 }))
        #expect(settings.limits.prefetch == 2_000)
    }
}
