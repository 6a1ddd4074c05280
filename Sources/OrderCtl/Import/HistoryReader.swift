import OrderStore

/// A part of a history, small enough for one transaction.
struct HistoryChunk: Sendable {
    var orders: [HistoricOrder] = []
    var rejected: [RejectedLine] = []
    /// Of which something was rejected.
    var rejectedOrders = 0
    /// Records of the file, the header not counted.
    var lines = 0
    /// How far the file has been read, in bytes.
    var bytesRead: Int64 = 0
    var isLast = false
}

/// Reads a history chunk by chunk.
actor HistoryReader {
    /// A chunk ends with the order that reaches so many lines, or so many bytes of lines.
    static let chunkLines = 20_000
    static let chunkBytes = 16 << 20

    private let columns: HistoryColumns
    private var file: CSVFile
    private var assembler = OrderAssembler()

    /// How large the file is, in bytes.
    let size: Int64

    /// Opens a file.
    ///
    /// - Parameter latest: milliseconds since 1970; nothing was ordered later.
    /// - Throws: ``CSVFault`` when it cannot be read or its header is another one.
    init(path: String, latest: Int64) throws {
        file = try CSVFile(path: path)
        columns = try HistoryColumns(header: file.header, latest: latest)
        size = file.size
    }

    /// The next chunk; the one that says so is the last.
    ///
    /// - Throws: ``CSVFault`` when the file cannot be read any more; `OrderAssembler.TooManyRejected`.
    func next() throws -> HistoryChunk {
        var chunk = HistoryChunk()
        var bytes = 0
        while chunk.lines < Self.chunkLines, bytes < Self.chunkBytes {
            guard let entry = try file.next() else {
                for outcome in try assembler.finish() { chunk.add(outcome) }
                chunk.isLast = true
                break
            }
            chunk.lines += 1
            let (reading, source) = read(entry)
            bytes += source.raw.count
            for outcome in try assembler.take(reading, from: source) { chunk.add(outcome) }
        }
        chunk.bytesRead = file.bytesRead
        return chunk
    }

    private func read(_ entry: CSVFile.Entry) -> (HistoryColumns.Reading, SourceLine) {
        switch entry {
        case .record(let record): (columns.read(record), SourceLine(number: record.line, raw: record.raw))
        case .broken(let line, let raw, let reason):
            (columns.readBroken(raw, reason), SourceLine(number: line, raw: raw))
        }
    }
}

extension HistoryChunk {
    fileprivate mutating func add(_ outcome: OrderAssembler.Outcome) {
        switch outcome {
        case .order(let order): orders.append(order)
        case .rejected(let lines, let isOrder):
            rejected += lines
            if isOrder { rejectedOrders += 1 }
        }
    }
}
