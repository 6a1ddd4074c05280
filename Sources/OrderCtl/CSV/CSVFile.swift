import Foundation

/// What is wrong with a file of comma-separated values as a whole.
struct CSVFault: Error, CustomStringConvertible {
    let description: String
}

/// A file of comma-separated values with a header, read piece by piece.
struct CSVFile {
    private static let pieceBytes = 256 << 10

    /// A record, or a line that is none.
    enum Entry {
        case record(CSVRecord)
        case broken(line: Int, raw: [UInt8], reason: String)
    }

    let path: String
    /// The names of the columns, each once.
    private(set) var header: [String] = []
    /// How large the file was when it was opened, in bytes.
    let size: Int64
    /// How much of it has been read, in bytes.
    private(set) var bytesRead: Int64 = 0
    private let handle: FileHandle
    private var scanner = CSVScanner()

    /// Opens a file and reads its header; throws ``CSVFault``.
    init(path: String) throws {
        self.path = path
        guard let handle = FileHandle(forReadingAtPath: path) else {
            throw CSVFault(description: "\(path) cannot be opened: is it there, and may it be read?")
        }
        self.handle = handle
        do {
            size = Int64(try handle.seekToEnd())
            try handle.seek(toOffset: 0)
        } catch {
            throw CSVFault(description: "\(path) is no file that can be read more than once")
        }
        guard let first = try next() else { throw CSVFault(description: "\(path) is empty: it needs a header") }
        guard case .record(let record) = first else { throw CSVFault(description: "\(path): the header is broken") }
        header = try (0..<record.count).map { index in
            guard let name = record.text(index) else { throw CSVFault(description: "\(path): the header is not UTF-8") }
            return name
        }
        if let twice = Dictionary(grouping: header, by: \.self).first(where: { $0.value.count > 1 })?.key {
            throw CSVFault(description: "\(path): the header has the column '\(twice.prefix(40))' twice")
        }
    }

    /// The next record or broken line; nil at the end. Throws ``CSVFault`` when the file cannot be read any more.
    mutating func next() throws -> Entry? {
        while true {
            switch scanner.next() {
            case .record(let record): return .record(record)
            case .broken(let line, let raw, let reason): return .broken(line: line, raw: raw, reason: reason)
            case .end: return nil
            case .needsMore: try readPiece()
            }
        }
    }

    private mutating func readPiece() throws {
        let piece: Data
        do {
            piece = try handle.read(upToCount: Self.pieceBytes) ?? Data()
        } catch {
            throw CSVFault(description: "\(path) cannot be read after \(bytesRead) bytes")
        }
        bytesRead += Int64(piece.count)
        if piece.isEmpty { scanner.finish() } else { scanner.feed(piece) }
    }
}
