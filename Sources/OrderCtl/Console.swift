import Glibc

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

/// Lines with columns that line up.
struct TextTable {
    /// To which side a column's cells are pushed.
    enum Alignment {
        case left
        case right
    }

    private let alignments: [Alignment]
    private var rows: [[String]]
    private var styles: [Console.Style?] = [nil]

    init(_ columns: [(title: String, alignment: Alignment)]) {
        alignments = columns.map(\.alignment)
        rows = [columns.map(\.title)]
    }

    /// Adds a row: a cell for each column, `style` for the first of them.
    mutating func add(_ cells: [String], style: Console.Style? = nil) {
        rows.append(cells)
        styles.append(style)
    }

    /// The table, a line a row, without spaces at the ends.
    var text: String {
        let widths = alignments.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return zip(rows, styles).map { row, style in
            var cells = zip(zip(row, alignments), widths).map { cell, width in
                let space = String(repeating: " ", count: width - cell.0.count)
                return cell.1 == .left ? cell.0 + space : space + cell.0
            }
            while cells.count > 1, cells[cells.count - 1].allSatisfy({ $0 == " " }) { cells.removeLast() }
            let last = cells.count - 1
            if alignments[last] == .left { cells[last] = row[last] }
            if let style { cells[0] = Console.styled(cells[0], style) }
            return cells.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}

/// The beginning of a text on one line.
func shortened(_ text: String, to length: Int) -> String {
    let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
    return line.count <= length ? line : line.prefix(length - 1) + "…"
}
