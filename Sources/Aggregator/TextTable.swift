/// A table whose columns line up: what is marked as a number on the right, all else on the left.
struct TextTable {
    struct Column {
        let head: String
        var isNumber = false
    }

    let columns: [Column]
    let rows: [[String]]

    var text: String {
        let lines = [columns.map(\.head)] + rows
        let widths = columns.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            let cells = columns.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - line[column].count)
                return columns[column].isNumber ? padding + line[column] : line[column] + padding
            }
            let text = cells.joined(separator: "  ")
            return String(text.reversed().drop { $0 == " " }.reversed())
        }
        .joined(separator: "\n")
    }
}
