import FoundationEssentials
import Postgres

/// A database of a test's own on the server that `make test` starts.
package enum TestDatabase {
    /// Names the server: the URL of a superuser.
    package static let environmentKey = "JUMUN_TEST_ADMIN_DATABASE_URL"

    /// Why there is no server to test against.
    package struct Unavailable: Error, CustomStringConvertible {
        package let description: String
    }

    /// Runs `body` with the URL of a new, empty database, and drops the database afterwards, whoever still uses it.
    ///
    /// - Throws: ``Unavailable`` when the environment names no server, so that the test fails and is not skipped.
    package static func withDatabase<R: Sendable>(_ body: (_ url: String) async throws -> R) async throws -> R {
        let name = "jumun_test_" + UUID().uuidString.lowercased().filter { $0 != "-" }
        let url = try url(ofDatabase: name)
        try await administer("CREATE DATABASE \(name) TEMPLATE template0 ENCODING 'UTF8'")
        do {
            let value = try await body(url)
            try await administer("DROP DATABASE \(name) WITH (FORCE)")
            return value
        } catch {
            try? await administer("DROP DATABASE \(name) WITH (FORCE)")
            throw error
        }
    }

    /// Runs a script as the superuser, in the database that the environment names.
    package static func administer(_ script: String) async throws {
        let configuration = try PostgresConfiguration(url: adminURL(), applicationName: "jumun-tests-admin")
        let deadline = ContinuousClock.now + .seconds(60)
        let connection = try await PostgresConnection.connect(configuration, deadline: deadline)
        do {
            try await connection.execute(script: script, deadline: deadline)
            await connection.close()
        } catch {
            await connection.close()
            throw error
        }
    }

    private static func adminURL() throws -> String {
        guard let url = ProcessInfo.processInfo.environment[environmentKey], !url.isEmpty else {
            throw Unavailable(description: "\(environmentKey) is not set: run the tests with `make test`")
        }
        return url
    }

    private static func url(ofDatabase name: String) throws -> String {
        guard var components = URLComponents(string: try adminURL()) else {
            throw Unavailable(description: "\(environmentKey) is not a URL")
        }
        components.path = "/" + name
        guard let url = components.string else {
            throw Unavailable(description: "\(environmentKey) is not the URL of a server")
        }
        return url
    }

    /// The same URL with another host and port, for a test that puts a proxy in between.
    package static func url(_ url: String, throughPort port: UInt16) throws -> String {
        guard var components = URLComponents(string: url) else { throw Unavailable(description: "not a URL") }
        components.host = "127.0.0.1"
        components.port = Int(port)
        return components.string ?? url
    }

    /// Host and port of a URL, for a proxy's target.
    package static func address(of url: String) throws -> (host: String, port: UInt16) {
        guard let components = URLComponents(string: url), let host = components.host else {
            throw Unavailable(description: "the URL has no host")
        }
        return (host == "localhost" ? "127.0.0.1" : host, UInt16(components.port ?? 5432))
    }
}
