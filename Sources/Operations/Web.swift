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
        let response = try await client.execute(request, timeout: timeout)
        let body = try await response.body.collect(upTo: maximumBodyBytes)
        return Answer(status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
    }
}
