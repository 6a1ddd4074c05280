import Foundation
import Logging
import Redis
import TestSupport

/// A database, a virtual host and a Redis database that one ``System`` has for itself.
///
/// The names of exchanges, queues and keys are fixed, so nothing less would keep two systems apart.
struct Servers: Sendable {
    /// Redis databases are few; systems run one after another, so they take turns with this one.
    private static let redisDatabase = 5

    private let name: String
    private let password: String
    private let adminDatabase: URLComponents
    let brokerURL: String
    let redisURL: String

    /// Creates the database and the virtual host, and empties the Redis database.
    static func create() async throws -> Servers {
        let servers = try Servers()
        try await servers.emptyRedis()
        try await TestDatabase.administer(
            "CREATE DATABASE \(servers.name) OWNER jumun_owner TEMPLATE template0 ENCODING 'UTF8'"
        )
        // Whoever creates a virtual host is given all permissions in it.
        try await servers.administerBroker("PUT", "/api/vhosts/\(servers.name)")
        return servers
    }

    private init() throws {
        name = "jumun_e2e_" + UUID().uuidString.lowercased().filter { $0 != "-" }
        password = try TestEnvironment.required("JUMUN_TEST_ROLE_PASSWORD")
        adminDatabase = try Servers.components(TestDatabase.environmentKey)
        brokerURL = try Servers.url("JUMUN_TEST_AMQP_URL", path: name)
        redisURL = try Servers.url("JUMUN_TEST_REDIS_URL", path: "\(Servers.redisDatabase)")
    }

    /// The database's URL for one of the roles of `sql/roles.sql`.
    func databaseURL(as role: String) -> String {
        var components = adminDatabase
        components.user = role
        components.password = password
        components.path = "/" + name
        return components.string ?? ""
    }

    /// The same for the server's superuser, who may copy the whole database.
    var adminDatabaseURL: String {
        var components = adminDatabase
        components.path = "/" + name
        return components.string ?? ""
    }

    /// Removes the forward queue's binding, as somebody might by mistake.
    func unbindForwardQueue() async throws {
        try await administerBroker("DELETE", "/api/bindings/\(name)/e/order.events/q/dataplatform.forward.v1/order.%23")
    }

    /// Binds a queue that is always full for events of a type: the broker refuses them, though other queues get them.
    func refuseEvents(ofType type: String) async throws {
        let arguments = #"{"arguments":{"x-max-length":0,"x-overflow":"reject-publish"}}"#
        try await administerBroker("PUT", "/api/queues/\(name)/test.full", body: arguments)
        let binding = "/api/bindings/\(name)/e/order.events/q/test.full"
        try await administerBroker("POST", binding, body: #"{"routing_key":"\#(type)"}"#)
    }

    /// Removes that queue.
    func takeRefusedEvents() async throws {
        try await administerBroker("DELETE", "/api/queues/\(name)/test.full")
    }

    /// Removes what ``create()`` made, whoever still uses it.
    func delete() async throws {
        try await administerBroker("DELETE", "/api/vhosts/\(name)")
        try await TestDatabase.administer("DROP DATABASE \(name) WITH (FORCE)")
    }

    /// Forgets all that is in the Redis database.
    func emptyRedis() async throws {
        let logger = Logger(label: "end-to-end-tests") { _ in SwiftLogNoOpLogHandler() }
        let redis = RedisClient(configuration: try RedisConfiguration(url: redisURL), logger: logger)
        _ = try await redis.send(["FLUSHDB"], deadline: .now + .seconds(10))
        await redis.close()
    }

    private func administerBroker(_ method: String, _ path: String, body: String? = nil) async throws {
        var management = try Servers.components("JUMUN_TEST_RABBITMQ_MANAGEMENT_URL")
        let credentials = "\(management.user ?? ""):\(management.password ?? "")"
        (management.user, management.password) = (nil, nil)
        let answer = try await Web(base: management.string ?? "").send(
            method,
            path,
            body: body,
            headers: ["authorization": "Basic " + Data(credentials.utf8).base64EncodedString()]
        )
        guard (200..<300).contains(answer.status) else {
            throw Web.Unexpected(description: "RabbitMQ answered \(answer.status) to \(method) \(path)")
        }
    }

    private static func components(_ key: String) throws -> URLComponents {
        guard let components = URLComponents(string: try TestEnvironment.required(key)) else {
            throw TestEnvironment.Missing(description: "\(key) is not a URL")
        }
        return components
    }

    private static func url(_ key: String, path: String) throws -> String {
        var components = try components(key)
        components.path = "/" + path
        return components.string ?? ""
    }
}
