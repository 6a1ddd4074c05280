/// What one statement returned, in the order of the server.
package struct PostgresRows: Sendable, RandomAccessCollection {
    let result: LibPQResult

    /// The rows that the statement inserted, changed, deleted or returned.
    package let affectedRows: Int

    init(_ result: LibPQResult) {
        self.result = result
        affectedRows = result.affectedRows
    }

    /// Always 0.
    package var startIndex: Int { 0 }
    /// The number of rows.
    package var endIndex: Int { result.rowCount }

    /// The row at an index of the collection; traps outside of it, as arrays do.
    package subscript(position: Int) -> PostgresRow {
        precondition(indices.contains(position), "there is no such row")
        return PostgresRow(result: result, index: position)
    }
}

/// One row; it keeps the whole result alive.
package struct PostgresRow: Sendable {
    let result: LibPQResult
    let index: Int

    /// The value of a column.
    ///
    /// - Throws: `.decoding`, naming column and types, when there is no such column, it is NULL and `T` is not
    ///   optional, or its type does not fit. Integers fit wider ones; nothing else is converted.
    package func get<T: PostgresDecodable>(_ column: String, as: T.Type = T.self) throws(PostgresError) -> T {
        guard let position = result.columns.firstIndex(of: column) else {
            var error = PostgresError(.decoding, "the result has no column \(column)")
            error.column = column
            throw error
        }
        return try T.decode(PostgresCell(result: result, row: index, column: position))
    }
}

/// One value of one row, as a ``PostgresDecodable`` type sees it.
package struct PostgresCell: Sendable {
    let result: LibPQResult
    let row: Int
    let column: Int

    /// Whether the value is NULL.
    package var isNull: Bool { result.isNull(row: row, column: column) }

    var type: TypeOID { result.types[column] }

    /// A copy of the bytes.
    var bytes: [UInt8] {
        unsafe result.withBytes(row: row, column: column) { unsafe [UInt8]($0) }
    }

    /// The bytes as text; nil when they are not UTF-8.
    func text(skipping count: Int = 0) -> String? {
        unsafe result.withBytes(row: row, column: column) { bytes in
            unsafe String(validating: bytes.dropFirst(count), as: UTF8.self)
        }
    }

    /// The bytes as one big-endian integer; nil when they are not as many.
    func integer<Value: FixedWidthInteger>(_: Value.Type = Value.self) -> Value? {
        if isNull { return nil }
        return unsafe result.withBytes(row: row, column: column) { bytes in
            guard bytes.count == MemoryLayout<Value>.size else { return nil }
            return unsafe Value(bigEndian: bytes.loadUnaligned(as: Value.self))
        }
    }

    /// The error for a cell that cannot become `wanted`.
    func mismatch(_ wanted: Any.Type) -> PostgresError {
        let found = isNull ? "NULL" : type.description
        let name = result.columns[column]
        var error = PostgresError(.decoding, "column \(name) is \(found), which is no \(wanted)")
        error.column = name
        return error
    }
}
