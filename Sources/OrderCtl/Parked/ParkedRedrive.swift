import ArgumentParser
import Foundation
import Operations
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceRuntime

extension Parked {
    /// `orderctl parked redrive`
    struct Redrive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give parked events back to the relay, which sends them once more.",
            discussion: """
                What the broker refuses again is parked again. Said again with its id, a redrive gives nothing back \
                twice. Every redrive is noted in the table redrives.

                \(OrderCtl.environment)
                """
        )

        @OptionGroup
        var choice: ParkedChoice

        @Option(help: "The redrive's id, 1 to 100 characters; a new one when not given.")
        var redriveID: String?

        @Option(help: "text or json.")
        var format = OrderCtl.Format.text

        func validate() throws {
            if let redriveID, !(1...100).contains(redriveID.unicodeScalars.count) {
                throw ValidationError("--redrive-id must have 1 to 100 characters")
            }
        }

        func run() async throws {
            await ServiceProcess.main("orderctl") { settings, _ in
                let run = ParkedRedriveRun(
                    id: redriveID ?? UUID.version7().text,
                    selection: try choice.selection(),
                    // The same words as those of dead letters would be another redrive's.
                    words: "parked \(choice.text)",
                    limit: choice.limit ?? .max
                )
                let report = try await Parked.withDatabase(settings) { connection in
                    choice.dryRun
                        ? try await run.rehearse(connection)
                        : try await StopRequest.during { try await run.run(connection, stop: $0) }
                }
                switch format {
                case .text: print(report.text)
                case .json: print(try encoded(report))
                }
                if report.result == .stopped {
                    let command = "orderctl parked redrive \(choice.text) --redrive-id \(run.id)"
                    throw ProcessFailure(
                        "stopped by a signal; go on with: \(command)",
                        exitCode: ExitCode.temporaryFailure
                    )
                }
            }
        }
    }
}

/// Gives parked events back to the relay, batch by batch, each in one transaction with its note.
struct ParkedRedriveRun {
    /// The most events that are given back in one transaction.
    private static let batchSize = 500

    let id: String
    let selection: OutboxStore.ParkedSelection
    /// The selection as it is noted.
    let words: String
    let limit: Int

    /// What was done.
    struct Report: Encodable {
        /// How it ended.
        enum Result: String, Encodable {
            case done = "DONE"
            case stopped = "STOPPED"
        }

        let redriveId: String
        let selection: String
        let dryRun: Bool
        /// Given back, or to be given back in a dry run.
        var events: Int
        /// Given back by the same redrive before.
        let earlier: Int
        var result = Result.done

        var text: String {
            if dryRun {
                return "\(grouped(events)) parked events would be given back to the relay; nothing was changed"
            }
            let before = earlier > 0 ? "; \(grouped(earlier)) before, by the same redrive" : ""
            return "gave \(grouped(events)) parked events back to the relay, redrive \(redriveId)\(before)"
        }
    }

    /// Counts what would be given back. Throws ``ProcessFailure`` when nothing matches.
    func rehearse(_ connection: PostgresConnection) async throws -> Report {
        let earlier = try await RedriveStore.find(id, on: connection, deadline: .now + Parked.queryTimeout)
        let events = earlier?.result == .done ? [] : try await next(limit, connection)
        guard earlier != nil || !events.isEmpty else { throw noMatch }
        return report(dryRun: true, events: events.count, after: earlier)
    }

    /// Gives back until nothing is left that matches, or a signal comes.
    ///
    /// Throws ``ProcessFailure`` when nothing matches, or the id belongs to another redrive.
    func run(_ connection: PostgresConnection, stop: StopRequest) async throws -> Report {
        let earlier = try await RedriveStore.find(id, on: connection, deadline: .now + Parked.queryTimeout)
        if earlier == nil, try await next(1, connection).isEmpty { throw noMatch }
        let noted = try await RedriveStore.begin(
            id,
            selection: words,
            requestedBy: NSUserName(),
            at: Date(),
            on: connection,
            deadline: .now + Parked.queryTimeout
        )
        guard let noted else {
            throw ProcessFailure(
                "the redrive \(id) is going on in another process",
                exitCode: ExitCode.temporaryFailure
            )
        }
        guard noted.selection == words else {
            throw ProcessFailure(
                "the redrive \(id) was begun with \(noted.selection): say the same, or take another --redrive-id"
            )
        }
        var report = report(dryRun: false, events: 0, after: noted)
        guard noted.result != .done else { return report }
        while !stop.isRequested {
            let rest = limit - report.earlier - report.events
            let events = rest > 0 ? try await next(min(rest, Self.batchSize), connection) : []
            if events.isEmpty { break }
            report.events += try await OutboxStore.unpark(
                events,
                in: id,
                at: Date(),
                on: connection,
                deadline: .now + Parked.queryTimeout
            ).count
        }
        report.result = stop.isRequested ? .stopped : .done
        try await RedriveStore.finish(
            id,
            stop.isRequested ? .stopped : .done,
            at: Date(),
            on: connection,
            deadline: .now + Parked.queryTimeout
        )
        return report
    }

    private func next(_ count: Int, _ connection: PostgresConnection) async throws -> [UUID] {
        try await OutboxStore.parked(
            selection,
            limit: count,
            exceptOf: id,
            on: connection,
            deadline: .now + Parked.queryTimeout
        )
        .map(\.eventID)
    }

    private func report(dryRun: Bool, events: Int, after earlier: RedriveStore.Redrive?) -> Report {
        Report(
            redriveId: id,
            selection: words,
            dryRun: dryRun,
            events: events,
            earlier: Int(earlier?.redriven ?? 0)
        )
    }

    private var noMatch: ProcessFailure {
        ProcessFailure("no \(words.replacing("parked", with: "parked event matches"))")
    }
}
