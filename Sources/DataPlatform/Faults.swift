/// How the platform misbehaves on `POST /v1/events`, as `PUT /v1/faults` sets it.
struct Faults: Codable, Equatable, Sendable {
    enum Mode: String, Codable, CaseIterable {
        /// Well-behaved.
        case ok
        /// Answers `status` to every request.
        case down
        /// Takes `latencyMs` before it deals with a request.
        case slow
        /// Answers `status` to the share `rate` of requests.
        case flaky
        /// Answers 422 to a request that has an event with one of `subjects`.
        case reject
        /// Never answers.
        case hang
    }

    static let statuses = 400...599
    static let latencies = 0...60_000
    static let rates = 0.0...1.0
    static let retryDelays = 0...86_400
    static let maximumSubjects = 10_000

    var mode = Mode.ok
    var status = 503
    var latencyMs = 0
    var rate = 1.0
    var subjects: [String] = []
    /// What the `Retry-After` header of `down` and `flaky` says, in seconds; nil for no header.
    var retryAfterS: Int?

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case mode, status, latencyMs, rate, subjects, retryAfterS
    }

    private struct AnyKey: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init() {}

    /// Takes the default for what is not given; refuses what it doesn't know and what is out of range.
    init(from decoder: any Decoder) throws {
        let known = Set(CodingKeys.allCases.map(\.rawValue))
        for key in try decoder.container(keyedBy: AnyKey.self).allKeys where !known.contains(key.stringValue) {
            throw FieldProblem(field: key.stringValue, code: "unknown", detail: "no such field")
        }
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        let name = try fields.decode(String.self, forKey: .mode)
        guard let mode = Mode(rawValue: name) else {
            let modes = Mode.allCases.map(\.rawValue).joined(separator: ", ")
            throw FieldProblem(field: "mode", code: "invalid", detail: "expected one of \(modes)")
        }
        self.mode = mode
        status = try fields.decodeIfPresent(Int.self, forKey: .status) ?? status
        latencyMs = try fields.decodeIfPresent(Int.self, forKey: .latencyMs) ?? latencyMs
        rate = try fields.decodeIfPresent(Double.self, forKey: .rate) ?? rate
        subjects = try fields.decodeIfPresent([String].self, forKey: .subjects) ?? subjects
        retryAfterS = try fields.decodeIfPresent(Int.self, forKey: .retryAfterS)
        try check(status, "status", in: Self.statuses)
        try check(latencyMs, "latencyMs", in: Self.latencies)
        try check(rate, "rate", in: Self.rates)
        try check(retryAfterS ?? 0, "retryAfterS", in: Self.retryDelays)
        try check(subjects.count, "subjects", in: 0...Self.maximumSubjects)
    }

    /// Writes every field, also the empty ones.
    func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(mode, forKey: .mode)
        try fields.encode(status, forKey: .status)
        try fields.encode(latencyMs, forKey: .latencyMs)
        try fields.encode(rate, forKey: .rate)
        try fields.encode(subjects, forKey: .subjects)
        try fields.encode(retryAfterS, forKey: .retryAfterS)
    }

    private func check<Value>(_ value: Value, _ field: String, in range: ClosedRange<Value>) throws {
        guard range.contains(value) else {
            let limits = "from \(range.lowerBound) to \(range.upperBound)"
            throw FieldProblem(field: field, code: "out_of_range", detail: "expected \(limits)")
        }
    }
}
