/// Where the broker is, and how patient to be with it.
package struct AMQPConfiguration: Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    let host: String
    let port: Int
    let user: String
    let password: String
    /// The virtual host; `/` unless the URL says otherwise.
    package let virtualHost: String
    let connectionName: String
    let heartbeat: Duration
    let timeout: Duration
    /// Path of the PEM file with the certificates of those who may sign the broker's; nil without TLS.
    let authorities: String?

    /// Parses a URL `amqp://user:password@host:port/vhost`; parts left out are guest, guest, localhost, 5672 and `/`.
    ///
    /// With `amqps` (port 5671) the broker must prove to be the host, by a certificate that holds its DNS name and is
    /// signed by an authority of the system, or of the PEM file that `?cacertfile=/path` names. Nothing is sent before.
    ///
    /// - Parameters:
    ///   - url: the broker's address; user, password and virtual host percent-encoded.
    ///   - connectionName: what the broker's tools show for the connection.
    ///   - heartbeat: how often each side shows that it is alive; whole seconds, 1 to 3,600. A silent peer is given up
    ///     after twice that.
    ///   - timeout: the longest wait for the TCP connection, for the handshake and for each answer of the broker.
    /// - Throws: ``AMQPError`` `invalidConfiguration`; it doesn't quote the URL.
    package init(
        url: String,
        connectionName: String,
        heartbeat: Duration = .seconds(10),
        timeout: Duration = .seconds(3)
    ) throws(AMQPError) {
        guard let address = BrokerAddress(url: url) else {
            throw AMQPError(.invalidConfiguration, Self.form)
        }
        guard heartbeat >= .seconds(1), heartbeat <= .seconds(3_600), timeout >= .milliseconds(1) else {
            throw AMQPError(.invalidConfiguration, "a heartbeat is 1 to 3600 s, a timeout at least 1 ms")
        }
        host = address.host
        port = address.port
        user = address.user
        password = address.password
        virtualHost = address.virtualHost
        authorities = address.authorities
        self.connectionName = connectionName
        self.heartbeat = heartbeat
        self.timeout = timeout
    }

    private static let form =
        "not a URL of the form amqp://user:password@host:port/vhost or amqps://…?cacertfile=/absolute/path"

    /// The address without the password.
    package var description: String {
        "\(authorities == nil ? "amqp" : "amqps")://\(user)@\(host):\(port)/\(virtualHost == "/" ? "" : virtualHost)"
    }

    /// The address without the password.
    package var debugDescription: String {
        description
    }

    /// How often the socket is looked at when nothing comes: often enough for the heartbeats, at most a second.
    var tick: Duration {
        min(.seconds(1), heartbeat / 4)
    }
}
