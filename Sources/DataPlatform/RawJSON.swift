/// JSON text taken apart and kept byte for byte.
///
/// The structure is checked by a decoder; here is what that lets pass, and the cutting.
enum RawJSON {
    private enum Token {
        /// A comma, a bracket or a brace outside of strings.
        case mark(UInt8, at: Int)
        /// What begins with a digit or a minus sign outside of strings.
        case number(ArraySlice<UInt8>)
    }

    /// Whether a text that a decoder takes may be passed on: UTF-8 without byte order mark, and well-formed numbers.
    ///
    /// Foundation's decoder guesses UTF-16 as well, and looks only at the numbers that it is asked for.
    static func isInterchangeable(_ text: [UInt8]) -> Bool {
        guard let first = trimmed(text[...]).first, first == UInt8(ascii: "{") || first == UInt8(ascii: "["),
            !text.contains(0), String(validating: text, as: UTF8.self) != nil
        else { return false }
        var isWellFormed = true
        scan(text) { token in
            if case .number(let number) = token, !isNumber(number) { isWellFormed = false }
        }
        return isWellFormed
    }

    /// The elements of a JSON array, without the white space around them; the text must be valid JSON.
    static func elements(ofArray text: [UInt8]) -> [ArraySlice<UInt8>] {
        var elements: [ArraySlice<UInt8>] = []
        var (depth, start) = (0, 0)
        scan(text) { token in
            guard case .mark(let byte, let index) = token else { return }
            if byte == UInt8(ascii: "[") || byte == UInt8(ascii: "{") {
                depth += 1
                if depth == 1 { start = index + 1 }
                return
            }
            if depth == 1 {
                elements.append(trimmed(text[start..<index]))
                start = index + 1
            }
            if byte != UInt8(ascii: ",") { depth -= 1 }
        }
        return elements == [[]] ? [] : elements
    }

    /// The text without white space around it, as JSON defines white space.
    static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
        guard let first = text.firstIndex(where: { !isSpace($0) }), let last = text.lastIndex(where: { !isSpace($0) })
        else { return [] }
        return text[first...last]
    }

    private static func scan(_ text: [UInt8], _ found: (Token) -> Void) {
        var index = 0
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "\""):
                index += 1
                while index < text.count, text[index] != UInt8(ascii: "\"") {
                    index += text[index] == UInt8(ascii: "\\") ? 2 : 1
                }
                index += 1
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                let number = text[index...].prefix(while: isPartOfNumber)
                found(.number(number))
                index = number.endIndex
            case UInt8(ascii: ","), UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: "{"), UInt8(ascii: "}"):
                found(.mark(text[index], at: index))
                index += 1
            default:
                index += 1
            }
        }
    }

    private static func isPartOfNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "e"), UInt8(ascii: "E"):
            true
        default: false
        }
    }

    /// RFC 8259 section 6: `[ minus ] int [ frac ] [ exp ]`.
    private static func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
        var rest = text
        func popDigits() -> Int {
            let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            rest = rest[digits.endIndex...]
            return digits.count
        }
        if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
        let hasLeadingZero = rest.first == UInt8(ascii: "0")
        let digits = popDigits()
        guard digits == 1 || (digits > 1 && !hasLeadingZero) else { return false }
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            guard popDigits() > 0 else { return false }
        }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest.removeFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
            guard popDigits() > 0 else { return false }
        }
        return rest.isEmpty
    }
}
