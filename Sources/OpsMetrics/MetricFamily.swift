import Synchronization

/// The metrics that share a name and differ in the values of their labels.
///
/// A family remembers at most ``maximumChildren`` of them. Label values beyond that share one more child, whose labels
/// all say `other`, so that no caller can make the process's memory or its metrics page grow without end.
package final class MetricFamily<Metric: AnyObject & Sendable>: Sendable {
    private struct State {
        var children: [[String]: Metric] = [:]
        var overflow: Metric?
    }

    /// The most children with label values of their own.
    package let maximumChildren: Int
    let labels: [String]
    private let make: @Sendable () -> Metric
    private let state = Mutex(State())

    init(labels: [String], maximumChildren: Int, make: @escaping @Sendable () -> Metric) {
        self.labels = labels
        self.maximumChildren = maximumChildren
        self.make = make
    }

    /// The metric with these label values, in the order in which the family's labels were given.
    ///
    /// The same values give the same metric each time. It costs a lock and a dictionary look-up: hot paths keep what
    /// they get. Traps when the number of values is not the number of labels.
    package func with(_ values: String...) -> Metric {
        precondition(values.count == labels.count, "expected a value for each of the labels \(labels)")
        return state.withLock { state in
            if let child = state.children[values] { return child }
            if state.children.count < maximumChildren {
                let child = make()
                state.children[values] = child
                return child
            }
            let overflow = state.overflow ?? make()
            state.overflow = overflow
            return overflow
        }
    }

    /// Every child with its label values, ordered by them; the shared one comes last.
    func children() -> [(values: [String], metric: Metric)] {
        let (children, overflow) = state.withLock { ($0.children, $0.overflow) }
        var sorted = children.map { (values: $0.key, metric: $0.value) }
        sorted.sort { $0.values.lexicographicallyPrecedes($1.values) }
        if let overflow {
            sorted.append((labels.map { _ in "other" }, overflow))
        }
        return sorted
    }
}
