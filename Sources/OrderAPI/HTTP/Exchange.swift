import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import NIOFoundationCompat
import OrderDomain
import OrderMessages
import OrderStore
import ServiceRuntime

extension Request {
    /// The body of a JSON request.
    ///
    /// - Parameter mayBeEmpty: whether no body at all will do, whatever its type.
    /// - Throws: `Problem` with status 415 or 408, `HTTPError` with 413.
    func jsonBody(mayBeEmpty: Bool = false) async throws -> Data {
        if mayBeEmpty, headers[.contentType] == nil, headers[.transferEncoding] == nil,
            headers[.contentLength].map({ $0 == "0" }) ?? true
        {
            return Data()
        }
        guard hasJSONBody else {
            throw Problem(
                status: 415,
                code: "unsupported_media_type",
                title: "The body must be JSON",
                detail: "send the header Content-Type: application/json, in UTF-8"
            )
        }
        // The connection itself cuts off a body that is slow.
        return Data(buffer: try await collectBody())
    }

    /// Whether `Content-Type` says JSON, and no character set but UTF-8.
    private var hasJSONBody: Bool {
        guard let contentType = headers[.contentType] else { return false }
        // As nearly everybody says it: taking it apart costs 3 % of an order.
        if contentType == "application/json" { return true }
        let parts = contentType.lowercased().split(separator: ";")
            .map { $0.trimmingCharacters(in: .whitespaces) }
        guard let mediaType = parts.first, mediaType == "application/json" || mediaType.hasSuffix("+json") else {
            return false
        }
        return parts.dropFirst().allSatisfy {
            !$0.hasPrefix("charset=") || ["charset=utf-8", "charset=\"utf-8\""].contains($0)
        }
    }

    /// The idempotency key of a request of `user`, if it has one, with a fingerprint of what is asked.
    ///
    /// - Throws: `ValidationFailure` when it is not 1 to 255 visible ASCII characters.
    func idempotencyClaim(of user: UserID?, body: Data) throws -> IdempotencyClaim? {
        let keys = headers[values: .idempotencyKey]
        guard let key = keys.first else { return nil }
        guard keys.count == 1, (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw ValidationFailure([
                FieldError(
                    field: "Idempotency-Key",
                    code: "invalid",
                    detail: "must be one value of 1 to 255 visible ASCII characters"
                )
            ])
        }
        var digest = SHA256()
        digest.update(data: Data("\(method.rawValue) \(uri.path)\n".utf8))
        digest.update(data: body)
        return IdempotencyClaim(key: IdempotencyKey(userID: user, key: key), fingerprint: Array(digest.finalize()))
    }
}

extension Response {
    /// An answer in JSON.
    static func json(
        _ status: HTTPResponse.Status,
        _ answer: some Encodable,
        location: String? = nil,
        etag: String? = nil
    ) throws -> Response {
        json(status, body: try encoded(answer), location: location, etag: etag)
    }

    /// An answer whose JSON is written already.
    static func json(
        _ status: HTTPResponse.Status,
        body: String,
        location: String? = nil,
        etag: String? = nil
    ) -> Response {
        var headers: HTTPFields = [.contentType: "application/json", .cacheControl: "no-store"]
        headers[.location] = location
        headers[.eTag] = etag
        return Response(
            status: status,
            headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: body))
        )
    }

    /// The answer of the commit engine.
    static func committed(_ answer: CommitAnswer) -> Response {
        var headers: HTTPFields = [.contentType: answer.answer.contentType, .cacheControl: "no-store"]
        headers[.location] = answer.answer.location
        headers[.eTag] = answer.answer.etag
        if answer.isReplay { headers[.idempotencyReplayed] = "true" }
        return Response(
            status: HTTPResponse.Status(code: answer.answer.status),
            headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: answer.answer.body))
        )
    }

    /// An answer to GET that a client may have already: 304 when it says so in `If-None-Match`.
    ///
    /// - Throws: `Problem` with status 412 when `If-Match` asks for another version.
    static func cacheable(_ request: Request, _ answer: some Encodable, version: Int64) throws -> Response {
        try request.ifMatch.require(version: version)
        let etag = EntityTag(version: version)
        if request.ifNoneMatch?.matchesWeakly(etag) == true {
            return Response(status: .notModified, headers: [.eTag: etag.field, .cacheControl: "no-store"])
        }
        return try .json(.ok, answer, etag: etag.field)
    }
}
