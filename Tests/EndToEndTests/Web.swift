import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

/// A server that is called over HTTP.
struct Web: Sendable {
    struct Answer: Sendable {
        let status: UInt
        let body: String
        fileprivate let headers: HTTPHeaders

        /// The value of a header, whose name is written in any case; nil when it was not sent.
        func header(_ name: String) -> String? { headers.first(name: name) }

        /// The body as a type; the error shows the body.
        func decoded<Value: Decodable>(as: Value.Type = Value.self) throws -> Value {
            do {
                return try JSONDecoder().decode(Value.self, from: Data(body.utf8))
            } catch {
                throw Unexpected(description: "\(status) \(body) is no \(Value.self): \(error)")
            }
        }
    }

    struct Unexpected: Error, CustomStringConvertible {
        let description: String
    }

    /// More connections to one server than any test has requests at once.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 128
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    /// Without a slash at the end.
    let base: String

    func get(_ path: String) async throws -> Answer {
        try await send("GET", path)
    }

    /// With a body in JSON.
    func post(_ path: String, _ body: String, headers: [String: String] = [:]) async throws -> Answer {
        try await send("POST", path, body: body, headers: headers)
    }

    /// Any request; the content type is JSON unless `headers` say otherwise.
    func send(
        _ method: String,
        _ path: String,
        body: String? = nil,
        headers: [String: String] = [:]
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: base + path)
        request.method = HTTPMethod(rawValue: method)
        if let body {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body))
        }
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        let response = try await Web.client.execute(request, deadline: .now() + .seconds(20))
        let bytes = try await response.body.collect(upTo: 64 * 1_024 * 1_024)
        return Answer(status: response.status.code, body: String(buffer: bytes), headers: response.headers)
    }
}
