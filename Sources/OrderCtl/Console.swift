import Glibc
import ServiceRuntime

/// What the command writes to.
enum Console {
    /// How text stands out on a terminal.
    enum Style: String {
        case good = "32"
        case warning = "33"
        case bad = "31"
        case faint = "2"
    }

    /// Whether standard output is a terminal: only then there are colours.
    static let isTerminal = isatty(STDOUT_FILENO) == 1
    /// Whether standard error is one: only then progress is shown.
    static let showsProgress = isatty(STDERR_FILENO) == 1

    /// The text in a style, on a terminal.
    static func styled(_ text: String, _ style: Style) -> String {
        isTerminal ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Writes to standard error, which leaves standard output to the answer.
    static func note(_ text: String) {
        write(text, to: STDERR_FILENO)
    }

    /// Writes all of it, unless the reader is gone.
    static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

extension TextTable {
    /// Adds a row: a cell for each column, `style` for the first of them.
    mutating func add(_ cells: [String], style: Console.Style?) {
        add(cells) { text in style.map { Console.styled(text, $0) } ?? text }
    }
}

/// The beginning of a text on one line.
func shortened(_ text: String, to length: Int) -> String {
    let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
    return line.count <= length ? line : line.prefix(length - 1) + "…"
}
