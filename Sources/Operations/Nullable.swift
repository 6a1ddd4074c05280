/// A member of a JSON object that is null where there is no value; a plain optional would be left out.
package struct Nullable<Value: Encodable>: Encodable {
    private let value: Value?

    /// The value, or null.
    package init(_ value: Value?) {
        self.value = value
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let value { try container.encode(value) } else { try container.encodeNil() }
    }
}
