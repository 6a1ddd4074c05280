import Foundation
import Operations
import ServiceRuntime

/// RabbitMQ's management plugin.
struct ManagementClient {
    /// It does not answer as expected.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    struct Binding: Decodable {
        let source: String
        let destination: String
        let routingKey: String

        private enum CodingKeys: String, CodingKey {
            case source, destination
            case routingKey = "routing_key"
        }
    }

    struct Node: Decodable {
        let name: String
        let memoryAlarm: Bool?
        let diskAlarm: Bool?
        let memoryUsed: Int64?
        let memoryLimit: Int64?
        let diskFree: Int64?
        let diskLimit: Int64?

        private enum CodingKeys: String, CodingKey {
            case name
            case memoryAlarm = "mem_alarm"
            case diskAlarm = "disk_free_alarm"
            case memoryUsed = "mem_used"
            case memoryLimit = "mem_limit"
            case diskFree = "disk_free"
            case diskLimit = "disk_free_limit"
        }
    }

    private let base: String
    private let headers: [String: String]

    init(_ settings: Settings) throws {
        let url = try settings.base("RABBITMQ_MANAGEMENT_URL")
        guard var parts = URLComponents(string: url) else {
            throw SettingsError(key: "RABBITMQ_MANAGEMENT_URL", problem: "is not a URL")
        }
        let credentials = "\(parts.user ?? "guest"):\(parts.password ?? "guest")"
        (parts.user, parts.password) = (nil, nil)
        base = parts.string ?? ""
        headers = ["Authorization": "Basic " + Data(credentials.utf8).base64EncodedString()]
    }

    func bindings(in virtualHost: String) async throws -> [Binding] {
        let name = virtualHost.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? virtualHost
        return try await get("/api/bindings/\(name)")
    }

    func nodes() async throws -> [Node] {
        try await get("/api/nodes")
    }

    private func get<Answer: Decodable>(_ path: String) async throws -> Answer {
        let answer: Web.Answer
        do {
            answer = try await Web.get(base + path, headers: headers)
        } catch {
            throw Failure(description: "the management plugin cannot be reached at \(base)")
        }
        guard answer.status == 200 else {
            throw Failure(description: "the management plugin answered \(answer.status) to \(path)")
        }
        do {
            return try JSONDecoder().decode(Answer.self, from: Data(answer.body))
        } catch {
            throw Failure(description: "the management plugin answered something else than expected to \(path)")
        }
    }
}
