import FoundationEssentials

extension Migration {
    /// Reads `NNNN_name.up.sql` and `NNNN_name.down.sql` from a folder.
    ///
    /// - Throws: ``Migrator/Mismatch`` when the folder cannot be read, holds none, or one of a pair is missing.
    package static func load(from folder: String) throws -> [Migration] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: folder)
        } catch {
            throw Migrator.Mismatch(description: "the folder of migrations cannot be read: \(folder)")
        }
        let ups = names.filter { $0.hasSuffix(".up.sql") }.sorted()
        guard !ups.isEmpty else {
            throw Migrator.Mismatch(description: "there is no NNNN_name.up.sql in \(folder)")
        }
        return try ups.map { up in
            let stem = String(up.dropLast(".up.sql".count))
            let parts = stem.split(separator: "_", maxSplits: 1)
            guard parts.count == 2, parts[0].count == 4, let version = Int(parts[0]) else {
                throw Migrator.Mismatch(description: "\(up) is not named NNNN_name.up.sql")
            }
            return Migration(
                version: version,
                name: String(parts[1]),
                up: try text(of: "\(folder)/\(up)"),
                down: try text(of: "\(folder)/\(stem).down.sql")
            )
        }
    }

    private static func text(of path: String) throws -> String {
        do {
            return try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw Migrator.Mismatch(description: "\(path) cannot be read as UTF-8")
        }
    }
}
