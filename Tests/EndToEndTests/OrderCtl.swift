import Foundation
import Testing

/// `orderctl` as an operator calls it.
extension System {
    /// Starts it with the addresses that `make env` gives.
    func child(_ arguments: [String]) throws -> ChildProcess {
        var settings = try settings(of: "orderctl")
        settings["CONSUMER_URL"] = "http://127.0.0.1:\(settings["CONSUMER_PORT"] ?? "")"
        settings["RABBITMQ_MANAGEMENT_URL"] = try TestEnvironment.required("JUMUN_TEST_RABBITMQ_MANAGEMENT_URL")
        return try ChildProcess("orderctl", arguments, settings: settings, logFolder: folder)
    }

    /// Runs it; it must exit with 0. Returns what it says in JSON.
    func orderctl<Answer: Decodable>(_ arguments: [String]) async throws -> Answer {
        let text = try await orderctl(text: arguments + ["--format", "json"])
        return try JSONDecoder().decode(Answer.self, from: Data(text.utf8))
    }

    /// Runs it; it must exit with 0. Returns what it says.
    @discardableResult
    func orderctl(text arguments: [String]) async throws -> String {
        let child = try child(arguments)
        let code = try await child.exitCode(within: .seconds(60))
        child.kill()
        try #require(code == 0, "\(arguments.joined(separator: " ")): \(child.report)")
        return child.log
    }

    /// Runs it; it must exit with this code, and say this among other words.
    func refuses(
        _ arguments: [String],
        _ code: Int32,
        _ words: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let child = try child(arguments)
        let found = try await child.exitCode(within: .seconds(60))
        child.kill()
        #expect(found == code, "\(child.report)", sourceLocation: sourceLocation)
        #expect(child.log.contains(words), "\(child.log)", sourceLocation: sourceLocation)
    }

    /// The dead letters, once there are so many.
    func deadLetters(atLeast count: Int) async throws -> LetterList {
        var list: LetterList?
        try await eventually("there are \(count) dead letters", within: .seconds(30)) {
            let found: LetterList = try await orderctl(["dlq", "list", "--limit", "1000"])
            list = found
            return found.total >= count
        }
        return try #require(list)
    }

    func setFault(_ fault: String) async throws {
        let answer = try await platform.send("PUT", "/v1/faults", body: fault)
        try #require(answer.status == 200, "\(answer.body)")
    }

    func statistics() async throws -> PlatformStatistics {
        try await platform.get("/v1/stats").decoded()
    }

    /// The broker's management interface for this system's virtual host.
    func management() throws -> Management {
        let url = try TestEnvironment.required("JUMUN_TEST_RABBITMQ_MANAGEMENT_URL")
        var parts = try #require(URLComponents(string: url))
        let credentials = "\(parts.user ?? ""):\(parts.password ?? "")"
        (parts.user, parts.password) = (nil, nil)
        let virtualHost = try #require(URLComponents(string: servers.brokerURL)).path.dropFirst()
        return Management(
            web: Web(base: parts.string ?? ""),
            authorization: "Basic " + Data(credentials.utf8).base64EncodedString(),
            virtualHost: String(virtualHost)
        )
    }
}

/// RabbitMQ's management interface.
struct Management {
    let web: Web
    let authorization: String
    let virtualHost: String

    /// Deletes what is at a path below `/api`, in which `{vhost}` stands for the virtual host.
    func delete(_ path: String) async throws {
        let path = "/api" + path.replacing("{vhost}", with: virtualHost)
        let answer = try await web.send("DELETE", path, headers: ["authorization": authorization])
        try #require((200..<300).contains(answer.status), "\(answer.status) \(answer.body)")
    }
}

/// A dead letter in `orderctl dlq list --format json`.
struct Letter: Decodable {
    let eventId: String
    let orderId: String?
    let type: String
    let group: String
    let failedAt: String?
    let status: Int?
    let attempts: Int
    let redriveCount: Int
    let redriveId: String?
    let error: String
}

struct LetterList: Decodable {
    let total: Int
    let data: [Letter]
}

/// `orderctl dlq list --group-by fingerprint --format json`
struct GroupList: Decodable {
    struct Group: Decodable {
        let group: String
        let messages: Int
    }

    let total: Int
    let data: [Group]
}

/// `orderctl dlq show --format json`, and a line of `orderctl dlq export`.
struct Exported: Decodable {
    struct Body: Decodable {
        let id: String
        let subject: String
    }

    enum Header: Decodable, Equatable {
        case number(Int)
        case text(String)
        case other

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let number = try? value.decode(Int.self) {
                self = .number(number)
            } else if let text = try? value.decode(String.self) {
                self = .text(text)
            } else {
                self = .other
            }
        }
    }

    let messageId: String?
    let headers: [String: Header]
    let body: Body
}

/// `orderctl dlq redrive --format json`
struct Redrive: Decodable {
    let redriveId: String
    let selected: Int
    let sent: Int
    let wouldSend: Int?
    let groups: [String: Int]?
    let result: String
    let durationMs: Int
}

/// `orderctl dlq purge --format json`
struct Purged: Decodable {
    let removed: Int
}

/// `GET /v1/orders/{id}/deliveries`, and `orderctl trace --format json`.
struct Deliveries: Decodable, Equatable {
    struct Event: Decodable, Equatable {
        struct Attempt: Decodable, Equatable {
            let at: String
            let attempt: Int
            let outcome: String
            let status: Int?
            let error: String?
            let retryAfterMs: Int?
        }

        struct Redrive: Decodable, Equatable {
            let redriveId: String
            let at: String
        }

        struct Purge: Decodable, Equatable {
            let by: String
            let at: String
        }

        let eventId: String?
        let type: String
        let sequence: Int
        let occurredAt: String
        let status: String
        let confirmedAt: String?
        let attempts: [Attempt]
        let deliveredAt: String?
        let redrives: [Redrive]
        let purged: Purge?
    }

    let data: [Event]
}
