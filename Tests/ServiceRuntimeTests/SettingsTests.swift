import Testing

@testable import ServiceRuntime

@Suite("Settings")
struct SettingsTests {
    private enum Mode: String, CaseIterable {
        case fast, safe
    }

    /// What reading a setting says when it throws.
    private func complaint(_ values: [String: String], _ read: (Settings) throws -> some Any) -> String? {
        do {
            _ = try read(Settings(values))
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test("a value that is there wins over the default")
    func values() throws {
        let settings = Settings([
            "NAME": "jumun", "SECRET": "s", "COUNT": "7", "WAIT_MS": "250", "MODE": "safe", "API_PORT": "0",
            "DATABASE_URL": "postgres://u:p@127.0.0.1:5432/db",
        ])
        #expect(try settings.string("NAME", default: "other") == "jumun")
        #expect(try settings.secret("SECRET") == "s")
        #expect(try settings.integer("COUNT", default: 1, in: 1...10) == 7)
        #expect(try settings.milliseconds("WAIT_MS", in: 1...1_000) == .milliseconds(250))
        #expect(try settings.choice("MODE", default: Mode.fast) == .safe)
        #expect(try settings.port("API_PORT", default: 8080) == 0)
        #expect(
            try settings.url("DATABASE_URL", schemes: ["postgres", "postgresql"]) == "postgres://u:p@127.0.0.1:5432/db"
        )
    }

    @Test("a default stands in for a value that is missing")
    func defaults() throws {
        let settings = Settings([:])
        #expect(try settings.string("NAME", default: "jumun") == "jumun")
        #expect(try settings.secret("TOKEN", default: "") == "")
        #expect(try settings.integer("COUNT", default: 3, in: 1...10) == 3)
        #expect(try settings.milliseconds("WAIT_MS", default: 5, in: 1...10) == .milliseconds(5))
        #expect(try settings.choice("MODE", default: Mode.fast) == .fast)
        #expect(try settings.port("API_PORT", default: 8080) == 8080)
        #expect(try settings.url("REDIS_URL", default: "redis://127.0.0.1:6379", schemes: ["redis"]).hasSuffix("6379"))
    }

    @Test("an empty value is wrong, unless the default is empty too")
    func emptyValues() throws {
        #expect(complaint(["NAME": ""]) { try $0.string("NAME", default: "x") } == "NAME is empty")
        #expect(try Settings(["TOKEN": ""]).secret("TOKEN", default: "") == "")
    }

    @Test("a missing value without default names its key")
    func missing() {
        #expect(complaint([:]) { try $0.string("NAME") } == "NAME is not set")
        #expect(complaint([:]) { try $0.url("DATABASE_URL", schemes: ["postgres"]) } == "DATABASE_URL is not set")
    }

    @Test(
        "a bad number says what it is and what is expected",
        arguments: ["abc", "0", "1001", "1.5", " 1", "0x10", "1e2"]
    )
    func badNumbers(text: String) {
        let said = complaint(["CONSUMER_PREFETCH": text]) { try $0.integer("CONSUMER_PREFETCH", in: 1...1_000) }
        #expect(said == "CONSUMER_PREFETCH is '\(text)': expected a whole number from 1 to 1000")
    }

    @Test("bad durations, ports and choices say what is expected")
    func badOthers() {
        #expect(
            complaint(["WAIT_MS": "1s"]) { try $0.milliseconds("WAIT_MS", in: 1...9) }
                == "WAIT_MS is '1s': expected a whole number of milliseconds from 1 to 9"
        )
        #expect(
            complaint(["API_PORT": "65536"]) { try $0.port("API_PORT", default: 1) }
                == "API_PORT is '65536': expected a port number from 0 to 65535"
        )
        #expect(
            complaint(["MODE": "Safe"]) { try $0.choice("MODE", default: Mode.fast) }
                == "MODE is 'Safe': expected one of fast, safe"
        )
    }

    @Test(
        "good URLs pass",
        arguments: [
            "postgres://h", "POSTGRES://h:1", "postgres://u:p%40@h:65535/db?x=1#f", "postgres://u@[::1]:5432/db",
            "postgres://[::1]", "postgres://a:1,b:2/db", "postgres://u:p@x@h:1",
        ]
    )
    func goodURLs(url: String) {
        #expect(URLShape.problem(of: url, schemes: ["postgres"]) == nil)
    }

    @Test(
        "bad URLs are described",
        arguments: [
            ("http://h", "has another scheme"), ("localhost:5432", "is not a URL"), ("postgres:///db", "has no host"),
            ("postgres://:5432", "has no host"), ("postgres://u:p@/db", "has no host"),
            ("postgres://h:0", "has a port that is not a number from 1 to 65535"),
            ("postgres://h:65536", "has a port that is not a number from 1 to 65535"),
            ("postgres://h:", "has a port that is not a number from 1 to 65535"),
            ("postgres://u:hunter2", "has a port that is not a number from 1 to 65535"),
            ("postgres://a,:2", "has no host"), ("postgres://[::1", "has no ']' after the address"),
            ("postgres://h h", "contains a space or a control character"),
        ]
    )
    func badURLs(url: String, problem: String) {
        #expect(URLShape.problem(of: url, schemes: ["postgres"]) == problem)
    }

    @Test("no part of a secret or of a URL is shown")
    func secretsStaySecret() {
        for url in ["http://root:hunter2@h", "postgres://root:hunter2", "hunter2", "postgres://root:hunter2@h:x"] {
            let said = complaint(["DATABASE_URL": url]) { try $0.url("DATABASE_URL", schemes: ["postgres"]) }
            #expect(said?.contains("hunter2") == false)
            #expect(said?.contains("expected postgres://host:port") == true)
        }
        #expect(complaint(["TOKEN": ""]) { try $0.secret("TOKEN") } == "TOKEN is empty")
    }
}
