import Foundation
import HTTPTypes
import Hummingbird
import Logging
import OrderDomain

extension HTTPField.Name {
    static let requestID = HTTPField.Name.known("x-request-id")
    static let traceparent = HTTPField.Name.known("traceparent")
    static let idempotencyKey = HTTPField.Name.known("idempotency-key")
    static let idempotencyReplayed = HTTPField.Name.known("idempotency-replayed")

    private static func known(_ name: StaticString) -> HTTPField.Name {
        guard let name = HTTPField.Name("\(name)") else { preconditionFailure("not the name of a header") }
        return name
    }
}

/// Names every request, carries its trace on, and logs what became of it.
struct RequestIdentity: RouterMiddleware {
    func handle(
        _ request: Request,
        context: APIContext,
        next: @concurrent (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.requestID = RequestIdentity.requestID(request.headers[.requestID])
        context.traceparent = request.headers[.traceparent].flatMap(RequestIdentity.traceparent)
        context.logger[metadataKey: "request_id"] = "\(context.requestID)"
        let start = ContinuousClock.now
        var response = try await next(request, context)
        response.headers[.requestID] = context.requestID
        context.logger.debug(
            "answered",
            metadata: [
                "method": "\(request.method.rawValue)",
                "path": "\(request.uri.path.prefix(200))",
                "status": "\(response.status.code)",
                "duration_ms": "\(Int(start.duration(to: .now) / .milliseconds(1)))",
            ]
        )
        return response
    }

    /// The caller's own id if it is a sensible one: up to 128 visible ASCII characters.
    private static func requestID(_ sent: String?) -> String {
        guard let sent, (1...128).contains(sent.utf8.count), sent.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            return UUID.version7().text
        }
        return sent
    }

    /// W3C Trace Context, section 3.2: `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero.
    static func traceparent(_ sent: String) -> String? {
        let parts = sent.split(separator: "-", omittingEmptySubsequences: false)
        let isHex = parts.allSatisfy { $0.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) } }
        guard parts.map(\.count) == [2, 32, 16, 2], isHex, parts[0] != "ff",
            parts[1].contains(where: { $0 != "0" }), parts[2].contains(where: { $0 != "0" })
        else { return nil }
        return sent
    }
}
