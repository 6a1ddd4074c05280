import OrderStore
package import ServiceRuntime

/// What a redrive has done.
package struct RedriveReport {
    /// Why it ended before its end.
    struct Interruption {
        enum Kind: Equatable {
            /// It would go on from here.
            case stopped
            case failed
        }

        let kind: Kind
        let reason: String
    }

    let plan: RedriveRun.Plan
    /// What was noted of the same id before.
    var earlier: RedriveStore.Redrive?
    /// Dead letters that were meant.
    var selected = 0
    /// Confirmed in the forward queue.
    var sent = 0
    /// Of those sent, how many are not in the table redriven_events because PostgreSQL did not take them.
    var unnoted = 0
    /// In a dry run: would be sent.
    private(set) var open = 0
    /// Sent by the same redrive before; only removed now.
    private(set) var alreadySent = 0
    /// At the platform already; only removed.
    private(set) var alreadyDelivered = 0
    /// Sent by the same redrive before, and failed again.
    private(set) var cameBack = 0
    /// No event of ours: the consumer would only refuse it again.
    var unreadable = 0
    private(set) var groups: [String: Int] = [:]
    var duration = Duration.zero
    var interruption: Interruption?

    init(_ plan: RedriveRun.Plan) {
        self.plan = plan
    }

    mutating func count(_ standing: RedriveStore.Standing) {
        switch standing {
        case .open: open += 1
        case .sent: alreadySent += 1
        case .delivered: alreadyDelivered += 1
        case .cameBack: cameBack += 1
        }
    }

    /// Counts what is left among the dead letters anew.
    mutating func forgetWhatStays() {
        selected -= cameBack + unreadable
        (cameBack, unreadable) = (0, 0)
    }

    mutating func add(toGroup group: String) {
        groups[group, default: 0] += 1
    }

    /// How the process ends; nil when all went well.
    package var failure: ProcessFailure? {
        guard let interruption else { return nil }
        let goOn = sent > 0 || interruption.kind == .stopped
        let advice = goOn && !plan.isDryRun ? "; go on with: \(command)" : ""
        return ProcessFailure(
            interruption.reason + advice,
            exitCode: interruption.kind == .stopped ? ExitCode.temporaryFailure : ExitCode.failure
        )
    }

    private var command: String {
        let limit = plan.limit.map { " --limit \($0)" } ?? ""
        let rate = plan.perSecond.map { " --rate \($0)" } ?? ""
        return "orderctl dlq redrive \(plan.selection)\(limit)\(rate) --redrive-id \(plan.id)"
    }

    /// For people.
    package var text: String {
        if let earlier, earlier.result == .done {
            return
                "redrive \(plan.id) is done already: it sent \(grouped(Int(earlier.redriven))) events; nothing is sent"
        }
        return plan.isDryRun ? dryText : fullText
    }

    private var fullText: String {
        let seconds = duration / .seconds(1)
        var table = TextTable([("redrive", .left), (plan.id, .left)])
        table.add(["selection", "\(plan.selection)"])
        let rate = seconds > 0 && sent > 1 ? ", \(grouped(Int(Double(sent) / seconds))) a second" : ""
        table.add(["sent again", "\(grouped(sent)) in \(spoken(seconds: seconds))\(rate)"])
        if unnoted > 0 { table.add(["not noted", "\(grouped(unnoted)) of them: orderctl trace does not show it"]) }
        addRest(to: &table)
        return table.text
    }

    private var dryText: String {
        var table = TextTable([("would be sent", .left), (grouped(open), .left)])
        for (group, count) in groups.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
            table.add(["  \(group)", grouped(count)])
        }
        addRest(to: &table)
        return table.text + "\nnothing was changed; without --dry-run it is done"
    }

    private func addRest(to table: inout TextTable) {
        if alreadySent > 0 { table.add(["sent before", "\(grouped(alreadySent)), by this redrive"]) }
        if alreadyDelivered > 0 {
            table.add(["delivered", "\(grouped(alreadyDelivered)) are at the platform already"])
        }
        if cameBack > 0 {
            table.add(["came back", "\(grouped(cameBack)) failed again; another --redrive-id sends them again"])
        }
        if unreadable > 0 { table.add(["no event", "\(grouped(unreadable)) stay: they cannot be read as events"]) }
    }

    /// For programs.
    package var json: some Encodable { JSON(self) }

    private struct JSON: Encodable {
        let redriveId: String
        let selection: String
        let dryRun: Bool
        let selected: Int
        let sent: Int
        let unnoted: Int
        let wouldSend: Int?
        let groups: [String: Int]?
        let alreadySent: Int
        let alreadyDelivered: Int
        let cameBack: Int
        let unreadable: Int
        let durationMs: Int
        let result: String
        let problem: String?

        init(_ report: RedriveReport) {
            let plan = report.plan
            redriveId = plan.id
            selection = "\(plan.selection)"
            dryRun = plan.isDryRun
            selected = report.selected
            sent = report.sent
            unnoted = report.unnoted
            wouldSend = plan.isDryRun ? report.open : nil
            groups = plan.isDryRun ? report.groups : nil
            alreadySent = report.alreadySent
            alreadyDelivered = report.alreadyDelivered
            cameBack = report.cameBack
            unreadable = report.unreadable
            durationMs = Int(report.duration / .milliseconds(1))
            result =
                switch report.interruption?.kind {
                case nil: "DONE"
                case .stopped: "STOPPED"
                case .failed: "FAILED"
                }
            problem = report.interruption?.reason
        }
    }
}
