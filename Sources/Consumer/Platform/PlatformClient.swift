import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import WebhookSignature

/// Sends events to the data platform.
struct PlatformClient: Sendable {
    /// The most bytes of an answer's body that are read; with more the connection is given up.
    private static let maximumAnswerBytes = 64 * 1_024
    /// Shorter than servers keep idle connections, so that a request seldom meets one that is just being closed.
    private static let idleLimit = TimeAmount.seconds(15)
    /// How long after a broken connection the one repetition comes, in milliseconds.
    private static let repetitionPauseMs = 50...150

    let http: HTTPClient
    /// The platform's address without a slash at its end.
    let base: String
    let form: PlatformRequest.Form
    /// Nil when requests are not signed.
    let keys: SigningKeys?
    /// How long a request may take, from connecting to the end of the answer, its repetition included.
    let timeout: Duration

    /// What the HTTP client has to be made with.
    static func configuration(connections: Int) -> HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        configuration.connectionPool.idleTimeout = idleLimit
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
        configuration.connectionPool.retryConnectionEstablishment = false
        return configuration
    }

    /// Posts events in one request, and says what came of it by the timeout; cancelling the task ends it as a network
    /// failure.
    ///
    /// A connection that could not be made or broke is tried once more, after a moment: it may just have been closed.
    func post(_ events: ArraySlice<ForwardedEvent>) async -> RequestOutcome {
        let request = PlatformRequest(events, form: form, keys: keys, now: Date())
        return await withTaskGroup(of: RequestOutcome?.self) { group in
            group.addTask {
                let outcome = await exchange(request)
                guard case .networkFailure = outcome, !Task.isCancelled else { return outcome }
                try? await Task.sleep(for: .milliseconds(Int.random(in: Self.repetitionPauseMs)))
                return await exchange(request)
            }
            group.addTask {
                try? await Task.sleep(for: timeout)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first ?? .timedOut
        }
    }

    private func exchange(_ request: PlatformRequest) async -> RequestOutcome {
        var post = HTTPClientRequest(url: base + "/v1/events")
        post.method = .POST
        post.headers = request.headers
        post.body = .bytes(request.body)
        do {
            let response = try await http.execute(post, timeout: TimeAmount(timeout))
            let retryAfter = response.headers.first(name: "Retry-After")
            return .answered(
                status: Int(response.status.code),
                retryAfter: retryAfter.flatMap { RetryAfter.duration($0, now: Date()) },
                message: await message(response.body)
            )
        } catch let error as HTTPClientError where Self.isTimeout(error) {
            return .timedOut
        } catch {
            return .networkFailure("\(error)")
        }
    }

    /// The body, which has to be read for the connection to be used again; the status decides even when it breaks off.
    private func message(_ body: HTTPClientResponse.Body) async -> String {
        guard let buffer = try? await body.collect(upTo: Self.maximumAnswerBytes) else { return "" }
        return String(decoding: buffer.readableBytesView, as: UTF8.self)
    }

    private static func isTimeout(_ error: HTTPClientError) -> Bool {
        [.deadlineExceeded, .connectTimeout, .readTimeout, .writeTimeout, .getConnectionFromPoolTimeout].contains(error)
    }
}
