import Glibc
package import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
package import ServiceLifecycle

/// The limits that every HTTP server of ours has.
package enum HTTPLimits {
    /// The largest body of a request, in bytes, where a route does not say otherwise.
    package static let bodyBytes = 64 * 1024
    /// How long a request may take to arrive whole, from the first byte of its head.
    package static let requestTimeout = Duration.seconds(10)
    /// How long a connection may be idle.
    package static let idleTimeout = Duration.seconds(30)
    /// The largest header field, in bytes.
    package static let headerFieldBytes = 16 * 1024
    /// All header fields of a request together, in bytes.
    package static let headerListBytes = 32 * 1024
    /// The most header fields of a request.
    package static let headerFields = 100
    /// The most connections that wait to be accepted.
    package static let backlog = 4_096
    /// The most connections that are open at once; more wait in the backlog.
    package static let connections = 16_384
    /// Files that connections leave to the rest of the process.
    static let reservedFiles = 256
}

/// Makes the service that answers HTTP/1.1 on a port, within ``HTTPLimits``.
///
/// It runs until the graceful shutdown, which answers the requests that are there and closes idle connections. When the
/// address cannot be listened on it throws a ``ProcessFailure`` of one line with ``ExitCode/unavailable``.
///
/// - Parameters:
///   - router: the routes; finished, since later changes have no effect.
///   - host: the address to listen on.
///   - port: the port to listen on; 0 for any free one.
///   - name: what the `Server` header says.
///   - drain: once it has begun, every answer closes its connection.
///   - logger: where the server and each request's context log.
///   - onListening: is told the port once connections are accepted.
/// - Returns: the service, for ``ServiceProcess/run(_:logger:)``.
package func makeHTTPServer<Context: RequestContext>(
    router: Router<Context>,
    host: String,
    port: Int,
    name: String,
    drain: Drain = Drain(.zero),
    logger: Logger,
    onListening: @escaping @Sendable (Int) async -> Void = { _ in }
) -> some Service where Context.Source == ApplicationRequestContextSource {
    let files = max(FileLimit.maximum - HTTPLimits.reservedFiles, FileLimit.maximum / 2)
    let application = Application(
        router: router,
        server: .http1(
            configuration: HTTP1Channel.Configuration(
                additionalChannelHandlers: [RequestDeadlineInstaller(drain: drain)],
                idleTimeout: TimeAmount(HTTPLimits.idleTimeout),
                httpDecoderConfiguration: HTTP1Channel.Configuration.DecoderConfiguration(
                    maxHeaderFieldSize: HTTPLimits.headerFieldBytes,
                    maxHeaderListSize: HTTPLimits.headerListBytes,
                    maxHeaderFieldCount: HTTPLimits.headerFields
                )
            )
        ),
        configuration: ApplicationConfiguration(
            address: .hostname(host, port: port),
            serverName: name,
            backlog: HTTPLimits.backlog,
            availableConnectionsDelegate: .maximum(min(HTTPLimits.connections, files), logger: logger)
        ),
        onServerRunning: { channel in
            await onListening(channel.localAddress?.port ?? port)
        },
        logger: logger
    )
    return HTTPServer(application: application, host: host, port: port)
}

/// An application whose failure to listen is told in one line.
private struct HTTPServer<Responder: HTTPResponder>: Service, CustomStringConvertible
where Responder.Context: InitializableFromSource<ApplicationRequestContextSource> {
    let application: Application<Responder>
    let host: String
    let port: Int

    var description: String { "http" }

    func run() async throws {
        do {
            try await application.run()
        } catch let error as IOError {
            let reason =
                switch error.errnoCode {
                case EADDRINUSE: "port \(port) on \(host) is in use; free it or choose another"
                case EADDRNOTAVAIL: "\(host) is not an address of this machine"
                case EACCES: "not allowed to listen on port \(port)"
                default: "cannot listen on \(host), port \(port): errno \(error.errnoCode)"
                }
            throw ProcessFailure(reason, exitCode: ExitCode.unavailable)
        }
    }
}

extension Request {
    /// The whole body, up to a limit in bytes; answers 413 when there is more.
    package func collectBody(limit: Int = HTTPLimits.bodyBytes) async throws -> ByteBuffer {
        if let length = headers[.contentLength].flatMap({ Int($0) }), length > limit {
            throw HTTPError(.contentTooLarge)
        }
        do {
            return try await body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw HTTPError(.contentTooLarge)
        }
    }
}
