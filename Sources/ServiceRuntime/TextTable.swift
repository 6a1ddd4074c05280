/// Lines with columns that line up, for people.
package struct TextTable {
    /// To which side a column's cells are pushed.
    package enum Alignment {
        case left
        case right
    }

    private let alignments: [Alignment]
    private var rows: [[String]]
    private var decorations: [@Sendable (String) -> String] = [{ $0 }]

    /// A table with a row of titles.
    package init(_ columns: [(title: String, alignment: Alignment)]) {
        alignments = columns.map(\.alignment)
        rows = [columns.map(\.title)]
    }

    /// Adds a row: a cell for each column.
    ///
    /// - Parameter decoration: is put around the first cell, such as a colour; what it adds has no width.
    package mutating func add(_ cells: [String], decoration: @escaping @Sendable (String) -> String = { $0 }) {
        rows.append(cells)
        decorations.append(decoration)
    }

    /// The table, a line a row, without spaces at the ends.
    package var text: String {
        let widths = alignments.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return zip(rows, decorations).map { row, decoration in
            var cells = zip(zip(row, alignments), widths).map { cell, width in
                let space = String(repeating: " ", count: width - cell.0.count)
                return cell.1 == .left ? cell.0 + space : space + cell.0
            }
            while cells.count > 1, cells[cells.count - 1].allSatisfy({ $0 == " " }) { cells.removeLast() }
            let last = cells.count - 1
            if alignments[last] == .left { cells[last] = row[last] }
            cells[0] = decoration(cells[0])
            return cells.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
