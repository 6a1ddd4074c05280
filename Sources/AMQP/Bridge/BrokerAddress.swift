import CRabbitMQ
import Glibc

/// The parts of an AMQP URL, as the library reads them.
struct BrokerAddress {
    let host: String
    let port: Int
    let user: String
    let password: String
    let virtualHost: String
    /// Path of the PEM file with the certificates of those who may sign the broker's; nil without TLS.
    let authorities: String?

    private static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

    /// Parses a URL; `nil` when it is malformed.
    init?(url: String) {
        // The library knows no query; ours has the one parameter `cacertfile`.
        let halves = url.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let file = halves.count == 1 ? nil : Self.file(halves[1])
        guard halves.count == 1 || file != nil else { return nil }
        // The library writes into the text and points into it, so it gets a copy, and the parts are copied out.
        guard let text = unsafe strdup(String(halves[0])) else { return nil }
        defer { unsafe free(text) }
        var parts = unsafe amqp_connection_info()
        unsafe amqp_default_connection_info(&parts)
        guard unsafe amqp_parse_url(text, &parts) == AMQP_STATUS_OK.rawValue, unsafe parts.ssl != 0 || file == nil,
            let host = unsafe parts.host, let user = unsafe parts.user, let password = unsafe parts.password,
            let virtualHost = unsafe parts.vhost
        else { return nil }
        self.host = unsafe String(cString: host)
        self.user = unsafe String(cString: user)
        self.password = unsafe String(cString: password)
        let name = unsafe String(cString: virtualHost)
        // "amqp://host/" names the virtual host "" by the letter; nobody who writes it means that.
        self.virtualHost = name.isEmpty ? "/" : name
        port = Int(unsafe parts.port)
        authorities = unsafe parts.ssl == 0 ? nil : file ?? Self.systemAuthorities
    }

    private static func file(_ query: Substring) -> String? {
        let key = "cacertfile="
        guard query.hasPrefix(key), query.dropFirst(key.count).hasPrefix("/") else { return nil }
        return query.dropFirst(key.count).utf8.contains(0) ? nil : String(query.dropFirst(key.count))
    }
}
