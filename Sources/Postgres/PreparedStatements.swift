/// Which statements one session has prepared, and for which parameter types.
///
/// A binary parameter must have exactly the type that the statement was prepared with, so a statement that comes with
/// other types is prepared once more, as a variant. NULL fits every type.
struct PreparedStatements {
    private struct Variant {
        let serverName: String
        let text: String
        let types: [TypeOID]

        func fits(_ text: String, _ types: [TypeOID]) -> Bool {
            self.text == text && self.types.count == types.count
                && zip(self.types, types).allSatisfy { $0 == $1 || $1 == .unspecified }
        }
    }

    private var variants: [String: [Variant]] = [:]
    private var count = 0

    /// The server's name for the statement, and whether it still has to be prepared under it.
    mutating func lease(_ statement: SQLStatement, types: [TypeOID]) -> (serverName: String, mustPrepare: Bool) {
        let known = variants[statement.name] ?? []
        if let variant = known.first(where: { $0.fits(statement.text, types) }) { return (variant.serverName, false) }
        count += 1
        let serverName = known.isEmpty ? statement.name : "\(statement.name)#\(count)"
        variants[statement.name, default: []]
            .append(Variant(serverName: serverName, text: statement.text, types: types))
        return (serverName, true)
    }

    /// Forgets a variant whose preparation failed or was skipped.
    mutating func forget(_ statement: SQLStatement, serverName: String) {
        variants[statement.name]?.removeAll { $0.serverName == serverName }
    }
}
