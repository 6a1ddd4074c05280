import Synchronization

/// The metrics of a process, and their page in the Prometheus text format 0.0.4.
///
/// Make one at start, make every metric from it once, and keep the handles. Names and labels are literals of the
/// program: a malformed or a repeated one traps. Safe from any thread.
package final class MetricsRegistry: Sendable {
    private struct Entry {
        let help: String
        let kind: String
        let write: @Sendable (inout PrometheusText) -> Void
    }

    private let entries = Mutex<[String: Entry]>([:])

    /// Creates a registry without metrics.
    package init() {}

    /// Makes a counter without labels; by convention its name ends in `_total`.
    package func counter(_ name: String, help: String) -> Counter {
        let counter = Counter()
        add(name, help: help, kind: "counter", labels: []) { $0.sample(name, value: counter.value) }
        return counter
    }

    /// Makes a family of counters that differ in the labels' values.
    package func counter(
        _ name: String,
        help: String,
        labels: [String],
        maximumChildren: Int = 1_000
    ) -> MetricFamily<Counter> {
        let family = MetricFamily(labels: labels, maximumChildren: maximumChildren) { Counter() }
        add(name, help: help, kind: "counter", labels: labels) { text in
            for (values, counter) in family.children() {
                text.sample(name, labels: zip(labels, values), value: counter.value)
            }
        }
        return family
    }

    /// Makes a gauge without labels, at zero.
    package func gauge(_ name: String, help: String) -> Gauge {
        let gauge = Gauge()
        add(name, help: help, kind: "gauge", labels: []) { $0.sample(name, value: gauge.value) }
        return gauge
    }

    /// Makes a family of gauges that differ in the labels' values.
    package func gauge(
        _ name: String,
        help: String,
        labels: [String],
        maximumChildren: Int = 1_000
    ) -> MetricFamily<Gauge> {
        let family = MetricFamily(labels: labels, maximumChildren: maximumChildren) { Gauge() }
        add(name, help: help, kind: "gauge", labels: labels) { text in
            for (values, gauge) in family.children() {
                text.sample(name, labels: zip(labels, values), value: gauge.value)
            }
        }
        return family
    }

    /// Adds a gauge whose value is asked for whenever the page is rendered.
    ///
    /// - Parameters:
    ///   - name: the metric's name.
    ///   - help: what the page says about it.
    ///   - sample: gives the value; called on the thread that renders, outside of any lock; must not block.
    package func gauge(_ name: String, help: String, sample: @escaping @Sendable () -> Double) {
        add(name, help: help, kind: "gauge", labels: []) { $0.sample(name, value: sample()) }
    }

    /// Makes a histogram without labels.
    ///
    /// The buckets are inclusive upper bounds, strictly ascending and finite; `+Inf` comes by itself.
    package func histogram(_ name: String, help: String, buckets: [Double]) -> Histogram {
        checkBuckets(buckets, of: name)
        let histogram = Histogram(bounds: buckets)
        add(name, help: help, kind: "histogram", labels: []) { text in
            text.histogram(name, labels: [], bounds: buckets, snapshot: histogram.snapshot())
        }
        return histogram
    }

    /// Makes a family of histograms that differ in the labels' values and share the buckets.
    ///
    /// The buckets are inclusive upper bounds, strictly ascending and finite; `+Inf` comes by itself.
    package func histogram(
        _ name: String,
        help: String,
        labels: [String],
        buckets: [Double],
        maximumChildren: Int = 1_000
    ) -> MetricFamily<Histogram> {
        checkBuckets(buckets, of: name)
        precondition(!labels.contains("le"), "\(name): the label 'le' belongs to the buckets")
        let family = MetricFamily(labels: labels, maximumChildren: maximumChildren) { Histogram(bounds: buckets) }
        add(name, help: help, kind: "histogram", labels: labels) { text in
            for (values, histogram) in family.children() {
                let pairs = Array(zip(labels, values))
                text.histogram(name, labels: pairs, bounds: buckets, snapshot: histogram.snapshot())
            }
        }
        return family
    }

    /// The page for the scraper: every metric, ordered by name, in the Prometheus text format 0.0.4.
    ///
    /// Each metric is consistent in itself; two metrics may be an instant apart.
    package func render() -> String {
        let entries = entries.withLock { $0 }
        var text = PrometheusText()
        for (name, entry) in entries.sorted(by: { $0.key < $1.key }) {
            text.header(name, help: entry.help, kind: entry.kind)
            entry.write(&text)
        }
        return text.page
    }

    private func add(
        _ name: String,
        help: String,
        kind: String,
        labels: [String],
        write: @escaping @Sendable (inout PrometheusText) -> Void
    ) {
        precondition(isName(name, colons: true), "'\(name)' is not a metric name")
        for label in labels {
            precondition(isName(label, colons: false), "\(name): '\(label)' is not a label name")
        }
        precondition(Set(labels).count == labels.count, "\(name): a label is named twice")
        let old = entries.withLock { $0.updateValue(Entry(help: help, kind: kind, write: write), forKey: name) }
        precondition(old == nil, "the metric \(name) was made before")
    }

    private func checkBuckets(_ bounds: [Double], of name: String) {
        let isAscending = zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }
        precondition(isAscending && bounds.allSatisfy(\.isFinite), "\(name): buckets must ascend and be finite")
    }

    private func isName(_ text: String, colons: Bool) -> Bool {
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            case UInt8(ascii: ":"): colons
            default: false
            }
        }
    }
}
