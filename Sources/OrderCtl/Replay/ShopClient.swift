import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import ServiceRuntime

/// The API as a customer calls it.
struct ShopClient: Sendable {
    /// How long an answer may take.
    private static let timeout = TimeAmount.seconds(30)
    private static let maximumAnswerBytes = 1 << 20
    private static let connections = 64
    /// A request that prepares is sent again when the API was too busy.
    private static let maximumAttempts = 5

    private let http: HTTPClient
    /// Without a slash at its end.
    private let base: String
    private let token: String

    /// Lends a client, and closes it afterwards.
    static func with<Value: Sendable>(
        base: String,
        token: String,
        _ body: (ShopClient) async throws -> Value
    ) async throws -> Value {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
        let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let base = base.hasSuffix("/") ? String(base.dropLast()) : base
        do {
            let value = try await body(ShopClient(http: http, base: base, token: token))
            try await http.shutdown()
            return value
        } catch {
            try? await http.shutdown()
            throw error
        }
    }

    /// Puts something in place; throws `ProcessFailure` when the API does not take it.
    func prepare(_ request: ReplayNeeds.Request) async throws {
        var attempt = 1
        while true {
            let answer: Answer
            do {
                answer = try await post(request.path, request.body, key: request.key)
            } catch {
                throw ProcessFailure("\(base)\(request.path) does not answer: \(error)", exitCode: ExitCode.unavailable)
            }
            if answer.status == 201 { return }
            guard answer.status == 503, attempt < Self.maximumAttempts else {
                throw ProcessFailure("\(base)\(request.path) answers \(answer.status) \(answer.code)")
            }
            attempt += 1
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    /// Places an order; its latency counts from when it was due.
    func place(_ order: LiveOrder, due: ContinuousClock.Instant) async -> ReplayReport.Answer {
        let outcome: String
        do {
            let answer = try await post("/v1/orders", order.body, key: order.key)
            outcome =
                switch (answer.status, answer.isReplayed) {
                case (201, false): ReplayReport.taken
                case (201, true): ReplayReport.takenBefore
                default: "\(answer.status) \(answer.code)"
                }
        } catch {
            return ReplayReport.Answer(outcome: ReplayReport.noAnswer, latency: nil)
        }
        return ReplayReport.Answer(outcome: outcome, latency: ContinuousClock.now - due)
    }

    private struct Answer {
        let status: UInt
        let isReplayed: Bool
        /// The problem's, or nothing.
        let code: String
    }

    private struct Problem: Decodable {
        let code: String
    }

    private func post(_ path: String, _ body: String, key: String) async throws -> Answer {
        var request = HTTPClientRequest(url: base + path)
        request.method = .POST
        request.headers = ["Content-Type": "application/json", "Idempotency-Key": key]
        if !token.isEmpty { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        request.body = .bytes(ByteBuffer(string: body))
        let response = try await http.execute(request, timeout: Self.timeout)
        let bytes = try await response.body.collect(upTo: Self.maximumAnswerBytes)
        let problem = try? JSONDecoder().decode(Problem.self, from: Data(bytes.readableBytesView))
        return Answer(
            status: response.status.code,
            isReplayed: response.headers.first(name: "Idempotency-Replayed") == "true",
            code: problem?.code ?? ""
        )
    }
}
