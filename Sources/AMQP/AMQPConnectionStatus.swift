/// How a publisher, consumer or inspector stands with the broker, as last seen.
package enum AMQPConnectionStatus: Sendable, Equatable {
    /// The connection is open, and its topology has been declared.
    case connected
    /// The connection is open, but the broker accepts no messages for the given reason (a memory or disk alarm).
    case blocked(reason: String)
    /// There is no connection; the error is why the last one ended or couldn't be opened, `nil` when none was tried.
    case disconnected(AMQPError?)

    /// Whether a connection is open, blocked or not.
    package var isConnected: Bool {
        switch self {
        case .connected, .blocked: true
        case .disconnected: false
        }
    }
}
