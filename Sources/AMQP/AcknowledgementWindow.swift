/// Which deliveries the broker still waits for, and how to acknowledge many of them in few frames.
///
/// The broker numbers the deliveries of a channel in their order, and one acknowledgement covers all up to a number
/// (`multiple`; RabbitMQ, "Consumer Acknowledgements and Publisher Confirms"): the queue then takes note of them once
/// and not one by one. What is done before an earlier delivery is done cannot be covered yet. A pure value: it knows no
/// socket and no clock.
struct AcknowledgementWindow {
    /// Neither done nor given back.
    private var open: Set<UInt64> = []
    /// Done, but the broker has not been told.
    private var done: Set<UInt64> = []

    /// How many are neither done nor given back.
    var openCount: Int { open.count }

    /// Takes in a delivery.
    mutating func deliver(_ tag: UInt64) {
        open.insert(tag)
    }

    /// Takes out a delivery of which the broker is told by itself; whether it was open.
    mutating func settle(_ tag: UInt64) -> Bool {
        open.remove(tag) != nil
    }

    /// Notes that a delivery is done; whether it was open.
    mutating func finish(_ tag: UInt64) -> Bool {
        guard open.remove(tag) != nil else { return false }
        done.insert(tag)
        return true
    }

    /// Up to which number one acknowledgement covers nothing but what is done; nil when it would cover none. The caller
    /// must tell the broker.
    mutating func takeCovered() -> UInt64? {
        guard !done.isEmpty else { return nil }
        let firstOpen = open.min() ?? .max
        let covered = done.filter { $0 < firstOpen }
        done.subtract(covered)
        return covered.max()
    }

    /// What is done and could not be covered, in order. The caller must tell the broker.
    mutating func takeRest() -> [UInt64] {
        defer { done.removeAll() }
        return done.sorted()
    }

    /// Whether something is done of which the broker has not been told.
    var hasRest: Bool { !done.isEmpty }

    /// Forgets everything: the broker gives it out again.
    mutating func removeAll() {
        open.removeAll()
        done.removeAll()
    }
}
