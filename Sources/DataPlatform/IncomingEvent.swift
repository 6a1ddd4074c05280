import FoundationEssentials
import HTTPTypes

/// A CloudEvent as it came: what the platform needs of it, and the JSON object byte for byte.
struct IncomingEvent: Sendable {
    /// The most events of a batch.
    static let maximumBatch = 1_000
    /// The most bytes of an event's id.
    static let maximumIDBytes = 255
    /// The most bytes of any other required attribute.
    static let maximumAttributeBytes = 1_024
    /// The most problems that one answer lists.
    static let maximumProblems = 20

    let id: String
    let subject: String
    let json: ArraySlice<UInt8>

    private struct Attributes: Decodable {
        let specversion: String?
        let id: String?
        let source: String?
        let type: String?
        let subject: String?

        /// What is wrong with the attributes of the event at this place.
        func problems(at place: String) -> [FieldProblem] {
            var problems: [FieldProblem] = []
            let required = [
                ("id", id, IncomingEvent.maximumIDBytes), ("source", source, IncomingEvent.maximumAttributeBytes),
                ("type", type, IncomingEvent.maximumAttributeBytes),
                ("subject", subject, IncomingEvent.maximumAttributeBytes),
            ]
            for (name, value, limit) in required where !(1...limit).contains(value?.utf8.count ?? 0) {
                let detail = value == nil ? "is required" : "must have 1 to \(limit) bytes"
                problems.append(
                    FieldProblem(field: place + name, code: value == nil ? "required" : "length", detail: detail)
                )
            }
            if specversion != "1.0" {
                problems.append(FieldProblem(field: place + "specversion", code: "unsupported", detail: "must be 1.0"))
            }
            return problems
        }
    }

    /// Reads one event.
    static func one(_ body: [UInt8]) throws(Problem) -> IncomingEvent {
        let attributes = try decode(Attributes.self, body)
        let events = try check([(attributes, RawJSON.trimmed(body[...]))]) { _ in "" }
        return events[0]
    }

    /// Reads a batch, which may be empty.
    static func batch(_ body: [UInt8]) throws(Problem) -> [IncomingEvent] {
        let attributes = try decode([Attributes].self, body)
        guard attributes.count <= maximumBatch else {
            let detail = "A batch has at most \(maximumBatch) events."
            throw Problem(status: .contentTooLarge, code: "batch_too_large", detail: detail)
        }
        return try check(Array(zip(attributes, RawJSON.elements(ofArray: body)))) { "[\($0)]." }
    }

    private static func decode<Value: Decodable>(_ type: Value.Type, _ body: [UInt8]) throws(Problem) -> Value {
        guard RawJSON.isInterchangeable(body) else { throw Problem.malformed }
        do {
            return try JSONDecoder().decode(type, from: Data(body))
        } catch {
            throw Problem.decoding(error)
        }
    }

    private static func check(
        _ events: [(Attributes, ArraySlice<UInt8>)],
        place: (Int) -> String
    ) throws(Problem) -> [IncomingEvent] {
        var problems: [FieldProblem] = []
        var checked: [IncomingEvent] = []
        for (index, (attributes, json)) in events.enumerated() {
            let found = attributes.problems(at: place(index))
            problems += found
            guard found.isEmpty, let id = attributes.id, let subject = attributes.subject else { continue }
            checked.append(IncomingEvent(id: id, subject: subject, json: json))
        }
        guard problems.isEmpty else { throw Problem.invalid(Array(problems.prefix(maximumProblems))) }
        return checked
    }
}
