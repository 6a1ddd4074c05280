import AsyncHTTPClient
import NIOCore
package import NIOHTTP1

/// Calls of our services and of the broker's management interface.
package enum Web {
    /// What a server answered.
    package struct Answer {
        package let status: Int
        package let headers: HTTPHeaders
        package let body: [UInt8]

        package var contentType: String? { headers.first(name: "Content-Type") }
    }

    private static let maximumBodyBytes = 4 * 1_024 * 1_024
    private static let timeout = TimeAmount.seconds(3)
    /// Who isn't there is said to be so at once.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    /// Fetches a page; throws when there is no whole answer within 3 s.
    package static func get(_ url: String, headers: [String: String] = [:]) async throws -> Answer {
        var request = HTTPClientRequest(url: url)
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        return try await answer(to: request)
    }

    /// Puts a JSON text; throws when there is no whole answer within 3 s.
    package static func put(_ url: String, json: [UInt8]) async throws -> Answer {
        var request = HTTPClientRequest(url: url)
        request.method = .PUT
        request.headers.add(name: "Content-Type", value: "application/json")
        request.body = .bytes(json)
        return try await answer(to: request)
    }

    private static func answer(to request: HTTPClientRequest) async throws -> Answer {
        let response = try await client.execute(request, timeout: timeout)
        let body = try await response.body.collect(upTo: maximumBodyBytes)
        return Answer(status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
    }
}
