/// The exchanges, queues and bindings that a client needs; it declares them each time that it connects.
///
/// Declaring what exists already with the same properties changes nothing. What exists with other properties makes the
/// connection fail with `topologyMismatch`. Nothing is ever deleted by declaring.
package struct AMQPTopology: Sendable, Equatable {
    /// An exchange to declare.
    package struct Exchange: Sendable, Equatable {
        /// How an exchange picks the queues for a message.
        package enum Kind: String, Sendable {
            /// By patterns over the words of the routing key.
            case topic
            /// By equal routing keys.
            case direct
            /// All that are bound.
            case fanout
        }

        /// Its name; not empty.
        package let name: String
        /// How it picks queues.
        package let kind: Kind
        /// Whether it outlives a restart of the broker.
        package let durable: Bool

        /// Creates an exchange.
        package init(name: String, kind: Kind, durable: Bool = true) {
            self.name = name
            self.kind = kind
            self.durable = durable
        }
    }

    /// A queue to declare; never exclusive, never auto-deleted.
    package struct Queue: Sendable, Equatable {
        /// Its name; not empty.
        package let name: String
        /// Whether it outlives a restart of the broker; quorum queues must.
        package let durable: Bool
        /// The `x-…` arguments; the broker won't let them change later.
        package let arguments: [String: AMQPField]

        /// Creates a queue.
        package init(name: String, durable: Bool = true, arguments: [String: AMQPField] = [:]) {
            self.name = name
            self.durable = durable
            self.arguments = arguments
        }
    }

    /// A binding of a queue to an exchange.
    package struct Binding: Sendable, Equatable {
        /// The queue that gets the messages.
        package let queue: String
        /// The exchange that they are published to.
        package let exchange: String
        /// The key, or the pattern for a topic exchange.
        package let routingKey: String

        /// Creates a binding.
        package init(queue: String, exchange: String, routingKey: String) {
            self.queue = queue
            self.exchange = exchange
            self.routingKey = routingKey
        }
    }

    /// The exchanges, declared first.
    package var exchanges: [Exchange]
    /// The queues, declared second.
    package var queues: [Queue]
    /// The bindings, declared last.
    package var bindings: [Binding]

    /// Creates a topology; declared in the order exchanges, queues, bindings.
    package init(exchanges: [Exchange] = [], queues: [Queue] = [], bindings: [Binding] = []) {
        self.exchanges = exchanges
        self.queues = queues
        self.bindings = bindings
    }
}
