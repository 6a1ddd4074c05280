import Testing

@testable import Postgres

@Suite("PostgresConfiguration")
struct ConfigurationTests {
    @Test("the password is never shown")
    func passwordIsHidden() throws {
        let url = "postgres://jumun:hunter2@db.example:6000/shop?sslmode=require"
        let configuration = try PostgresConfiguration(url: url, applicationName: "order-api")
        #expect(configuration.description == "postgres://jumun@db.example:6000/shop")
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in [dumped, "\(configuration)", String(reflecting: configuration)] {
            #expect(!text.contains("hunter2"))
        }
    }

    @Test("UTF-8 and the application's name are fixed, timeouts are defaults")
    func parameters() throws {
        let url = "postgresql://u@h/d?client_encoding=LATIN1&tcp_user_timeout=9000&application_name=x"
        let configuration = try PostgresConfiguration(url: url, applicationName: "order-api")
        func values(_ keyword: String) -> [String] {
            configuration.parameters.filter { $0.keyword == keyword }.map(\.value)
        }
        #expect(values("client_encoding") == ["UTF8"])
        #expect(values("application_name") == ["order-api"])
        #expect(values("tcp_user_timeout") == ["9000"])
        #expect(values("keepalives_idle") == ["5"])
        #expect(configuration.connectTimeout == .seconds(3))
    }

    @Test(
        "a URL that is none is refused without being quoted",
        arguments: ["", "host=localhost password=hunter2", "mysql://u:hunter2@h/d", "postgres://u:hunter2@h:x/d%zz"]
    )
    func invalid(url: String) {
        #expect {
            try PostgresConfiguration(url: url, applicationName: "tests")
        } throws: { error in
            guard let error = error as? PostgresError else { return false }
            return error.code == .invalidConfiguration && !error.debugDescription.contains("hunter2")
        }
    }
}
