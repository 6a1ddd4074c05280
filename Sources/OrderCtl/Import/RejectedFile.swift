import Foundation

/// `FILE.rejected.csv`: the lines that were not imported, with their reasons. It is there only when there are any.
struct RejectedFile {
    let path: String
    private var handle: FileHandle?

    /// Removes what an earlier import of this file left: it is read from its start again.
    init(of path: String) throws {
        self.path = RejectedFile.path(of: path)
        guard FileManager.default.fileExists(atPath: self.path) else { return }
        try FileManager.default.removeItem(atPath: self.path)
    }

    /// `orders.rejected.csv` for `orders.csv`.
    static func path(of path: String) -> String {
        (path.lowercased().hasSuffix(".csv") ? String(path.dropLast(4)) : path) + ".rejected.csv"
    }

    /// Adds lines by their numbers; throws when they cannot be written.
    mutating func append(_ lines: [RejectedLine]) throws {
        guard !lines.isEmpty else { return }
        let text = lines.sorted { $0.source.number < $1.source.number }.map(RejectedFile.record).joined()
        if let handle {
            try handle.write(contentsOf: Data(text.utf8))
        } else {
            try Data(("line,reason,record\n" + text).utf8).write(to: URL(filePath: path))
            handle = try FileHandle(forWritingTo: URL(filePath: path))
            _ = try handle?.seekToEnd()
        }
    }

    /// A record of this file; what is not UTF-8 in the line becomes U+FFFD.
    private static func record(_ line: RejectedLine) -> String {
        let raw = String(decoding: line.source.raw, as: UTF8.self)
        return "\(line.source.number),\(quoted(line.reason)),\(quoted(raw))\n"
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\"", with: "\"\"") + "\""
    }
}
