import Testing

@testable import AMQP

@Suite("AMQP values")
struct ValueTests {
    private let message = AMQPMessage(exchange: "e", routingKey: "k", body: [1, 2, 3])

    @Test("A URL is taken apart, and the password is never shown")
    func url() throws {
        let configuration = try AMQPConfiguration(
            url: "amqp://jumun:p%40ss@broker.example:5673/orders%2Feu",
            connectionName: "test"
        )
        #expect(configuration.host == "broker.example")
        #expect(configuration.port == 5_673)
        #expect(configuration.user == "jumun")
        #expect(configuration.password == "p@ss")
        #expect(configuration.virtualHost == "orders/eu")
        #expect(!"\(configuration)".contains("p@ss"))
        #expect(!String(reflecting: configuration).contains("p@ss"))
    }

    @Test("Parts that a URL leaves out are the usual ones", arguments: ["amqp://localhost", "amqp://localhost/"])
    func defaults(url: String) throws {
        let configuration = try AMQPConfiguration(url: url, connectionName: "test")
        #expect(configuration.port == 5_672)
        #expect(configuration.user == "guest")
        #expect(configuration.virtualHost == "/")
    }

    @Test(
        "Other URLs are refused without being quoted",
        arguments: [
            "", "localhost:5672", "http://u:secret@h", "amqp://u:secret@h:port",
            "amqps://u:secret@h?cacertfile=x", "amqps://u:secret@h?verify=none", "amqp://u:secret@h?cacertfile=/x",
        ]
    )
    func badURL(url: String) throws {
        let error = try #require(throws: AMQPError.self) {
            try AMQPConfiguration(url: url, connectionName: "test")
        }
        #expect(error.code == .invalidConfiguration)
        #expect(!error.isRetryable)
        #expect(!error.description.contains("secret"))
    }

    @Test("amqps is TLS that trusts the system's authorities, or those of a file")
    func tls() throws {
        let system = try AMQPConfiguration(url: "amqps://u:secret@h/v", connectionName: "test")
        #expect(system.authorities == "/etc/ssl/certs/ca-certificates.crt" && system.port == 5_671)
        let own = try AMQPConfiguration(url: "amqps://u:secret@h:1/v?cacertfile=/etc/ca.pem", connectionName: "test")
        #expect(own.authorities == "/etc/ca.pem" && own.virtualHost == "v" && own.description == "amqps://u@h:1/v")
        #expect(try AMQPConfiguration(url: "amqp://h", connectionName: "test").authorities == nil)
    }

    @Test("A body over the limit is too large, one at the limit isn't")
    func tooLarge() {
        #expect(message.refusal(maximumBodyBytes: 3) == nil)
        #expect(message.refusal(maximumBodyBytes: 2) == .tooLarge)
    }

    @Test("Texts over 255 bytes are invalid")
    func longTexts() {
        for path in [\AMQPMessage.messageID, \.type, \.contentType, \.appID] {
            var message = message
            message[keyPath: path] = String(repeating: "ü", count: 127)
            #expect(message.refusal(maximumBodyBytes: 3) == nil)
            message[keyPath: path] = String(repeating: "ü", count: 128)
            #expect(message.refusal(maximumBodyBytes: 3)?.isInvalid == true)
        }
    }

    @Test(
        "Headers that don't fit the wire are invalid",
        arguments: [
            ["k": AMQPField.unsupported(kind: 63)],
            ["k": .string(String(repeating: "x", count: 130_000))],
            [String(repeating: "k", count: 129): .null],
            ["k": nested(AMQPField.maximumDepth)],
            ["k": .table(["a": .array([.unsupported(kind: 63)])])],
        ]
    )
    func badHeaders(headers: [String: AMQPField]) {
        var message = message
        message.headers = headers
        #expect(message.refusal(maximumBodyBytes: 3)?.isInvalid == true)
    }

    @Test("Headers nested as deeply as allowed are fine")
    func deepHeaders() {
        var message = message
        message.headers = ["k": nested(AMQPField.maximumDepth - 1)]
        #expect(message.refusal(maximumBodyBytes: 3) == nil)
    }

    @Test("Codes tell what is worth retrying")
    func retry() {
        #expect(AMQPError(.connectionLost, "").isRetryable)
        #expect(AMQPError(.channelClosed(406), "").isRetryable)
        #expect(!AMQPError(.channelClosed(404), "").isRetryable)
        #expect(!AMQPError(.topologyMismatch, "").isRetryable)
    }
}

/// `levels` arrays, one in another.
private func nested(_ levels: Int) -> AMQPField {
    (0..<levels).reduce(.null) { inner, _ in .array([inner]) }
}

extension PublishOutcome {
    var isInvalid: Bool {
        if case .invalid = self { true } else { false }
    }
}
