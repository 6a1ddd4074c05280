/// Writes the Prometheus text exposition format 0.0.4.
///
/// The format: https://prometheus.io/docs/instrumenting/exposition_formats/
struct PrometheusText {
    private(set) var page = ""

    mutating func header(_ name: String, help: String, kind: String) {
        page += "# HELP \(name) "
        append(help, escapingQuotes: false)
        page += "\n# TYPE \(name) \(kind)\n"
    }

    mutating func sample(_ name: String, value: Double) {
        sample(name, labels: EmptyCollection(), value: value)
    }

    mutating func sample(_ name: String, labels: some Sequence<(String, String)>, value: Double) {
        page += name
        var separator = "{"
        for (label, value) in labels {
            page += "\(separator)\(label)=\""
            append(value, escapingQuotes: true)
            page += "\""
            separator = ","
        }
        if separator == "," { page += "}" }
        page += " \(format(value))\n"
    }

    mutating func histogram(
        _ name: String,
        labels: [(String, String)],
        bounds: [Double],
        snapshot: Histogram.Snapshot
    ) {
        var cumulated: UInt64 = 0
        for (bound, count) in zip(bounds + [.infinity], snapshot.counts) {
            cumulated += count
            sample("\(name)_bucket", labels: labels + [("le", format(bound))], value: Double(cumulated))
        }
        sample("\(name)_sum", labels: labels, value: snapshot.sum)
        sample("\(name)_count", labels: labels, value: Double(cumulated))
    }

    private mutating func append(_ text: String, escapingQuotes: Bool) {
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": page += #"\\"#
            case "\n": page += #"\n"#
            case "\"" where escapingQuotes: page += #"\""#
            default: page.unicodeScalars.append(scalar)
            }
        }
    }

    /// A number as Go's `ParseFloat` reads it; whole numbers without a fraction.
    private func format(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        // 2^53: every whole number up to here is exact.
        if value.rounded() == value, value.magnitude < 9_007_199_254_740_992 { return String(Int64(value)) }
        return value.description
    }
}
