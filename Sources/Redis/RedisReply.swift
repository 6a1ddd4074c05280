/// A reply of the server (RESP2), copied out of hiredis' memory.
package enum RedisReply: Sendable, Equatable {
    /// The null bulk string or the null array.
    case null
    /// An integer.
    case integer(Int64)
    /// A binary-safe string.
    case bulk([UInt8])
    /// A short word such as `OK`.
    case status(String)
    /// Replies in order; hiredis reads at most 9 levels.
    case array([RedisReply])
    /// An error, which only the elements of an array and the replies of a pipeline can be.
    case error(RedisServerError)

    /// The text of a bulk string that is valid UTF-8, or of a status; `nil` for every other reply.
    package var string: String? {
        switch self {
        case .bulk(let bytes): String(validating: bytes, as: UTF8.self)
        case .status(let text): text
        case .null, .integer, .array, .error: nil
        }
    }

    /// The value of an integer reply; `nil` for every other reply.
    package var number: Int64? {
        if case .integer(let value) = self { value } else { nil }
    }

    /// The elements of an array; `nil` for every other reply.
    package var items: [RedisReply]? {
        if case .array(let elements) = self { elements } else { nil }
    }
}
