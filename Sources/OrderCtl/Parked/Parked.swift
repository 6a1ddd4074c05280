import ArgumentParser
import Foundation
import Operations
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import ServiceRuntime

/// `orderctl parked`
struct Parked: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "parked",
        abstract: "Look at the events that RabbitMQ can never take, send them again, or give them up.",
        discussion: """
            The relay parks an event in the table outbox_parked when it is too large for the broker, or cannot be
            expressed in its protocol; those behind it go on.
            """,
        subcommands: [List.self, Show.self, Redrive.self, Purge.self]
    )

    /// How long a statement may take.
    static let queryTimeout = Duration.seconds(10)

    /// Runs `body` on a connection of the schema's owner.
    static func withDatabase<Answer>(
        _ settings: Settings,
        _ body: (PostgresConnection) async throws -> Answer
    ) async throws -> Answer {
        let connection = try await PostgresConnection.connect(ownerDatabase(settings), deadline: .now + queryTimeout)
        do {
            let answer = try await body(connection)
            await connection.close()
            return answer
        } catch {
            await connection.close()
            throw error
        }
    }
}

/// Which parked events a command means.
struct ParkedChoice: ParsableArguments {
    @Option(help: "The parked event with this id.")
    var id: String?

    @Flag(help: "All of them.")
    var all = false

    @Option(help: "How many at most, from 1; the longest waiting first.")
    var limit: Int?

    @Flag(help: "Only say which ones it would be; change nothing.")
    var dryRun = false

    func validate() throws {
        _ = try selection()
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1") }
    }

    func selection() throws -> OutboxStore.ParkedSelection {
        guard (id != nil) != all else { throw ValidationError("say which parked events: one of --id and --all") }
        return try id.map { .event(try Parked.eventID($0)) } ?? .all
    }

    /// In the words of the command line.
    var text: String { id.map { "--id \($0.lowercased())" } ?? "--all" }
}

extension Parked {
    static func eventID(_ text: String) throws -> UUID {
        guard let id = UUID(uuidString: text) else {
            throw ValidationError(
                "'\(text)' is no event id: expected a UUID such as 019c0a2f-5d10-7c3e-9a55-0c6f3f4b1a21"
            )
        }
        return id
    }

    /// `orderctl parked list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List parked events, the longest waiting first.",
            discussion: OrderCtl.environment
        )

        @Option(help: "How many to show, 1 to 100000.")
        var limit = 100

        @Option(help: "text or json.")
        var format = OrderCtl.Format.text

        func validate() throws {
            guard (1...100_000).contains(limit) else { throw ValidationError("--limit must be from 1 to 100000") }
        }

        func run() async throws {
            await ServiceProcess.main("orderctl") { settings, _ in
                let (total, events) = try await Parked.withDatabase(settings) { connection in
                    let deadline = ContinuousClock.now + Parked.queryTimeout
                    return (
                        Int(try await OutboxStore.parkedCount(on: connection, deadline: deadline)),
                        try await OutboxStore.parked(limit: limit, on: connection, deadline: deadline)
                    )
                }
                switch format {
                case .text: print(ParkedEvents.text(events, of: total))
                case .json: print(try encoded(ParkedEvents(total: total, data: events.map(ParkedEvents.Event.init))))
                }
            }
        }
    }

    /// `orderctl parked show`
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one parked event with its data.",
            discussion: OrderCtl.environment
        )

        @Argument(help: "The event's id.")
        var eventID: String

        @Option(help: "text or json.")
        var format = OrderCtl.Format.text

        func validate() throws {
            _ = try Parked.eventID(eventID)
        }

        func run() async throws {
            await ServiceProcess.main("orderctl") { settings, _ in
                let id = try Parked.eventID(eventID)
                let found = try await Parked.withDatabase(settings) { connection in
                    let deadline = ContinuousClock.now + Parked.queryTimeout
                    return (
                        try await OutboxStore.parked(.event(id), limit: 1, on: connection, deadline: deadline).first,
                        try await OutboxStore.parkedEvent(id, on: connection, deadline: deadline)
                    )
                }
                guard let parked = found.0, let event = found.1 else {
                    throw ProcessFailure("no parked event has the id \(id.text); orderctl parked list shows all")
                }
                switch format {
                case .text: print(ParkedEvents.text(parked, traceparent: event.traceparent, data: event.data))
                case .json: print(try ParkedEvents.json(parked, traceparent: event.traceparent, data: event.data))
                }
            }
        }
    }

    /// `orderctl parked purge`
    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give parked events up: they will never be sent.",
            discussion: """
                Their rows stay in the table outbox_parked, with who has given them up and when; said twice it changes \
                nothing.

                \(OrderCtl.environment)
                """
        )

        @OptionGroup
        var choice: ParkedChoice

        @Flag(help: "Really give them up.")
        var yes = false

        @Option(help: "text or json.")
        var format = OrderCtl.Format.text

        func validate() throws {
            guard yes || choice.dryRun else {
                throw ValidationError(
                    "the data platform will never get these events: look with --dry-run first, then add --yes"
                )
            }
        }

        func run() async throws {
            await ServiceProcess.main("orderctl") { settings, _ in
                let selection = try choice.selection()
                let (events, purged) = try await Parked.withDatabase(settings) { connection in
                    let deadline = ContinuousClock.now + Parked.queryTimeout
                    let limit = choice.limit ?? .max
                    let events = try await OutboxStore.parked(
                        selection,
                        limit: limit,
                        on: connection,
                        deadline: deadline
                    )
                    guard !choice.dryRun else { return (events, 0) }
                    let purged = try await OutboxStore.purgeParked(
                        events.map(\.eventID),
                        by: NSUserName(),
                        at: Date(),
                        on: connection,
                        deadline: deadline
                    )
                    return (events, purged.count)
                }
                guard !events.isEmpty else { throw ProcessFailure("no parked event matches \(choice.text)") }
                switch format {
                case .text where choice.dryRun:
                    print(ParkedEvents.text(events, of: events.count))
                    print("nothing was changed; with --yes instead of --dry-run they are given up")
                case .text: print("gave up \(grouped(purged)) parked events")
                case .json:
                    print(try encoded(JSON(dryRun: choice.dryRun, selected: events.count, purged: purged)))
                }
            }
        }

        private struct JSON: Encodable {
            let dryRun: Bool
            let selected: Int
            let purged: Int
        }
    }
}
