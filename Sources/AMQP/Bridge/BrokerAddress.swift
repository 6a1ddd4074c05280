import CRabbitMQ
import Glibc

/// The parts of an AMQP URL, as the library reads them.
struct BrokerAddress {
    let host: String
    let port: Int
    let user: String
    let password: String
    let virtualHost: String

    /// Parses a URL; `nil` when it is malformed or wants TLS.
    init?(url: String) {
        // The library writes into the text and points into it, so it gets a copy, and the parts are copied out.
        guard let text = unsafe strdup(url) else { return nil }
        defer { unsafe free(text) }
        var parts = unsafe amqp_connection_info()
        unsafe amqp_default_connection_info(&parts)
        guard unsafe amqp_parse_url(text, &parts) == AMQP_STATUS_OK.rawValue, unsafe parts.ssl == 0,
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
    }
}
