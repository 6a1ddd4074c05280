import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import OrderMessages
import Synchronization

extension HTTPField.Name {
    /// What the page sends with each call that changes something: no other site's page can.
    static let consoleRequest = HTTPField.Name("Jumun-Console")
    static let secFetchSite = HTTPField.Name("Sec-Fetch-Site")
}

/// Who may use the console: whoever knows the operator's token, or has the cookie that was given for it.
///
/// The cookie says until when it holds, under a signature whose key comes from the token: nothing is kept here, a
/// restart signs nobody out, and a new token ends every session.
final class OperatorAccess: Sendable {
    /// How a request shows that it may.
    enum Proof: Equatable {
        case bearer
        /// It holds until then.
        case cookie(until: Date)

        /// Until when it holds; nil when that is for as long as the token does.
        var end: Date? { if case .cookie(let end) = self { end } else { nil } }
    }

    /// How long a cookie holds, in seconds: a working day.
    static let sessionSeconds = 8 * 3_600
    /// The most wrong tokens in a minute that are told no more than that; the right one is taken all the while.
    static let maximumFailuresPerMinute = 10
    private static let minute = Duration.seconds(60)

    /// Cookies know no ports: two copies on a machine must not take each other's.
    let cookieName: String
    private let tokenDigest: SHA256.Digest
    private let key: SymmetricKey
    private let failures = Mutex<[ContinuousClock.Instant]>([])

    init(token: String, port: Int) {
        cookieName = "jumun_console_\(port)"
        tokenDigest = SHA256.hash(data: Data(token.utf8))
        let purpose = Data("jumun console session".utf8)
        let derived = HMAC<SHA256>.authenticationCode(for: purpose, using: SymmetricKey(data: Data(token.utf8)))
        key = SymmetricKey(data: Data(derived))
    }

    // MARK: The token

    /// Whether it is the token; digests are compared, and in constant time. Throws `Problem` 429 for a wrong one after
    /// too many: whoever guesses must not keep the operator out.
    func isToken(_ text: some StringProtocol, at now: ContinuousClock.Instant = .now) throws -> Bool {
        if SHA256.hash(data: Data(text.utf8)) == tokenDigest { return true }
        let isTooMany = failures.withLock { failures in
            failures.removeAll { $0.duration(to: now) > Self.minute }
            guard failures.count < Self.maximumFailuresPerMinute else { return true }
            failures.append(now)
            return false
        }
        if isTooMany { throw Problem.tooManyWrongTokens }
        return false
    }

    // MARK: The cookie

    /// A cookie for whoever has shown the token.
    func cookie(at now: Date) -> Cookie {
        let end = Int(now.timeIntervalSince1970) + Self.sessionSeconds
        let claim = "\(end).\(UInt64.random(in: .min ... .max))"
        return cookie("\(claim).\(Self.hex(signature(of: claim)))", maxAge: Self.sessionSeconds)
    }

    /// Takes the cookie away.
    var noCookie: Cookie { cookie("", maxAge: 0) }

    private func cookie(_ value: String, maxAge: Int) -> Cookie {
        Cookie(name: cookieName, value: value, maxAge: maxAge, path: "/console", httpOnly: true, sameSite: .strict)
    }

