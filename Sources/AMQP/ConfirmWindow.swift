import DequeModule

/// Which published messages still wait for the broker's answer, and what each answer settles.
///
/// The broker numbers the messages of a channel from 1 as they arrive and answers with those numbers: one at a time or
/// all up to one (`multiple`), in any order. A message that no queue is bound for comes back as a `basic.return`, which
/// carries no number, and is then acknowledged like the others; the return always precedes that acknowledgement
/// (RabbitMQ, "Consumer Acknowledgements and Publisher Confirms"). A pure value: it knows no socket and no clock.
struct ConfirmWindow {
    /// What a return tells about the message it is about.
    struct Identity: Equatable {
        let exchange: String
        let routingKey: String
        let messageID: String?
    }

    /// Whose message it is: a batch, and the position in it.
    struct Ticket: Equatable {
        let batch: UInt64
        let index: Int
    }

    /// A message that has got its answer.
    struct Settlement: Equatable {
        let ticket: Ticket
        let outcome: PublishOutcome
    }

    private struct Entry {
        let ticket: Ticket
        let identity: Identity
        let sentAt: ContinuousClock.Instant
        var returned: PublishOutcome?
        var isSettled = false
    }

    // entries[i] has the number firstTag + i; settled ones stay until all before them are settled.
    private var entries: Deque<Entry> = []
    private var firstTag: UInt64 = 1

    /// The messages without an answer that came out of order, and those before them.
    var count: Int { entries.count }

    /// When the message that waits longest was sent.
    var oldest: ContinuousClock.Instant? { entries.first?.sentAt }

    /// Notes that a message has been sent; its number is one more than the last one's.
    mutating func sent(_ ticket: Ticket, identity: Identity, at instant: ContinuousClock.Instant) {
        entries.append(Entry(ticket: ticket, identity: identity, sentAt: instant))
    }

    /// Applies a `basic.ack`.
    mutating func acknowledged(_ tag: UInt64, multiple: Bool) -> [Settlement] {
        settle(tag, multiple: multiple) { $0.returned ?? .confirmed }
    }

    /// Applies a `basic.nack`.
    mutating func refused(_ tag: UInt64, multiple: Bool) -> [Settlement] {
        settle(tag, multiple: multiple) { _ in .nacked }
    }

    /// Applies a `basic.return`: the earliest waiting message of that identity will be settled as returned.
    ///
    /// Returns come in the order of publishing, so "the earliest" is exact when each message has its own id, and also
    /// without ids as long as nobody changes the bindings in between.
    mutating func returned(_ identity: Identity, code: Int, reason: String) {
        let position = entries.firstIndex { !$0.isSettled && $0.returned == nil && $0.identity == identity }
        guard let position else { return }
        entries[position].returned = .returned(code: code, reason: reason)
    }

    /// Settles all that wait, because their connection is gone; the next connection counts from 1 again.
    mutating func connectionLost() -> [Settlement] {
        let lost = entries.filter { !$0.isSettled }
        self = ConfirmWindow()
        return lost.map { Settlement(ticket: $0.ticket, outcome: $0.returned ?? .connectionLost) }
    }

    private mutating func settle(
        _ tag: UInt64,
        multiple: Bool,
        as outcome: (Entry) -> PublishOutcome
    ) -> [Settlement] {
        // 0 with `multiple` means all; a number that isn't ours is none of our messages.
        let last = tag == 0 && multiple ? entries.count : Int(clamping: tag &- firstTag &+ 1)
        guard tag >= firstTag || (tag == 0 && multiple), last >= 1, last <= entries.count else { return [] }
        var settlements: [Settlement] = []
        for position in (multiple ? 0 : last - 1)..<last where !entries[position].isSettled {
            entries[position].isSettled = true
            let entry = entries[position]
            settlements.append(Settlement(ticket: entry.ticket, outcome: outcome(entry)))
        }
        while entries.first?.isSettled == true {
            entries.removeFirst()
            firstTag += 1
        }
        return settlements
    }
}
