import Operations
import OrderMessages

/// What an import has done, or, in a dry run, would do.
struct ImportReport {
    let path: String
    let isDryRun: Bool
    var lines = 0
    var importedLines = 0
    var knownLines = 0
    var rejectedLines = 0
    var orders = 0
    var knownOrders = 0
    var rejectedOrders = 0
    /// Made for this import; unknown in a dry run.
    var users = 0
    var products = 0
    /// Of the orders imported, in minor units.
    var amount: Int64 = 0
    var elapsed = Duration.zero

    /// Records of the file in a second.
    var linesPerSecond: Int { Int(Double(lines) / max(elapsed / .seconds(1), 0.001)) }

    /// For people.
    var text: String {
        var rows = [
            ["", "lines", "orders"],
            [isDryRun ? "good" : "imported", grouped(importedLines), grouped(orders)],
            ["imported before", grouped(knownLines), grouped(knownOrders)],
            ["rejected", grouped(rejectedLines), grouped(rejectedOrders)],
            ["read", grouped(lines), grouped(orders + knownOrders + rejectedOrders)],
        ]
        let widths = (0..<3).map { column in rows.map { $0[column].count }.max() ?? 0 }
        rows = rows.map { row in
            [row[0].padded(to: widths[0])]
                + (1..<3).map { String(repeating: " ", count: widths[$0] - row[$0].count) + row[$0] }
        }
        var text = rows.map { $0.joined(separator: "   ") + "\n" }.joined() + "\n"
        if isDryRun {
            text += "a dry run: nothing was written"
        } else if orders == 0, rejectedLines == 0 {
            text += "nothing to do: all \(grouped(knownOrders)) orders were imported before"
        } else {
            text += "\(grouped(users)) users and \(grouped(products)) products are new; "
            text += "orders of \(grouped(Int(amount))) won"
        }
        let seconds = Double(Int(elapsed / .milliseconds(100))) / 10
        text += "; \(seconds) s, \(grouped(linesPerSecond)) lines/s"
        if rejectedLines > 0, !isDryRun {
            text += "\n\(grouped(rejectedLines)) lines were rejected: see \(RejectedFile.path(of: path))"
        }
        return text
    }

    /// For programs.
    func json() throws -> String {
        try encoded(
            JSON(
                file: path,
                dryRun: isDryRun,
                lines: .init(read: lines, imported: importedLines, importedBefore: knownLines, rejected: rejectedLines),
                orders: .init(
                    read: orders + knownOrders + rejectedOrders,
                    imported: orders,
                    importedBefore: knownOrders,
                    rejected: rejectedOrders
                ),
                newUsers: users,
                newProducts: products,
                amount: amount,
                rejectedFile: rejectedLines > 0 && !isDryRun ? RejectedFile.path(of: path) : nil,
                durationMs: Int(elapsed / .milliseconds(1)),
                linesPerSecond: linesPerSecond
            )
        )
    }

    private struct JSON: Encodable {
        struct Count: Encodable {
            let read: Int
            let imported: Int
            let importedBefore: Int
            let rejected: Int
        }

        let file: String
        let dryRun: Bool
        let lines: Count
        let orders: Count
        let newUsers: Int
        let newProducts: Int
        let amount: Int64
        let rejectedFile: String?
        let durationMs: Int
        let linesPerSecond: Int
    }
}

extension String {
    /// With spaces behind it up to a width.
    func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