    /// Until when a cookie holds; nil when it is none of ours, or holds no more.
    func sessionEnd(_ value: String, at now: Date) -> Date? {
        let parts = value.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let seconds = Int(parts[0]), let code = Self.bytes(hex: parts[2]) else { return nil }
        let claim = Data("\(parts[0]).\(parts[1])".utf8)
        guard HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: claim, using: key) else { return nil }
        let end = Date(timeIntervalSince1970: Double(seconds))
        return end > now ? end : nil
    }

    private func signature(of claim: String) -> HMAC<SHA256>.MAC {
        HMAC<SHA256>.authenticationCode(for: Data(claim.utf8), using: key)
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { String(UInt16($0) | 0x100, radix: 16).dropFirst() }.joined()
    }

    private static func bytes(hex: some StringProtocol) -> [UInt8]? {
        let digits = Array(hex.utf8)
        guard digits.count == 2 * SHA256.byteCount else { return nil }
        let bytes = stride(from: 0, to: digits.count, by: 2).compactMap {
            UInt8(String(decoding: digits[$0...$0 + 1], as: UTF8.self), radix: 16)
        }
        return bytes.count == SHA256.byteCount ? bytes : nil
    }

    // MARK: Requests

    /// How a request shows that it may; nil when it does not. Throws `Problem` 429.
    func proof(of request: Request, at now: Date) throws -> Proof? {
        if let header = request.headers[.authorization] {
            guard header.lowercased().hasPrefix("bearer ") else { return nil }
            return try isToken(header.dropFirst("bearer ".count).drop { $0 == " " }) ? .bearer : nil
        }
        guard let cookie = request.cookies[cookieName] else { return nil }
        return sessionEnd(cookie.value, at: now).map { .cookie(until: $0) }
    }

    /// Whether a browser sent it for a page that is not the console's.
    static func isFromElsewhere(_ request: Request) -> Bool {
        if let site = HTTPField.Name.secFetchSite.flatMap({ request.headers[$0] }) {
            return site != "same-origin" && site != "none"
        }
        guard let origin = request.headers[.origin] else { return false }
        let host = request.head.authority ?? ""
        return origin != "http://\(host)" && origin != "https://\(host)"
    }
}

/// Answers under the names of the console alone: a name of somebody else's that leads here gets nothing.
struct KnownHosts: RouterMiddleware {
    private let names: Set<String>

    /// Loopback, and what the console listens on.
    init(listeningOn host: String) {
        names = ["localhost", "127.0.0.1", host.lowercased()]
    }

    func handle(
        _ request: Request,
        context: APIContext,
        next: @concurrent (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        guard knows(request.head.authority) else { throw Problem.unknownHost }
        return try await next(request, context)
    }

    /// Whether a `Host` is one of them, whatever its port.
    func knows(_ authority: String?) -> Bool {
        guard let text = authority?.lowercased() else { return false }
        // An IPv6 address stands in brackets.
        let name = text.hasPrefix("[") ? text.dropFirst().prefix { $0 != "]" } : text.prefix { $0 != ":" }
        return names.contains(String(name))
    }
}

/// Lets only the operator through, and changes only from the console's own page or from a program.
struct OperatorGuard: RouterMiddleware {
    let access: OperatorAccess

    func handle(
        _ request: Request,
        context: APIContext,
        next: @concurrent (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        guard let proof = try access.proof(of: request, at: Date()) else { throw Problem.operatorOnly }
        let isChange = request.method != .get && request.method != .head
        if isChange, case .cookie = proof {
            let isMarked = HTTPField.Name.consoleRequest.map { request.headers[$0] != nil } ?? false
            guard isMarked, !OperatorAccess.isFromElsewhere(request) else { throw Problem.fromElsewhere }
        }
        return try await next(request, context)
    }
}

extension Problem {
    fileprivate static let operatorOnly = Problem(
        status: 401,
        code: "operator_only",
        title: "Only the operator may do this",
        detail: "sign in at /console, or send Authorization: Bearer with the operator's token"
    )

    fileprivate static let unknownHost = Problem(
        status: 421,
        code: "unknown_host",
        title: "This is not the console of that host",
        detail: "the console answers to localhost, 127.0.0.1 and OPERATOR_HOST; a proxy before it must send such a Host"
    )

    static let fromElsewhere = Problem(
        status: 403,
        code: "from_elsewhere",
        title: "This did not come from the console",
        detail: "changes are taken from the console's own page, or with Authorization: Bearer"
    )

    fileprivate static let tooManyWrongTokens: Problem = {
        var problem = Problem(
            status: 429,
            code: "too_many_wrong_tokens",
            title: "Too many wrong tokens",
            detail: "the token was wrong ten times within a minute; wait for a minute, or send the right one"
        )
        problem.retryAfterSeconds = 60
        return problem
    }()
}
