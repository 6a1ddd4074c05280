import FoundationEssentials

/// Comma-separated values with a header (RFC 4180).
struct CSV {
    /// What is wrong with a file, with its line.
    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    /// One record, by the header's names.
    struct Record {
        let line: Int
        private let fields: [String: String]

        fileprivate init(line: Int, fields: [String: String]) {
            self.line = line
            self.fields = fields
        }

        /// A field; throws ``CSV/Malformed`` when the header has no such column.
        func text(_ column: String) throws -> String {
            guard let text = fields[column] else {
                throw Malformed(description: "the header has no column \(column)")
            }
            return text
        }

        /// A field that must be a whole number within `range`.
        func integer(_ column: String, in range: ClosedRange<Int64>) throws -> Int64 {
            let text = try text(column)
            guard let number = Int64(text), range.contains(number) else {
                throw Malformed(
                    description: "line \(line): \(column) is '\(text.prefix(40))': expected a whole number from "
                        + "\(range.lowerBound) to \(range.upperBound)"
                )
            }
            return number
        }
    }

    let records: [Record]

    /// Reads a file; throws ``Malformed`` naming the file or the line.
    init(path: String) throws {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw Malformed(description: "\(path) cannot be read as UTF-8")
        }
        var rows = try CSV.rows(text)[...]
        guard let header = rows.popFirst() else { throw Malformed(description: "\(path) is empty") }
        records = try rows.map { row in
            guard row.fields.count == header.fields.count else {
                throw Malformed(
                    description: "\(path), line \(row.line): \(row.fields.count) fields, the header has "
                        + "\(header.fields.count)"
                )
            }
            return Record(line: row.line, fields: Dictionary(zip(header.fields, row.fields)) { first, _ in first })
        }
    }

    private static func rows(_ text: String) throws -> [(line: Int, fields: [String])] {
        var rows: [(line: Int, fields: [String])] = []
        var (line, start) = (1, 1)
        var fields: [String] = []
        var field: [UInt8] = []
        var isQuoted = false
        var bytes = Array(text.utf8)[...]
        func finished() -> [String] { fields + [String(decoding: field, as: UTF8.self)] }
        while let byte = bytes.popFirst() {
            if byte == UInt8(ascii: "\n") { line += 1 }
            switch byte {
            case UInt8(ascii: "\"") where isQuoted && bytes.first == byte:
                bytes.removeFirst()
                field.append(byte)
            case UInt8(ascii: "\""):
                isQuoted.toggle()
            case UInt8(ascii: ",") where !isQuoted:
                fields = finished()
                field = []
            case UInt8(ascii: "\r") where !isQuoted && bytes.first == UInt8(ascii: "\n"):
                continue
            case UInt8(ascii: "\n") where !isQuoted:
                rows.append((start, finished()))
                (fields, field, start) = ([], [], line)
            default:
                field.append(byte)
            }
        }
        guard !isQuoted else { throw Malformed(description: "line \(start): a quoted field does not end") }
        if !field.isEmpty || !fields.isEmpty { rows.append((start, finished())) }
        return rows
    }
}
