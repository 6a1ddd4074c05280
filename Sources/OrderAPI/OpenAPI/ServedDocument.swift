import Crypto
import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore

/// Bytes that stay the same as long as the process runs, and that a client need not fetch twice.
struct ServedDocument: Sendable {
    /// A client may show what it has for so long, and then asks whether it is still the same.
    static let cacheControl = "public, max-age=60, must-revalidate"

    private let bytes: ByteBuffer
    private let headers: HTTPFields
    /// A strong ETag: a digest of the bytes.
    let etag: String

    init(_ bytes: some Collection<UInt8>, contentType: String, headers: HTTPFields = [:]) {
        self.bytes = ByteBuffer(bytes: bytes)
        let digest = SHA256.hash(data: Array(bytes)).prefix(16)
        etag = "\"" + digest.map { String(UInt16($0) | 0x100, radix: 16).dropFirst() }.joined() + "\""
        var headers = headers
        headers[.contentType] = contentType
        headers[.eTag] = etag
        headers[.cacheControl] = ServedDocument.cacheControl
        headers[.xContentTypeOptions] = "nosniff"
        self.headers = headers
    }

    /// The document, or 304 when the client says in `If-None-Match` that it has it.
    func response(to request: Request) -> Response {
        let known = request.headers[values: .ifNoneMatch].flatMap { $0.split(separator: ",") }
            .map { $0.drop(while: \.isWhitespace) }.map { $0.hasPrefix("W/") ? $0.dropFirst(2) : $0 }
        if known.contains(where: { $0 == etag || $0 == "*" }) {
            var headers = headers
            headers[.contentType] = nil
            return Response(status: .notModified, headers: headers)
        }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: bytes))
    }
}
