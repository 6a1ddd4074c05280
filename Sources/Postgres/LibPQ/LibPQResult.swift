import CLibPQ

/// One `PGresult`, cleared when the last row that looks into it is gone.
// Safety: libpq never changes a result once it has been handed over, its accessors only read, and `result` is private
// and constant; so any number of threads may read at once, and the reference count decides who clears it.
@safe final class LibPQResult: @unchecked Sendable {
    /// What a result means for the protocol.
    enum Kind {
        /// The statement was run, with rows or without.
        case success
        case failure
        /// Skipped, because a step before it failed.
        case skipped
        /// The server has processed everything up to the sync.
        case sync
        /// The server waits for the rows of a COPY.
        case copyIn
        /// Something this client never asks for.
        case unexpected
    }

    private let result: OpaquePointer
    let rowCount: Int
    let columns: [String]
    let types: [TypeOID]

    /// Takes ownership.
    init(_ result: OpaquePointer) {
        unsafe self.result = unsafe result
        rowCount = unsafe Int(PQntuples(result))
        let fields = unsafe PQnfields(result)
        columns = (0..<fields).map { unsafe PQfname(result, $0).map { unsafe String(cString: $0) } ?? "" }
        types = (0..<fields).map { unsafe TypeOID(rawValue: PQftype(result, $0)) }
    }

    deinit {
        unsafe PQclear(result)
    }

    var kind: Kind {
        switch unsafe PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY: .success
        case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE: .failure
        case PGRES_PIPELINE_ABORTED: .skipped
        case PGRES_PIPELINE_SYNC: .sync
        case PGRES_COPY_IN: .copyIn
        default: .unexpected
        }
    }

    /// The command's tag, as in `INSERT 0 5`.
    var commandTag: String {
        unsafe PQcmdStatus(result).map { unsafe String(cString: $0) } ?? ""
    }

    /// The rows that the command inserted, changed, deleted or selected; 0 for commands that have no such number.
    var affectedRows: Int {
        unsafe PQcmdTuples(result).flatMap { unsafe Int(String(cString: $0)) } ?? 0
    }

    /// The error that a result of kind `failure` carries.
    var message: ServerMessage {
        ServerMessage(
            severity: field("V") ?? "",
            sqlState: SQLState(rawValue: field("C") ?? ""),
            primary: field("M") ?? wholeMessage,
            detail: field("D"),
            context: field("W"),
            constraint: field("n"),
            table: field("t"),
            column: field("c")
        )
    }

    /// What libpq says where the server said nothing.
    private var wholeMessage: String {
        unsafe PQresultErrorMessage(result).map { unsafe String(cString: $0) } ?? ""
    }

    func isNull(row: Int, column: Int) -> Bool {
        unsafe PQgetisnull(result, Int32(row), Int32(column)) != 0
    }

    /// Lends the bytes of one cell; both indices must exist.
    func withBytes<Value>(row: Int, column: Int, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        let length = unsafe Int(PQgetlength(result, Int32(row), Int32(column)))
        return unsafe body(UnsafeRawBufferPointer(start: PQgetvalue(result, Int32(row), Int32(column)), count: length))
    }

    /// A field of the error by its protocol letter (`PG_DIAG_*`; "Error and Notice Message Fields" in the manual).
    private func field(_ letter: Unicode.Scalar) -> String? {
        unsafe PQresultErrorField(result, Int32(letter.value)).map { unsafe String(cString: $0) }
    }
}
