/// A small file of comma-separated values, read as a whole.
struct CSV {
    /// One record, by the header's names.
    struct Record {
        private let line: Int
        private let fields: [String: String]

        fileprivate init(line: Int, fields: [String: String]) {
            self.line = line
            self.fields = fields
        }

        /// A field; throws ``CSVFault`` when the header has no such column.
        func text(_ column: String) throws -> String {
            guard let text = fields[column] else {
                throw CSVFault(description: "the header has no column \(column)")
            }
            return text
        }

        /// A field that must be a whole number within `range`.
        func integer(_ column: String, in range: ClosedRange<Int64>) throws -> Int64 {
            let text = try text(column)
            guard let number = Int64(text), range.contains(number) else {
                throw CSVFault(
                    description: "line \(line): \(column) is '\(text.prefix(40))': expected a whole number from "
                        + "\(range.lowerBound) to \(range.upperBound)"
                )
            }
            return number
        }
    }

    /// The most records; more are no demonstration.
    private static let maximumRecords = 1_000_000

    private(set) var records: [Record] = []

    /// Reads a file; throws ``CSVFault`` naming the file or the line.
    init(path: String) throws {
        var file = try CSVFile(path: path)
        while let entry = try file.next() {
            guard records.count < CSV.maximumRecords else {
                throw CSVFault(description: "\(path) has more than \(CSV.maximumRecords) records")
            }
            records.append(try CSV.record(entry, header: file.header, path: path))
        }
    }

    private static func record(_ entry: CSVFile.Entry, header: [String], path: String) throws -> Record {
        switch entry {
        case .broken(let line, _, let reason): throw CSVFault(description: "\(path), line \(line): \(reason)")
        case .record(let record):
            guard record.count == header.count else {
                throw CSVFault(
                    description: "\(path), line \(record.line): \(record.count) fields, the header has \(header.count)"
                )
            }
            let fields = try header.indices.map { index in
                guard let text = record.text(index) else {
                    throw CSVFault(description: "\(path), line \(record.line): \(header[index]) is not UTF-8")
                }
                return (header[index], text)
            }
            return Record(line: record.line, fields: Dictionary(fields) { first, _ in first })
        }
    }
}
