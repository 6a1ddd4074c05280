/// One record of a file of comma-separated values.
struct CSVRecord: Sendable {
    fileprivate struct Field {
        let range: Range<Int>
        /// Between quotes; each quote inside stands there twice.
        let hasDoubledQuotes: Bool
    }

    /// The line at which it begins, from 1.
    let line: Int
    /// As it stands in the file, without its line end.
    let raw: [UInt8]
    fileprivate let fields: [Field]

    /// How many fields it has.
    var count: Int { fields.count }

    /// What a field says, whatever the encoding; traps when there is no such field.
    func bytes(_ index: Int) -> ArraySlice<UInt8> {
        let field = fields[index]
        let bytes = raw[field.range]
        guard field.hasDoubledQuotes else { return bytes }
        var isSecond = false
        return bytes.filter { byte in
            isSecond = byte == UInt8(ascii: "\"") && !isSecond
            return !isSecond || byte != UInt8(ascii: "\"")
        }[...]
    }

    /// What a field says; nil when it is not UTF-8.
    func text(_ index: Int) -> String? {
        String(validating: bytes(index), as: UTF8.self)
    }
}

/// Finds records in pieces of a file (RFC 4180), and never holds more than a piece and a record of it.
///
/// Lines end with LF or CRLF; a field in quotes may hold commas, line ends and doubled quotes. A byte order mark at the
/// start and empty lines are left out. Where a record breaks the rules, the line at which it began is given as broken,
/// and the next record begins at the next line.
struct CSVScanner {
    /// The longest record; a quote that is never closed swallows no more than this.
    static let maximumRecordBytes = 16 << 10

    enum Step {
        case record(CSVRecord)
        /// `raw` is the line, cut off at ``CSVScanner/maximumRecordBytes``.
        case broken(line: Int, raw: [UInt8], reason: String)
        case needsMore
        case end
    }

    private enum Scan {
        case record(end: Int, next: Int, lines: Int)
        case broken(String)
        case needsMore
    }

    private var buffer: [UInt8] = []
    /// Where the next record begins.
    private var position = 0
    private var line = 1
    private var isAtStart = true
    private var isAtEnd = false
    /// The line that was given as broken has not ended yet.
    private var isSkipping = false

    /// Takes the next piece.
    mutating func feed(_ piece: some Collection<UInt8>) {
        buffer.removeFirst(position)
        position = 0
        buffer.append(contentsOf: piece)
    }

    /// There is no further piece.
    mutating func finish() { isAtEnd = true }

    /// The next record; ``Step/needsMore`` until ``feed(_:)`` or ``finish()`` is called.
    mutating func next() -> Step {
        if isAtStart {
            guard isAtEnd || buffer.count >= 3 else { return .needsMore }
            if buffer.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
            isAtStart = false
        }
        if isSkipping, !skipLine() { return isAtEnd ? .end : .needsMore }
        while position < buffer.count {
            var fields: [CSVRecord.Field] = []
            switch scan(into: &fields) {
            case .needsMore: return .needsMore
            case .broken(let reason): return giveUp(reason)
            case .record(let end, let next, let lines):
                let (start, startLine) = (position, line)
                position = next
                line += lines
                if end > start { return .record(record(start..<end, at: startLine, fields)) }
            }
        }
        return isAtEnd ? .end : .needsMore
    }

    private func record(_ range: Range<Int>, at line: Int, _ fields: [CSVRecord.Field]) -> CSVRecord {
        let moved = fields.map { field in
            let range = field.range.lowerBound - range.lowerBound..<field.range.upperBound - range.lowerBound
            return CSVRecord.Field(range: range, hasDoubledQuotes: field.hasDoubledQuotes)
        }
        return CSVRecord(line: line, raw: Array(buffer[range]), fields: moved)
    }

