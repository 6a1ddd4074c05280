/// Writes one JSON object, member by member, into text without line breaks.
///
/// For log lines and health answers: small, flat, in the order given, and never failing.
struct JSONObjectText {
    private var text = "{"

    /// The finished object.
    var finished: String { text + "}" }

    mutating func add(_ key: String, _ value: String) {
        addKey(key)
        Self.append(value, to: &text)
    }

    /// Adds a member whose value is JSON already.
    mutating func add(_ key: String, json: String) {
        addKey(key)
        text += json
    }

    /// The text as a JSON string, with its quotes.
    static func string(_ value: String) -> String {
        var text = ""
        append(value, to: &text)
        return text
    }

    private mutating func addKey(_ key: String) {
        if text.utf8.count > 1 { text += "," }
        Self.append(key, to: &text)
        text += ":"
    }

    private static func append(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += #"\""#
            case "\\": text += #"\\"#
            case "\n": text += #"\n"#
            case "\r": text += #"\r"#
            case "\t": text += #"\t"#
            // Control characters must be escaped; the two line separators break naive line readers.
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
