import CLibPQ

/// One `PGconn` in non-blocking mode; every function returns at once, waiting is the caller's part.
///
/// Not `Sendable`: it belongs to one actor. Closed when it is released, without waiting for the server.
@safe final class LibPQConnection {
    enum ConnectProgress {
        case wantsRead, wantsWrite, connected, failed
    }

    private let connection: OpaquePointer

    /// Starts connecting; nil when out of memory. A host name is resolved here, by the system's resolver, and that is
    /// the one step that only the resolver's own time limit bounds.
    init?(parameters: [(keyword: String, value: String)]) {
        let started = unsafe withCStrings(parameters.map(\.keyword)) { keywords in
            unsafe withCStrings(parameters.map(\.value)) { values in
                unsafe PQconnectStartParams(keywords, values, 0)
            }
        }
        guard let started = unsafe started else { return nil }
        unsafe connection = started
        // Without a receiver libpq prints notices on stderr.
        _ = unsafe PQsetNoticeReceiver(connection, { _, _ in }, nil)
    }

    deinit {
        unsafe PQfinish(connection)
    }

    /// Whether the connection has failed for good.
    var isBroken: Bool { unsafe PQstatus(connection) == CONNECTION_BAD }

    var descriptor: Int32 { unsafe PQsocket(connection) }

    var isInTransaction: Bool { unsafe PQtransactionStatus(connection) != PQTRANS_IDLE }

    /// libpq's last error in one line; it holds neither the password nor any parameter.
    var errorMessage: String {
        let message = unsafe PQerrorMessage(connection).map { unsafe String(cString: $0) } ?? ""
        return message.split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    func continueConnecting() -> ConnectProgress {
        switch unsafe PQconnectPoll(connection) {
        case PGRES_POLLING_READING: .wantsRead
        case PGRES_POLLING_WRITING: .wantsWrite
        case PGRES_POLLING_OK: .connected
        default: .failed
        }
    }

    /// Goes non-blocking and into pipeline mode, which stays on.
    func startPipelining() -> Bool {
        unsafe PQsetnonblocking(connection, 1) == 0 && enterPipelineMode()
    }

    func enterPipelineMode() -> Bool { unsafe PQenterPipelineMode(connection) == 1 }

    func exitPipelineMode() -> Bool { unsafe PQexitPipelineMode(connection) == 1 }

    /// Queues the preparation of a statement; no types means that the server infers them.
    func sendPrepare(_ name: String, _ text: String, types: [TypeOID]) -> Bool {
        let types = types.map { Oid($0.rawValue) }
        return unsafe PQsendPrepare(connection, name, text, Int32(types.count), types) == 1
    }

    /// Queues the execution of a prepared statement with binary parameters and a binary result.
    func sendExecute(_ name: String, _ parameters: EncodedParameters) -> Bool {
        let count = parameters.ranges.count
        let lengths = parameters.ranges.map { Int32($0?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: count)
        return unsafe parameters.bytes.withUnsafeBufferPointer { bytes in
            let base = unsafe UnsafeRawPointer(bytes.baseAddress)?.assumingMemoryBound(to: CChar.self)
            let values = unsafe parameters.ranges.map { range in
                unsafe range.flatMap { range in unsafe base.map { unsafe $0 + range.lowerBound } }
            }
            return unsafe PQsendQueryPrepared(connection, name, Int32(count), values, lengths, formats, 1) == 1
        }
    }

    /// Queues the end of a pipeline.
    func sendSync() -> Bool { unsafe PQpipelineSync(connection) == 1 }

    /// Queues a script of the simple protocol; only outside of pipeline mode.
    func sendScript(_ script: String) -> Bool { unsafe PQsendQuery(connection, script) == 1 }

    /// Queues a piece of a COPY's rows; false when the connection has failed or has no room for it.
    func putCopyData(_ bytes: ArraySlice<UInt8>) -> Bool {
        unsafe bytes.withUnsafeBytes { bytes in
            let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            return unsafe PQputCopyData(connection, start, Int32(clamping: bytes.count)) == 1
        }
    }

    /// Queues the end of a COPY's rows.
    func putCopyEnd() -> Bool { unsafe PQputCopyEnd(connection, nil) == 1 }

    /// Writes what is queued as far as the socket takes it; whether something is left, or nil on failure.
    func flush() -> Bool? {
        switch unsafe PQflush(connection) {
        case 0: false
        case 1: true
        default: nil
        }
    }

    /// Reads what has arrived; false when the connection has failed.
    func consumeInput() -> Bool { unsafe PQconsumeInput(connection) == 1 }

    /// Whether ``nextResult()`` would have to wait.
    var isBusy: Bool { unsafe PQisBusy(connection) == 1 }

    /// The next result; nil between two commands and at the end.
    func nextResult() -> LibPQResult? {
        unsafe PQgetResult(connection).map { unsafe LibPQResult($0) }
    }

    /// A request to cancel whatever this session runs, independent of this object's life.
    func cancelRequest() -> LibPQCancelRequest? {
        unsafe PQgetCancel(connection).map { unsafe LibPQCancelRequest($0) }
    }
}

/// Lends an array of C strings that ends with a null pointer.
private func withCStrings<Value>(
    _ strings: [String],
    _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Value
) -> Value {
    var bytes: [CChar] = []
    var offsets: [Int] = []
    for string in strings {
        offsets.append(bytes.count)
        bytes.append(contentsOf: string.utf8CString)
    }
    return unsafe bytes.withUnsafeBufferPointer { buffer in
        let pointers = unsafe offsets.map { offset in unsafe buffer.baseAddress.map { unsafe $0 + offset } } + [nil]
        return unsafe body(pointers)
    }
}
