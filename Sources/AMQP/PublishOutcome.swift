/// What became of a published message.
package enum PublishOutcome: Sendable, Equatable {
    /// The broker has it: every queue that it was routed to has stored it.
    case confirmed
    /// The broker refused it; for instance because a queue is full and rejects.
    case nacked
    /// No queue was bound for it (reply code 312), so it was dropped.
    case returned(code: Int, reason: String)
    /// The deadline passed before the broker answered, or before the message could be sent; it may be there or not.
    case timedOut
    /// The connection broke between sending and the answer; it may be there or not.
    case connectionLost
    /// The body is over the publisher's limit; nothing was sent.
    case tooLarge
    /// It can't be expressed on the wire; nothing was sent.
    case invalid(String)
}
