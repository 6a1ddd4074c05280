import DequeModule

/// The pool's rules: who may use a connection, who waits, and in which order.
///
/// A pool hands out permits, never more than `maximumConnections`. A permit comes with an idle connection, or with the
/// duty to open one. Pure: it does nothing but decide, and knows neither servers nor time.
struct PoolState<Connection> {
    typealias WaiterID = UInt64

    /// A permit.
    enum Lease {
        case reuse(Connection)
        case open
    }

    enum Acquisition {
        case granted(Lease)
        /// A later ``release(_:)`` names this waiter, unless ``abandon(_:)`` comes first.
        case queued
        case refusedExhausted
        case refusedClosed
    }

    /// What to do after a permit came back.
    struct Release {
        /// The waiter who gets the permit next.
        var grant: (waiter: WaiterID, lease: Lease)?
        /// A connection to close.
        var close: Connection?
    }

    let maximumConnections: Int
    let maximumWaiters: Int
    private(set) var leased = 0
    /// The one used last is used next, so that the rest may rest.
    private(set) var idle: [Connection] = []
    private var queue: Deque<WaiterID> = []
    /// Those of `queue` that still wait; the others are skipped when their turn comes.
    private var waiting: Set<WaiterID> = []
    private(set) var isClosed = false

    init(maximumConnections: Int, maximumWaiters: Int) {
        self.maximumConnections = maximumConnections
        self.maximumWaiters = maximumWaiters
    }

    var waiterCount: Int { waiting.count }

    mutating func acquire(_ waiter: WaiterID) -> Acquisition {
        if isClosed { return .refusedClosed }
        if leased < maximumConnections {
            leased += 1
            return .granted(idle.popLast().map { .reuse($0) } ?? .open)
        }
        guard waiting.count < maximumWaiters else { return .refusedExhausted }
        waiting.insert(waiter)
        queue.append(waiter)
        return .queued
    }

    /// A permit comes back, with a connection that can be used again, or with nil.
    mutating func release(_ connection: Connection?) -> Release {
        if !isClosed {
            while let waiter = queue.popFirst() {
                guard waiting.remove(waiter) != nil else { continue }
                return Release(grant: (waiter, connection.map { .reuse($0) } ?? .open))
            }
        }
        leased -= 1
        guard let connection else { return Release() }
        if isClosed { return Release(close: connection) }
        idle.append(connection)
        return Release()
    }

    /// A waiter gives up; false when it was not waiting any more, and then it has been granted a permit.
    mutating func abandon(_ waiter: WaiterID) -> Bool {
        guard waiting.remove(waiter) != nil else { return false }
        // Those at the front go at once; a queue of the abandoned must not grow while no permit comes back.
        while let first = queue.first, !waiting.contains(first) { queue.removeFirst() }
        if queue.count > 2 * maximumWaiters { queue.removeAll { !waiting.contains($0) } }
        return true
    }

    /// Closes: everyone who waits is refused, idle connections are closed, the others when they come back.
    mutating func close() -> (waiters: [WaiterID], idle: [Connection]) {
        isClosed = true
        defer {
            queue = []
            waiting = []
            idle = []
        }
        return (queue.filter { waiting.contains($0) }, idle)
    }
}

extension PoolState.Lease: Sendable where Connection: Sendable {}