    /// Gives the line at which the record begins as broken.
    private mutating func giveUp(_ reason: String) -> Step {
        let end = endOfLine(from: position)
        if end == nil, !isAtEnd, buffer.count - position <= Self.maximumRecordBytes { return .needsMore }
        let (brokenLine, raw) = (line, buffer[position..<(end ?? buffer.count)].prefix(Self.maximumRecordBytes))
        isSkipping = true
        _ = skipLine()
        return .broken(line: brokenLine, raw: Array(raw), reason: reason)
    }

    /// Whether the line's end has been found; otherwise all there is of it is left out.
    private mutating func skipLine() -> Bool {
        guard let end = endOfLine(from: position) else {
            position = buffer.count
            return false
        }
        position = end + 1
        line += 1
        isSkipping = false
        return true
    }

    private func endOfLine(from start: Int) -> Int? {
        var index = start
        while index < buffer.count {
            if buffer[index] == UInt8(ascii: "\n") { return index }
            index += 1
        }
        return nil
    }

    private func scan(into fields: inout [CSVRecord.Field]) -> Scan {
        var index = position
        var lines = 1
        while true {
            let isQuoted = index < buffer.count && buffer[index] == UInt8(ascii: "\"")
            let stop = isQuoted ? quoted(&index, &lines, &fields) : plain(&index, &fields)
            if let stop { return stop }
            guard index - position <= Self.maximumRecordBytes else { return Self.tooLong }
            guard index < buffer.count else {
                return isAtEnd ? .record(end: index, next: index, lines: lines) : .needsMore
            }
            switch buffer[index] {
            case UInt8(ascii: ","): index += 1
            case UInt8(ascii: "\n"): return .record(end: index, next: index + 1, lines: lines)
            case UInt8(ascii: "\r"): return carriageReturn(index, lines)
            default: return .broken("text stands behind the closing quote of a field")
            }
        }
    }

    private static let tooLong = Scan.broken("a record is longer than \(maximumRecordBytes) bytes: is a quote open?")

    /// Only a line end may follow.
    private func carriageReturn(_ index: Int, _ lines: Int) -> Scan {
        guard index + 1 < buffer.count else {
            return isAtEnd ? .record(end: index, next: index + 1, lines: lines) : .needsMore
        }
        return buffer[index + 1] == UInt8(ascii: "\n")
            ? .record(end: index, next: index + 2, lines: lines)
            : .broken("a carriage return stands alone")
    }

    /// Reads a field without quotes, up to what ends it.
    private func plain(_ index: inout Int, _ fields: inout [CSVRecord.Field]) -> Scan? {
        let start = index
        while index < buffer.count {
            switch buffer[index] {
            case UInt8(ascii: ","), UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                fields.append(CSVRecord.Field(range: start..<index, hasDoubledQuotes: false))
                return nil
            case UInt8(ascii: "\""): return .broken("a quote stands inside of a field without quotes around it")
            default: index += 1
            }
        }
        if isAtEnd {
            fields.append(CSVRecord.Field(range: start..<index, hasDoubledQuotes: false))
            return nil
        }
        return index - position > Self.maximumRecordBytes ? Self.tooLong : .needsMore
    }

    /// Reads a field with quotes, up to behind the closing one.
    private func quoted(_ index: inout Int, _ lines: inout Int, _ fields: inout [CSVRecord.Field]) -> Scan? {
        let start = index + 1
        var hasDoubledQuotes = false
        index = start
        while index < buffer.count, index - position <= Self.maximumRecordBytes {
            switch buffer[index] {
            case UInt8(ascii: "\""):
                if index + 1 == buffer.count, !isAtEnd { return .needsMore }
                guard index + 1 < buffer.count, buffer[index + 1] == UInt8(ascii: "\"") else {
                    fields.append(CSVRecord.Field(range: start..<index, hasDoubledQuotes: hasDoubledQuotes))
                    index += 1
                    return nil
                }
                hasDoubledQuotes = true
                index += 2
            case UInt8(ascii: "\n"):
                lines += 1
                index += 1
            default: index += 1
            }
        }
        if index - position > Self.maximumRecordBytes { return Self.tooLong }
        return isAtEnd ? .broken("a quoted field does not end") : .needsMore
    }
}
