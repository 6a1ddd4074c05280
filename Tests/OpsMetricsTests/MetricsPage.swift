/// A small reader of the Prometheus text format, written from its specification and not from the writer's code.
struct MetricsPage {
    struct Sample: Equatable {
        var name: String
        var labels: [String: String]
        var value: Double
    }

    struct SyntaxError: Error {
        let line: String
        let reason: String
    }

    private(set) var help: [String: String] = [:]
    private(set) var kinds: [String: String] = [:]
    private(set) var samples: [Sample] = []
    /// The metric names in the order of their TYPE lines.
    private(set) var order: [String] = []

    init(_ text: String) throws {
        guard text.isEmpty || text.hasSuffix("\n") else {
            throw SyntaxError(line: text, reason: "no line break at the end")
        }
        for line in text.split(separator: "\n") {
            if line.hasPrefix("# HELP ") {
                let (name, rest) = try Self.words(line.dropFirst(7))
                guard help.updateValue(try Self.unescape(rest, quotes: false), forKey: name) == nil else {
                    throw SyntaxError(line: String(line), reason: "second HELP")
                }
            } else if line.hasPrefix("# TYPE ") {
                let (name, kind) = try Self.words(line.dropFirst(7))
                guard kinds.updateValue(kind, forKey: name) == nil else {
                    throw SyntaxError(line: String(line), reason: "second TYPE")
                }
                order.append(name)
            } else {
                samples.append(try Self.sample(line))
            }
        }
        try checkFamilies()
    }

    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        samples.first { $0.name == name && $0.labels == labels }?.value
    }

    /// Each sample must belong to a TYPE line above it; a histogram's buckets must never fall, and end in `+Inf`.
    private func checkFamilies() throws {
        for sample in samples {
            let base = ["_bucket", "_sum", "_count"].first { sample.name.hasSuffix($0) }
                .map { String(sample.name.dropLast($0.count)) }
            guard kinds[sample.name] != nil || base.flatMap({ kinds[$0] }) == "histogram" else {
                throw SyntaxError(line: sample.name, reason: "a sample without TYPE")
            }
        }
        for (name, _) in kinds.filter({ $0.value == "histogram" }) {
            let buckets = samples.filter { $0.name == "\(name)_bucket" }
            let series = Dictionary(grouping: buckets) { $0.labels.filter { $0.key != "le" } }
            for (labels, buckets) in series {
                guard zip(buckets, buckets.dropFirst()).allSatisfy({ $0.value <= $1.value }),
                    buckets.last?.labels["le"] == "+Inf",
                    buckets.last?.value == value("\(name)_count", labels),
                    value("\(name)_sum", labels) != nil
                else { throw SyntaxError(line: name, reason: "a broken histogram") }
            }
        }
    }

    private static func words(_ text: Substring) throws -> (String, String) {
        guard let space = text.firstIndex(of: " ") else { throw SyntaxError(line: String(text), reason: "one word") }
        return (String(text[..<space]), String(text[text.index(after: space)...]))
    }

    private static func unescape(_ text: String, quotes: Bool) throws -> String {
        var result = ""
        var iterator = text.makeIterator()
        while let character = iterator.next() {
            guard character == "\\" else {
                result.append(character)
                continue
            }
            switch iterator.next() {
            case "\\": result.append("\\")
            case "n": result.append("\n")
            case "\"" where quotes: result.append("\"")
            default: throw SyntaxError(line: text, reason: "an unknown escape")
            }
        }
        return result
    }

    private static func sample(_ line: Substring) throws -> Sample {
        guard let space = line.lastIndex(of: " ") else { throw SyntaxError(line: String(line), reason: "no value") }
        let text = String(line[line.index(after: space)...])
        let special = ["+Inf": Double.infinity, "-Inf": -Double.infinity, "NaN": Double.nan]
        guard let value = special[text] ?? Double(text) else { throw SyntaxError(line: text, reason: "not a number") }
        let series = line[..<space]
        guard let brace = series.firstIndex(of: "{") else {
            return Sample(name: String(series), labels: [:], value: value)
        }
        guard series.last == "}" else { throw SyntaxError(line: String(line), reason: "no closing brace") }
        let inside = series[series.index(after: brace)...].dropLast()
        return Sample(name: String(series[..<brace]), labels: try labels(inside), value: value)
    }

    private static func labels(_ text: Substring) throws -> [String: String] {
        var labels: [String: String] = [:]
        var rest = text
        while !rest.isEmpty {
            guard let equals = rest.firstIndex(of: "="), rest[equals...].hasPrefix("=\"") else {
                throw SyntaxError(line: String(text), reason: "no =\"")
            }
            let name = String(rest[..<equals])
            rest = rest[equals...].dropFirst(2)
            var raw = ""
            while let character = rest.popFirst(), character != "\"" {
                raw.append(character)
                if character == "\\", let next = rest.popFirst() { raw.append(next) }
            }
            labels[name] = try unescape(raw, quotes: true)
            if rest.first == "," { rest.removeFirst() }
        }
        return labels
    }
}
