import AMQP
import ArgumentParser
import Foundation
import Operations
import OrderDomain
import OrderMessages
import Postgres
import ServiceRuntime

/// `orderctl dlq`
struct DLQ: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dlq",
        abstract: "Look at the dead letters, send them again, or remove them.",
        discussion: """
            The dead-letter queue on the broker is gone through from its head; whatever is not sent again or removed
            stays, in its order. Only one of these commands, or the console, can go through it at a time: each waits up
            to 5 s for its turn.
            """,
        subcommands: [List.self, Show.self, Export.self, Redrive.self, Purge.self]
    )
}

extension DLQ {
    /// `orderctl dlq list`
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List dead letters, the oldest first, or their groups.",
            discussion: OrderCtl.environment
        )

        /// What dead letters are grouped by.
        enum Grouping: String, CaseIterable, ExpressibleByArgument {
            case fingerprint
        }

        /// The most groups: more causes than anybody reads.
        private static let maximumGroups = 1_000

        @Option(help: "Count them by cause: fingerprint.")
        var groupBy: Grouping?

        @Option(help: "How many dead letters, or groups, to show, 1 to 100000.")
        var limit = 100

        @Option(help: "text or json.")
        var format = OrderCtl.Format.text

        func validate() throws {
            guard (1...100_000).contains(limit) else { throw ValidationError("--limit must be from 1 to 100000") }
        }

        func run() async throws {
            await ServiceProcess.main("orderctl") { settings, _ in
                let queue = DeadLetterQueue(broker: try OrderCtl.broker(settings))
                switch groupBy {
                case .fingerprint: try await listGroups(queue)
                case nil: try await listLetters(queue)
                }
            }
        }

        private func listLetters(_ queue: DeadLetterQueue) async throws {
            var table = Self.emptyTable
            var summaries: [DeadLetterSummary] = []
            var (count, untraced) = (0, 0)
            let total = try await queue.walk { letter, _ in
                if !letter.isTraced { untraced += 1 }
                switch format {
                case .text: table.add(Self.cells(of: letter))
                case .json: summaries.append(DeadLetterSummary(letter))
                }
                count += 1
                return count < limit
            }
            switch format {
            case .text:
                if count > 0 { print(table.text) }
                print(Self.sum(count, of: total, "dead letter"))
                if untraced > 0 {
                    print(
                        "orderctl trace does not show \(grouped(untraced)) of them: the broker itself gave them up, or "
                            + "they name no event or no order"
                    )
                }
            case .json: print(try encoded(LettersJSON(total: total, data: summaries)))
            }
        }

        private func listGroups(_ queue: DeadLetterQueue) async throws {
            var groups = DeadLetterGroups(maximum: Self.maximumGroups)
            let total = try await queue.walk { letter, _ in
                groups.add(letter)
                return true
            }
            let sorted = groups.sorted
            let shown = Array(sorted.prefix(limit))
            switch format {
            case .text:
                if !shown.isEmpty { print(groupTable(shown)) }
                print(
                    "\(Self.sum(shown.count, of: sorted.count, "group")), \(grouped(total)) dead letters"
                        + (groups.uncounted > 0 ? "; \(grouped(groups.uncounted)) of further groups not shown" : "")
                )
            case .json: print(try encoded(GroupsJSON(total: total, groups: sorted.count, data: shown)))
            }
        }

        private static let emptyTable = TextTable([
            ("EVENT", .left), ("TYPE", .left), ("FAILED AT", .left), ("STATUS", .right), ("ATTEMPTS", .right),
            ("REDRIVES", .right), ("GROUP", .left), ("ERROR", .left),
        ])

        private static func cells(of letter: DeadLetter) -> [String] {
            [
                letter.eventID, letter.type, letter.failedAt?.rfc3339 ?? "-", letter.status.map { "\($0)" } ?? "-",
                "\(letter.attempts)", "\(letter.redriveCount)", letter.group, shortened(letter.error, to: 60),
            ]
        }

        private static func sum(_ shown: Int, of total: Int, _ noun: String) -> String {
            if total == 0 { return "no \(noun)s" }
            let all = "\(grouped(total)) \(noun)\(total == 1 ? "" : "s")"
            return shown < total ? "the first \(grouped(shown)) of \(all); --limit shows more" : all
        }

        private struct LettersJSON: Encodable {
            let total: Int
            let data: [DeadLetterSummary]
        }

        private struct GroupsJSON: Encodable {
            let total: Int
            let groups: Int
            let data: [DeadLetterGroups.Group]
        }
    }

    /// `orderctl dlq show`
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one dead letter with all its headers and its body.",
            discussion: OrderCtl.environment
        )

        @Argument(help: "The event's id.")
        var eventID: String

        @Option(help: "text or json.")
        var format = OrderCtl.Format.text

        func run() async throws {
            await ServiceProcess.main("orderctl") { settings, _ in
                let selection = DeadLetterSelection.event(eventID)
                var found: DeadLetter?
                let queue = DeadLetterQueue(broker: try OrderCtl.broker(settings))
                let total = try await queue.walk { letter, _ in
                    if selection.matches(letter) { found = letter }
                    return found == nil
                }
                guard let found else {
                    throw ProcessFailure("no dead letter has the event id \(eventID); looked at \(grouped(total))")
                }
                switch format {
                case .text: print(try Self.text(found))
                case .json: print(try DeadLetterMessage(letter: found).json)
                }
            }
        }

        private static func text(_ letter: DeadLetter) throws -> String {
            var table = TextTable([("event", .left), (letter.eventID, .left)])
            table.add(["order", letter.orderID?.text ?? "unknown"])
            table.add(["type", letter.type])
            table.add(["group", letter.group])
            table.add(["failed at", letter.failedAt?.rfc3339 ?? "unknown"])
            table.add(["status", letter.status.map { "\($0)" } ?? "no answer"])
            table.add(["error", letter.error])
            table.add(["attempts", "\(letter.attempts)"])
            table.add(["redrives", "\(letter.redriveCount)" + (letter.redriveID.map { ", the last is \($0)" } ?? "")])
            var headers = TextTable([("headers", .left), ("", .left)])
            for (name, value) in letter.delivery.headers.sorted(by: { $0.key < $1.key }) {
                headers.add(["  " + name, try encoded(JSONField(value))])
            }
            return "\(table.text)\n\n\(headers.text)\n\nbody\n\(body(of: letter))"
        }

        private static func body(of letter: DeadLetter) -> String {
            let data = Data(letter.delivery.body)
            let options: JSONSerialization.WritingOptions = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            if let object = try? JSONSerialization.jsonObject(with: data),
                let pretty = try? JSONSerialization.data(withJSONObject: object, options: options)
            {
                return String(decoding: pretty, as: UTF8.self)
            }
            return String(validating: letter.delivery.body, as: UTF8.self) ?? "(base64) \(data.base64EncodedString())"
        }
    }

    /// `orderctl dlq export`
    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write every dead letter with its headers and its body, one JSON object a line.",
            discussion: OrderCtl.environment
        )

        /// How much is written at once.
        private static let writtenBytes = 64 * 1_024

        @Option(help: "The file to write; standard output when not given.")
        var out: String?

        func run() async throws {
            await ServiceProcess.main("orderctl") { settings, _ in
                let queue = DeadLetterQueue(broker: try OrderCtl.broker(settings))
                let target = try open()
                var lines = Data()
                var count = 0
                try await queue.walk { letter, _ in
                    lines.append(contentsOf: Data((try DeadLetterMessage(letter: letter).json + "\n").utf8))
                    count += 1
                    if lines.count >= Self.writtenBytes {
                        try target.write(contentsOf: lines)
                        lines.removeAll(keepingCapacity: true)
                    }
                    return true
                }
                try target.write(contentsOf: lines)
                try target.close()
                Console.note("\(grouped(count)) dead letters written\(out.map { " to \($0)" } ?? "")\n")
            }
        }

        private func open() throws -> FileHandle {
            guard let out else { return .standardOutput }
            guard FileManager.default.createFile(atPath: out, contents: nil),
                let file = FileHandle(forWritingAtPath: out)
            else { throw ProcessFailure("\(out) cannot be written", exitCode: ExitCode.usage) }
            return file
        }
    }

    /// `orderctl dlq purge`
    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove the dead letters of one group for good; export them first.",
            discussion: """
                Each is noted in the table purged_events, with who removed it, and then removed: `orderctl trace` says \
                so.

                \(OrderCtl.environment)
                """
        )

        @Option(help: "The group, as `dlq list --group-by fingerprint` shows it.")
        var group: String

        @Flag(help: "Really remove them.")
        var yes = false

        @Option(help: "text or json.")
        var format = OrderCtl.Format.text

        func validate() throws {
            guard yes else {
                throw ValidationError("this removes events for good: `orderctl dlq export` them first, then add --yes")
            }
        }

        func run() async throws {
            await ServiceProcess.main("orderctl") { settings, _ in
                let queue = DeadLetterQueue(broker: try OrderCtl.broker(settings))
                let connection = try await PostgresConnection.connect(
                    ownerDatabase(settings),
                    deadline: .now + .seconds(10)
                )
                let removed = try await StopRequest.during { stop in
                    let run = PurgeRun(
                        group: group,
                        requestedBy: NSUserName(),
                        queue: queue,
                        database: connection,
                        stop: stop
                    )
                    try await run.run()
                    return (count: run.removed, isStopped: stop.isRequested)
                }
                await connection.close()
                guard removed.count > 0 || removed.isStopped else {
                    throw ProcessFailure("no dead letter is in the group \(group); nothing was removed")
                }
                switch format {
                case .text:
                    let letters = removed.count == 1 ? "1 dead letter" : "\(grouped(removed.count)) dead letters"
                    print("removed \(letters) of the group \(group)")
                case .json: print(try encoded(JSON(group: group, removed: removed.count)))
                }
                if removed.isStopped {
                    throw ProcessFailure("stopped before the end", exitCode: ExitCode.temporaryFailure)
                }
            }
        }

        private struct JSON: Encodable {
            let group: String
            let removed: Int
        }
    }
}

extension DLQ.List {
    private func groupTable(_ groups: [DeadLetterGroups.Group]) -> String {
        var table = TextTable([
            ("GROUP", .left), ("MESSAGES", .right), ("OLDEST", .left), ("NEWEST", .left), ("STATUS", .right),
            ("ERROR OF THE FIRST", .left),
        ])
        for group in groups {
            table.add([
                group.group, grouped(group.messages), group.oldestFailedAt ?? "-", group.newestFailedAt ?? "-",
                group.status.map { "\($0)" } ?? "-", shortened(group.error, to: 60),
            ])
        }
        return table.text
    }
}
