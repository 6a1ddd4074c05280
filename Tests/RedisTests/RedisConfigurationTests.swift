import Testing

@testable import Redis

@Suite("Redis configuration")
struct RedisConfigurationTests {
    @Test("reads every part of a URL")
    func readsAll() throws {
        let all = try RedisConfiguration(url: "redis://us%3Aer:p%40ss%25@cache.example:7000/12")
        #expect((all.user, all.password) == ("us:er", "p@ss%"))
        #expect((all.host, all.port, all.database) == ("cache.example", 7000, 12))
        #expect(all.connectTimeout == .seconds(1))
    }

    @Test("fills in what is left out", arguments: ["redis://h", "redis://h/", "redis://h:6379", "redis://h:6379/0"])
    func fillsIn(url: String) throws {
        let configuration = try RedisConfiguration(url: url)
        #expect(configuration.description == "redis://h:6379/0")
        #expect(configuration.user == nil && configuration.password == nil)
    }

    @Test("takes a password without a user", arguments: ["redis://secret@h", "redis://:secret@h"])
    func passwordOnly(url: String) throws {
        let configuration = try RedisConfiguration(url: url)
        #expect(configuration.user == nil && configuration.password == "secret")
    }

    @Test("rediss:// is TLS that trusts the system's authorities, or those of a file")
    func tls() throws {
        let system = try RedisConfiguration(url: "rediss://:secret@h")
        #expect(system.authorities == "/etc/ssl/certs/ca-certificates.crt" && system.description == "rediss://h:6379/0")
        let own = try RedisConfiguration(url: "rediss://:sec?ret@h:7000/3?cacertfile=/etc/our%20ca.pem")
        #expect(own.authorities == "/etc/our ca.pem" && own.password == "sec?ret" && own.database == 3)
        #expect(try RedisConfiguration(url: "redis://h").authorities == nil)
    }

    @Test("takes an IPv6 address in brackets")
    func takesIPv6() throws {
        let configuration = try RedisConfiguration(url: "redis://[::1]:7000/3")
        #expect((configuration.host, configuration.port) == ("::1", 7000))
        #expect(configuration.description == "redis://[::1]:7000/3")
    }

    @Test("never shows the password")
    func hidesPassword() throws {
        let configuration = try RedisConfiguration(url: "redis://me:secret@h:7000/3")
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in ["\(configuration)", String(reflecting: configuration), dumped] {
            #expect(!text.contains("secret") && text.contains("redis://h:7000/3"))
        }
    }

    @Test(
        "refuses a URL that cannot be used, without repeating it",
        arguments: [
            "", "h:6379", "rediss://secret@h?cacertfile=x", "rediss://secret@h?verify=none", "redis://h?cacertfile=/x",
            "redis://", "redis://:6379", "redis://h:0", "redis://h:65536",
            "redis://h:", "redis://h:+1", "redis://h:12/x", "redis://h:12/-1", "redis://h/1?a=secret",
            "redis://se%zzcret@h", "redis://se%cret@h", "redis://%ff@h", "redis://u:@h", "redis://@h",
            "redis://::1:6379", "redis://[::1", "redis://[::1]x", "redis://h h", "redis://h/99999999999999999999",
        ]
    )
    func refuses(url: String) throws {
        let error = #expect(throws: RedisError.self) { try RedisConfiguration(url: url) }
        #expect(error?.code == .invalidConfiguration && error?.isRetryable == false)
        #expect(error?.description.contains("secret") == false)
    }
}
