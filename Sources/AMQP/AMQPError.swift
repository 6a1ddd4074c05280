/// Why an operation on the broker failed.
///
/// The description never holds a password, and is safe to log and to show.
package struct AMQPError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it was; stable, for tests, metrics and decisions.
    package enum Code: Sendable, Equatable {
        /// The broker couldn't be reached, or broke off the handshake.
        case connectFailed
        /// The broker refused the user, the password or the virtual host.
        case authenticationFailed
        /// The connection broke, or the broker stopped answering heartbeats.
        case connectionLost
        /// The broker closed the connection with this reply code (320: it is shutting down).
        case connectionClosed(Int)
        /// The broker closed the channel with this reply code (404: not found, 405: locked, 406: precondition failed).
        case channelClosed(Int)
        /// The deadline passed first.
        case timedOut
        /// The URL or a name can't be used.
        case invalidConfiguration
        /// The delivery belongs to an earlier connection, or has been settled already.
        case staleDelivery
        /// An exchange or a queue exists with other properties than the topology says (reply code 406 on a declare).
        case topologyMismatch
        /// The broker cancelled the consumer, for instance because its queue was deleted.
        case consumerCancelled
        /// ``AMQPPublisher/close(deadline:)`` or its like has been called.
        case closed
    }

    /// What kind of failure it was.
    package let code: Code
    /// What happened, in words.
    package let reason: String

    /// Creates an error; `reason` must be safe to show.
    package init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// Whether the same operation may succeed later without anybody changing something.
    package var isRetryable: Bool {
        switch code {
        case .connectFailed, .connectionLost, .connectionClosed, .timedOut, .consumerCancelled: true
        case .channelClosed(let replyCode): replyCode != 403 && replyCode != 404
        case .authenticationFailed, .invalidConfiguration, .staleDelivery, .topologyMismatch, .closed: false
        }
    }

    package var description: String {
        "\(code): \(reason)"
    }
}

extension AMQPError.Code: CustomStringConvertible {
    package var description: String {
        switch self {
        case .connectFailed: "amqp_connect_failed"
        case .authenticationFailed: "amqp_authentication_failed"
        case .connectionLost: "amqp_connection_lost"
        case .connectionClosed(let replyCode): "amqp_connection_closed_\(replyCode)"
        case .channelClosed(let replyCode): "amqp_channel_closed_\(replyCode)"
        case .timedOut: "amqp_timed_out"
        case .invalidConfiguration: "amqp_invalid_configuration"
        case .staleDelivery: "amqp_stale_delivery"
        case .topologyMismatch: "amqp_topology_mismatch"
        case .consumerCancelled: "amqp_consumer_cancelled"
        case .closed: "amqp_closed"
        }
    }
}
