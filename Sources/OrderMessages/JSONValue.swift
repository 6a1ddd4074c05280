package import FoundationEssentials

/// Any JSON value: what a request's body is before it is known to be right.
///
/// Reading a body into this first lets one pass name everything that is wrong with it.
package enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// A number written without fraction and exponent that is a 64-bit integer.
    case integer(Int64)
    /// Any other number; infinite when it is too large for a `Double`.
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// Reads a body, which must be exactly one value as RFC 8259 has it, in UTF-8 without byte order mark.
    ///
    /// Throws ``JSONSyntaxError`` when it is not, when it is nested more than 64 deep, when an object names a member
    /// twice or by more than 256 bytes, and when a text has half a surrogate pair. Takes time in proportion to the
    /// size, whatever the content.
    package init(parsing body: Data) throws(JSONSyntaxError) {
        self = try JSONParser.parse([UInt8](body))
    }
}
