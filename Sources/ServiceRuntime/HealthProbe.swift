import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks the process of the same settings whether it serves, as the health check of a container does that has neither
/// a shell nor curl.
package enum HealthProbe {
    /// How long the answer may take.
    static let limit = Duration.seconds(3)
    /// The most bytes of an answer that are kept.
    private static let answerBytes = 16 * 1_024

    /// Returns when `GET /health/serving` is answered 200 within three seconds: a server that is not essential may be
    /// away, which a new process would not change.
    ///
    /// - Parameters:
    ///   - settings: `LISTEN_HOST`, and the port.
    ///   - portKey: the setting of the process's port.
    ///   - defaultPort: the port where the setting is missing.
    /// - Throws: a ``SettingsError``, or a ``ProcessFailure`` of exit code 1 that says what is wrong.
    package static func run(_ settings: Settings, portKey: String, defaultPort: Int) async throws {
        let host = reachable(try settings.string("LISTEN_HOST", default: "127.0.0.1"))
        let port = try settings.port(portKey, default: defaultPort)
        let (status, body) = try await answer(host, port)
        guard status == 200 else { throw ProcessFailure("not serving: \(status) \(body)") }
    }

    /// Where to reach a process that listens on this address: "all addresses" is none to connect to.
    private static func reachable(_ host: String) -> String {
        switch host {
        case "0.0.0.0": "127.0.0.1"
        case "::", "[::]": "::1"
        default: host
        }
    }

    private static func answer(_ host: String, _ port: Int) async throws -> (status: Int, body: String) {
        try await withThrowingTaskGroup(of: (Int, String).self) { group in
            group.addTask {
                do {
                    return try await ask(host, port)
                } catch is CancellationError {
                    throw ProcessFailure("no answer of \(host), port \(port), within \(limit)")
                } catch let failure as ProcessFailure {
                    throw failure
                } catch {
                    throw ProcessFailure("cannot reach \(host), port \(port): \(error)")
                }
            }
            group.addTask {
                try await Task.sleep(for: limit)
                throw ProcessFailure("no answer of \(host), port \(port), within \(limit)")
            }
            defer { group.cancelAll() }
            return try await group.next() ?? (0, "")
        }
    }

    private static func ask(_ host: String, _ port: Int) async throws -> (Int, String) {
        let bootstrap = ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .connectTimeout(TimeAmount(limit))
        let channel = try await bootstrap.connect(host: host, port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHTTPClientHandlers()
                return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                    wrappingChannelSynchronously: channel
                )
            }
        }
        return try await channel.executeThenClose { inbound, outbound in
            let headers: HTTPHeaders = ["Host": "\(host):\(port)", "Connection": "close"]
            let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/health/serving", headers: headers)
            try await outbound.write(.head(head))
            try await outbound.write(.end(nil))
            var (status, body) = (0, ByteBuffer())
            for try await part in inbound {
                switch part {
                case .head(let head): status = Int(head.status.code)
                case .body(var bytes):
                    if body.readableBytes < answerBytes { body.writeBuffer(&bytes) }
                case .end: return (status, String(buffer: body))
                }
            }
            throw ProcessFailure("\(host), port \(port), closed the connection without an answer")
        }
    }
}
