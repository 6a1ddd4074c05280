package import FoundationEssentials
import OrderDomain

/// An object of the order path: its fields are written down once, for ``JSONText`` and for the library's coders alike.
///
/// The library's coder takes ten times as long for an order, and an order is written twice: as the answer and in its
/// event. Lists and everything off the path go through ``encoded(_:)``.
package protocol FieldTable: Encodable, Sendable {
    /// Writes every field, in alphabetical order.
    func write<Writer: FieldWriter>(to fields: inout Writer) throws(Writer.Failure)
}

extension FieldTable {
    package func encode(to encoder: any Encoder) throws {
        var fields = CodedFields(container: encoder.container(keyedBy: CodedFields.Name.self))
        try write(to: &fields)
    }
}

/// What a ``FieldTable`` writes its fields to.
package protocol FieldWriter {
    /// What may go wrong.
    associatedtype Failure: Error

    /// Writes a number.
    mutating func integer(_ name: String, _ value: Int64) throws(Failure)
    /// Writes a text.
    mutating func text(_ name: String, _ value: String) throws(Failure)
    /// Writes a UUID in lower case.
    mutating func uuid(_ name: String, _ value: UUID) throws(Failure)
    /// Writes a time in RFC 3339.
    mutating func time(_ name: String, _ value: Date) throws(Failure)
    /// Writes an object.
    mutating func object(_ name: String, _ value: some FieldTable) throws(Failure)
    /// Writes a list of objects.
    mutating func objects<Value: FieldTable>(_ name: String, _ values: some Sequence<Value>) throws(Failure)
}

/// Writes fields to a coder of the library.
private struct CodedFields: FieldWriter {
    struct Name: CodingKey {
        let stringValue: String
        let intValue: Int? = nil

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    var container: KeyedEncodingContainer<Name>

    mutating func integer(_ name: String, _ value: Int64) throws {
        try container.encode(value, forKey: Name(stringValue: name))
    }

    mutating func text(_ name: String, _ value: String) throws {
        try container.encode(value, forKey: Name(stringValue: name))
    }

    mutating func uuid(_ name: String, _ value: UUID) throws { try text(name, value.text) }

    mutating func time(_ name: String, _ value: Date) throws { try text(name, value.rfc3339) }

    mutating func object(_ name: String, _ value: some FieldTable) throws {
        try container.encode(value, forKey: Name(stringValue: name))
    }

    mutating func objects<Value: FieldTable>(_ name: String, _ values: some Sequence<Value>) throws {
        try container.encode(Array(values), forKey: Name(stringValue: name))
    }
}
