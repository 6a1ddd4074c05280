import ArgumentParser
import Foundation
import OrderStore
import Postgres
import ServiceRuntime

/// `orderctl import`
struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring in the past orders of another shop.",
        discussion: """
            The file is UTF-8 with the columns \(HistoryColumns.names.joined(separator: ",")), in any order; a line is \
            one product of an order, and the lines of an order stand together. What is not imported goes to \
            FILE.rejected.csv with its line and reason, and the rest goes in. Broken off, the same command goes on; \
            what was imported before is left as it is. docs/import.md tells all.

            \(OrderCtl.environment)
            """
    )

    @Argument(help: "CSV file of past orders.")
    var file: String

    @Flag(help: "Read and check everything, and write nothing.")
    var dryRun = false

    @Option(help: "text or json.")
    var format = OrderCtl.Format.text

    func run() async throws {
        await ServiceProcess.main("orderctl") { settings, _ in
            let now = Int64(Date().timeIntervalSince1970 * 1_000)
            let reader = try HistoryReader(path: file, latest: now)
            let connection = try await PostgresConnection.connect(
                ownerDatabase(settings),
                deadline: .now + Importer.connectTimeout
            )
            var importer = Importer(
                reader: reader,
                connection: connection,
                report: ImportReport(path: file, isDryRun: dryRun)
            )
            let report = try await importer.run()
            await connection.close()
            switch format {
            case .text: print(report.text)
            case .json: print(try report.json())
            }
        }
    }
}

/// Reads a history and writes it chunk by chunk: while one is written the next is read.
struct Importer {
    static let connectTimeout = Duration.seconds(10)
    /// A chunk takes a second; this is for a server that hangs.
    private static let chunkTimeout = Duration.seconds(120)
    /// An import that was killed gives way as soon as the server notices.
    private static let lockTimeout = Duration.seconds(10)
    /// How often a chunk is tried that was in the way of other transactions.
    private static let maximumAttempts = 5
    /// How many rejected lines a dry run shows.
    private static let shownRejects = 20

    let reader: HistoryReader
    let connection: PostgresConnection
    var report: ImportReport
    private var progress = ProgressLine()
    private var rejectedFile: RejectedFile?

    init(reader: HistoryReader, connection: PostgresConnection, report: ImportReport) {
        self.reader = reader
        self.connection = connection
        self.report = report
    }

    /// Imports all of it.
    ///
    /// - Throws: ``CSVFault``, `PostgresError`, `ProcessFailure`; what was committed before stays, and the same command
    ///   goes on behind it.
    mutating func run() async throws -> ImportReport {
        let start = ContinuousClock.now
        if !report.isDryRun {
            try await takeLock()
            rejectedFile = try RejectedFile(of: report.path)
        }
        defer { progress.end() }
        var following: HistoryChunk? = try await reader.next()
        while let chunk = following {
            async let next = chunk.isLast ? nil : reader.next()
            try await take(chunk)
            let share = Double(chunk.bytesRead) / Double(max(reader.size, 1))
            progress.show(share: share, count: report.lines, of: "lines")
            following = try await next
        }
        report.elapsed = ContinuousClock.now - start
        return report
    }

    private func takeLock() async throws {
        let deadline = ContinuousClock.now + Self.lockTimeout
        while try await !ImportStore.tryLock(on: connection, deadline: deadline) {
            guard ContinuousClock.now + .milliseconds(200) < deadline else {
                throw ProcessFailure("another import is going on; try again later", exitCode: ExitCode.temporaryFailure)
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private mutating func take(_ chunk: HistoryChunk) async throws {
        let known = try await ImportStore.known(
            chunk.orders.map(\.order.reference),
            on: connection,
            deadline: .now + Self.chunkTimeout
        )
        let sorted = SortedChunk(chunk.orders, known: known)
        let new = sorted.new.map(\.order)
        if !report.isDryRun, !new.isEmpty {
            let written = try await write(new)
            report.users += written.users
            report.products += written.products
        }
        let rejected = chunk.rejected + sorted.rejected
        try rejectedFile?.append(rejected)
        if report.isDryRun { show(rejected) }
        report.lines += chunk.lines
        report.orders += new.count
        report.importedLines += sorted.new.reduce(0) { $0 + $1.sources.count }
        report.amount = new.reduce(report.amount) { sum, order in
            let (next, overflow) = sum.addingReportingOverflow(order.total)
            return overflow ? .max : next
        }
        report.knownOrders += sorted.known.count
        report.knownLines += sorted.known.reduce(0) { $0 + $1.sources.count }
        report.rejectedOrders += chunk.rejectedOrders + sorted.rejectedOrders
        report.rejectedLines += rejected.count
    }

    /// Again when it was in the way of live orders: then nothing of it was written.
    private func write(_ orders: [ImportStore.Order]) async throws -> ImportStore.Written {
        var attempt = 1
        while true {
            do {
                return try await ImportStore.write(orders, on: connection, deadline: .now + Self.chunkTimeout)
            } catch let error as PostgresError {
                guard error.isRetryable, connection.isUsable, attempt < Self.maximumAttempts else { throw error }
                attempt += 1
            }
        }
    }

    private func show(_ rejected: [RejectedLine]) {
        let lines = rejected.sorted { $0.source.number < $1.source.number }
        for line in lines.prefix(max(0, Self.shownRejects - report.rejectedLines)) {
            try? FileHandle.standardError.write(
                contentsOf: Data("line \(line.source.number): \(line.reason)\n".utf8)
            )
        }
    }
}

/// A chunk's orders by what is to be done with them.
struct SortedChunk {
    private(set) var new: [HistoricOrder] = []
    /// Imported before, with the same lines.
    private(set) var known: [HistoricOrder] = []
    /// Imported before, with other lines.
    private(set) var rejected: [RejectedLine] = []
    private(set) var rejectedOrders = 0

    /// - Parameter known: the fingerprints of what was imported before.
    init(_ orders: [HistoricOrder], known: [String: [UInt8]]) {
        var fingerprints = known
        for order in orders {
            switch fingerprints[order.order.reference] {
            case nil:
                fingerprints[order.order.reference] = order.order.fingerprint
                new.append(order)
            case order.order.fingerprint: self.known.append(order)
            default:
                let reason =
                    "the order was imported before with other lines; the lines of an order stand together, "
                    + "and what was imported stays as it is"
                rejected += order.sources.map { RejectedLine(source: $0, reason: reason) }
                rejectedOrders += 1
            }
        }
    }
}
