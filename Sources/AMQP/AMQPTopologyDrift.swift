/// An exchange or a queue that is not on the broker as a topology says.
package struct AMQPTopologyDrift: Sendable, Equatable {
    /// What it is.
    package enum Kind: String, Sendable {
        case exchange
        case queue
    }

    /// How it differs.
    package enum Difference: Sendable, Equatable {
        /// It doesn't exist.
        case missing
        /// It exists with another type or other arguments; in the broker's words.
        case other(String)
    }

    /// What it is.
    package let kind: Kind
    /// Its name.
    package let name: String
    /// How it differs.
    package let difference: Difference
}
