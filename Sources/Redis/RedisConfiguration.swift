/// Where the server is and how to log in.
package struct RedisConfiguration: Sendable {
    /// Name or address of the server, without brackets.
    package let host: String
    /// TCP port, 1 to 65535.
    package let port: UInt16
    /// The numbered database that every connection selects.
    package let database: Int
    /// How long making a connection may take, log-in included; a call's own deadline may end it earlier.
    package var connectTimeout: Duration = .seconds(1)
    let user: String?
    let password: String?
    /// Path of the PEM file with the certificates of those who may sign the server's; nil without TLS.
    let authorities: String?

    /// Reads `redis://[user:]password@host:port/database`, or `rediss://` for TLS.
    ///
    /// Log-in, port (6379) and database (0) may be left out; user and password are percent-decoded, an IPv6 address
    /// stands in brackets. With `rediss` the server must prove to be the host; `?cacertfile=/path` names the PEM file
    /// of the authorities that are trusted, in place of the system's. Throws `.invalidConfiguration`, whose text never
    /// repeats the address.
    package init(url: String) throws(RedisError) {
        guard let scheme = ["redis://", "rediss://"].first(where: url.hasPrefix) else {
            throw Self.invalid("it must begin with redis:// or rediss://")
        }
        var rest = url.dropFirst(scheme.count)
        authorities = try Self.takeAuthorities(from: &rest, hasTLS: scheme == "rediss://")
        if let at = rest.lastIndex(of: "@") {
            (user, password) = try Self.login(rest[..<at])
            rest = rest[rest.index(after: at)...]
        } else {
            (user, password) = (nil, nil)
        }
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        (host, port) = try Self.address(rest[..<slash])
        let path = rest[slash...].dropFirst()
        guard path.isEmpty || path.utf8.allSatisfy(Self.isDigit), let database = Int(path.isEmpty ? "0" : path) else {
            throw Self.invalid("the database after the / must be a number, as in /0")
        }
        self.database = database
    }

    private static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

    /// Takes the query off, whose one parameter is the file of the authorities.
    private static func takeAuthorities(from rest: inout Substring, hasTLS: Bool) throws(RedisError) -> String? {
        // A password may hold a question mark.
        let host = rest.lastIndex(of: "@") ?? rest.startIndex
        guard let mark = rest[host...].firstIndex(of: "?") else { return hasTLS ? systemAuthorities : nil }
        let query = rest[mark...].dropFirst()
        rest = rest[..<mark]
        let key = "cacertfile="
        guard hasTLS, query.hasPrefix(key), let path = percentDecoded(query.dropFirst(key.count)),
            path.hasPrefix("/"), !path.utf8.contains(0)
        else { throw invalid("after a ? only cacertfile=/absolute/path may follow, with rediss:// alone") }
        return path
    }

    private static func login(_ text: Substring) throws(RedisError) -> (user: String?, password: String?) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let password = percentDecoded(parts[parts.count - 1]), let user = percentDecoded(parts[0]) else {
            throw invalid("user and password must be percent-encoded UTF-8 (a % is %25)")
        }
        guard !password.isEmpty else { throw invalid("the password before the @ is empty") }
        return (parts.count == 1 || user.isEmpty ? nil : user, password)
    }

    private static func address(_ text: Substring) throws(RedisError) -> (host: String, port: UInt16) {
        var host = text
        var portText: Substring = "6379"
        if text.first == "[", let end = text.lastIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<end]
            let tail = text[text.index(after: end)...]
            if !tail.isEmpty {
                guard tail.first == ":" else { throw invalid("after the ] only :port may follow") }
                portText = tail.dropFirst()
            }
        } else if let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            portText = text[text.index(after: colon)...]
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw invalid("the host is missing or is no host name")
        }
        guard portText.utf8.allSatisfy(isDigit), let port = UInt16(portText), port > 0 else {
            throw invalid("the port must be 1 to 65535; an IPv6 address stands in [brackets]")
        }
        return (String(host), port)
    }

    private static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func hexValue(_ byte: UInt8) -> UInt8? {
        Character(Unicode.Scalar(byte)).hexDigitValue.map(UInt8.init)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func invalid(_ why: String) -> RedisError {
        RedisError(.invalidConfiguration, "the Redis URL cannot be used: \(why)")
    }
}

extension RedisConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The address without user and password.
    package var description: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return "\(authorities == nil ? "redis" : "rediss")://\(name):\(port)/\(database)"
    }

    /// The same as ``description``.
    package var debugDescription: String { description }

    /// No children, so that `dump` does not show the password either.
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}
