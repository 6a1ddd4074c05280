/// One thing that is wrong with a request, and what would be right.
package struct FieldError: Hashable, FieldTable {
    /// Where: `name`, `items[2].quantity`, or the name of a query parameter.
    package let field: String
    /// What: `required`, `wrong_type`, `out_of_range`, `too_short`, `too_long`, `unknown_field`, `invalid`.
    package let code: String
    /// What would be right, for people.
    package let detail: String

    /// Makes an error.
    package init(field: String, code: String, detail: String) {
        self.field = field
        self.code = code
        self.detail = detail
    }

    /// Writes every field, in alphabetical order.
    package func write<Writer: FieldWriter>(to fields: inout Writer) throws(Writer.Failure) {
        try fields.text("code", code)
        try fields.text("detail", detail)
        try fields.text("field", field)
    }
}

/// Everything that is wrong with a request (answered as 422).
package struct ValidationFailure: Error, Hashable, Sendable {
    package let errors: [FieldError]

    /// Makes a failure; it holds at least one error.
    package init(_ errors: [FieldError]) {
        self.errors = errors
    }
}

/// Reads the fields of one JSON object and collects what is wrong with all of them.
package struct FieldReader {
    private let fields: [String: JSONValue]
    private let path: String
    /// The names that were asked for; a handful.
    private var read: [String] = []
    /// What was wrong so far.
    package private(set) var errors: [FieldError] = []

    /// Opens an object.
    ///
    /// - Parameters:
    ///   - value: what should be an object.
    ///   - path: where it stands in the body; empty for the body itself.
    package init(_ value: JSONValue, path: String = "") {
        self.path = path
        if case .object(let fields) = value {
            self.fields = fields
        } else {
            fields = [:]
            errors.append(
                FieldError(
                    field: path.isEmpty ? "body" : path,
                    code: "wrong_type",
                    detail: "must be a JSON object"
                )
            )
        }
    }

    /// A whole number in `range`, or nil with an error noted.
    package mutating func integer(_ name: String, in range: ClosedRange<Int64>) -> Int64? {
        let bounds = "must be a whole number from \(range.lowerBound) to \(range.upperBound)"
        switch value(name) {
        case .integer(let number) where range.contains(number): return number
        case .number(let number):
            // JSON has no whole numbers of its own: 5.0 is the number 5.
            if let whole = Int64(exactly: number), range.contains(whole) { return whole }
            return note(name, "out_of_range", bounds)
        case .integer: return note(name, "out_of_range", bounds)
        case .null: return note(name, "required", bounds)
        default: return note(name, "wrong_type", bounds)
        }
    }

    /// A text of so many characters, trimmed of nothing, without control characters; nil with an error noted.
    package mutating func text(_ name: String, length: ClosedRange<Int>) -> String? {
        let bounds = "must be a text of \(length.lowerBound) to \(length.upperBound) characters"
        switch value(name) {
        case .string(let text): return checked(text, name, length, bounds)
        case .null: return note(name, "required", bounds)
        default: return note(name, "wrong_type", bounds)
        }
    }

    /// Like ``text(_:length:)``, but may be absent or null.
    package mutating func optionalText(_ name: String, length: ClosedRange<Int>) -> String? {
        guard case .string(let text) = value(name) else {
            guard value(name) == .null else { return note(name, "wrong_type", "must be a text or null") }
            return nil
        }
        return checked(text, name, length, "must be a text of \(length.lowerBound) to \(length.upperBound) characters")
    }

    /// One of the texts that a type knows; nil with an error noted.
    package mutating func choice<Choice: RawRepresentable<String> & CaseIterable>(_ name: String) -> Choice? {
        let choices = "must be one of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))"
        switch value(name) {
        case .string(let text): return Choice(rawValue: text) ?? note(name, "invalid", choices)
        case .null: return note(name, "required", choices)
        default: return note(name, "wrong_type", choices)
        }
    }

    /// Whether the object has a field of this name, null included.
    package func isPresent(_ name: String) -> Bool {
        fields[name] != nil
    }

    /// A list of so many elements, each read by `element`; nil with an error noted.
    package mutating func list<T>(
        _ name: String,
        count: ClosedRange<Int>,
        _ element: (inout FieldReader) -> T?
    ) -> [T]? {
        let bounds = "must be a list of \(count.lowerBound) to \(count.upperBound) elements"
        switch value(name) {
        case .array(let values) where count.contains(values.count):
            var elements: [T] = []
            for (index, value) in values.enumerated() {
                var reader = FieldReader(value, path: "\(place(name))[\(index)]")
                let read = reader.errors.isEmpty ? element(&reader) : nil
                errors += reader.finished()
                if let read { elements.append(read) }
            }
            return elements.count == values.count ? elements : nil
        case .array: return note(name, "out_of_range", bounds)
        case .null: return note(name, "required", bounds)
        default: return note(name, "wrong_type", bounds)
        }
    }

    /// Notes that a field's value is wrong.
    package mutating func note<T>(_ name: String, _ code: String, _ detail: String) -> T? {
        errors.append(FieldError(field: place(name), code: code, detail: detail))
        return nil
    }

    /// All errors, those of fields that nobody asked for included.
    package func finished() -> [FieldError] {
        let unknown = fields.keys.lazy.filter(isUnknown).smallest(20) { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        return errors
            + unknown.map {
                FieldError(
                    field: place(String($0.prefix(64))),
                    code: "unknown_field",
                    detail: "is not a field of this request"
                )
            }
    }

    /// Compared byte by byte: to hash or to sort a hostile name as a `String` it is normalized each time.
    private func isUnknown(_ name: String) -> Bool {
        !read.contains { $0.utf8.elementsEqual(name.utf8) }
    }

    private func place(_ name: String) -> String {
        path.isEmpty ? name : "\(path).\(name)"
    }

    private mutating func value(_ name: String) -> JSONValue {
        read.append(name)
        return fields[name] ?? .null
    }

    private mutating func checked(
        _ text: String,
        _ name: String,
        _ length: ClosedRange<Int>,
        _ bounds: String
    ) -> String? {
        guard text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) else {
            return note(name, "invalid", "must not contain control characters")
        }
        let count = text.unicodeScalars.count
        guard length.contains(count) else {
            return note(name, count > length.upperBound ? "too_long" : "too_short", bounds)
        }
        return text
    }
}

extension Sequence {
    /// The first `count` of the elements in order; compares each with at most `log2(count) + 2` others, whatever their
    /// order.
    package func smallest(_ count: Int, by precedes: (Element, Element) -> Bool) -> [Element] {
        var smallest: [Element] = []
        for element in self {
            if smallest.count == count {
                guard let last = smallest.last, precedes(element, last) else { continue }
                smallest.removeLast()
            }
            var places = 0..<smallest.count
            while !places.isEmpty {
                let middle = places.lowerBound + places.count / 2
                if precedes(element, smallest[middle]) {
                    places = places.lowerBound..<middle
                } else {
                    places = (middle + 1)..<places.upperBound
                }
            }
            smallest.insert(element, at: places.lowerBound)
        }
        return smallest
    }
}
