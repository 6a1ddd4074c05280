package import AMQP
import Foundation
import OrderMessages
import OrderStore
package import Postgres
import ServiceRuntime

/// Sends dead letters to the forward queue, batch by batch: publish, wait for the broker to confirm, note it in the
/// database, remove the dead letter. Killed anywhere in between it loses nothing. When only the note fails it removes
/// them all the same, and ends: left there, each event would be among the dead letters twice once it fails again.
package final class RedriveRun {
    /// What the operator wants.
    package struct Plan {
        let id: String
        let selection: DeadLetterSelection
        let limit: Int?
        let perSecond: Int?
        let isDryRun: Bool
        let requestedBy: String

        /// Which dead letters, how many of them at most, how many a second at most, and who wants it.
        package init(
            id: String,
            selection: DeadLetterSelection,
            limit: Int?,
            perSecond: Int?,
            isDryRun: Bool,
            requestedBy: String
        ) {
            self.id = id
            self.selection = selection
            self.limit = limit
            self.perSecond = perSecond
            self.isDryRun = isDryRun
            self.requestedBy = requestedBy
        }
    }

    /// How far a run is.
    package enum Progress {
        /// The most that there can be.
        case began(Int)
        /// So many more were dealt with.
        case advanced(Int)
        case ended
    }

    /// The most dead letters that are under way, and that may be sent twice when the process is killed.
    static let maximumBatch = 200
    private static let confirmTimeout = Duration.seconds(10)
    private static let queryTimeout = Duration.seconds(10)

    private let plan: Plan
    private let queue: DeadLetterQueue
    private let publisher: AMQPPublisher
    private let database: PostgresConnection
    private let stop: StopRequest
    private var circuit: CircuitGuard?
    private var bucket: TokenBucket?
    private var report: RedriveReport
    private let progress: (Progress) -> Void
    /// How many may be sent.
    private var remaining = Int.max
    /// How long the queue is gone through without a break. What was seen and not sent stays unacknowledged meanwhile,
    /// and the broker would end that after its `consumer_timeout` of 30 min.
    var walkLimit = Duration.seconds(600)
    private var walkBegan = ContinuousClock.now
    /// Whether the queue is to be gone through once more, since the time was up before all was seen.
    private var mustGoOn = false
    private var batch: [(letter: DeadLetter, candidate: RedriveStore.Candidate)] = []

    /// Prepares a run; `progress` is told how far it is.
    package init(
        _ plan: Plan,
        queue: DeadLetterQueue,
        publisher: AMQPPublisher,
        database: PostgresConnection,
        circuit: CircuitGuard?,
        stop: StopRequest,
        progress: @escaping (Progress) -> Void = { _ in }
    ) {
        self.plan = plan
        self.queue = queue
        self.publisher = publisher
        self.database = database
        self.circuit = circuit
        self.stop = stop
        self.progress = progress
        bucket = plan.perSecond.map(TokenBucket.init)
        report = RedriveReport(plan)
    }

    /// Redrives until all that is selected has been dealt with, or something stands in the way; says what was done.
    ///
    /// Throws before anything has been sent: when a server is away, or the id belongs to another redrive.
    package func run() async throws -> RedriveReport {
        let start = ContinuousClock.now
        let earlier = try await RedriveStore.find(plan.id, on: database, deadline: .now + Self.queryTimeout)
        report.earlier = earlier
        if earlier?.selection == "\(plan.selection)", earlier?.result == .done { return report }
        if !plan.isDryRun { try await begin() }
        remaining = plan.limit.map { max(0, $0 - Int(earlier?.redriven ?? 0)) } ?? .max
        do {
            repeat {
                beginWalk()
                try await queue.walk(
                    begin: { progress(.began(min($0, remaining - chosen))) },
                    { letter, walk in try await visit(letter, walk) },
                    end: { walk in _ = try await flush(walk) }
                )
            } while mustGoOn && report.interruption == nil
        } catch {
            interrupt(.failed, "\(error)")
        }
        progress(.ended)
        report.duration = start.duration(to: .now)
        if report.selected == 0, earlier == nil { interrupt(.failed, "no dead letter matches \(plan.selection)") }
        if !plan.isDryRun { await finish() }
        return report
    }

    // MARK: The audit

    /// Notes the beginning.
    private func begin() async throws {
        if let reason = await circuit?.reasonToStop() {
            throw ProcessFailure("nothing was sent: \(reason)", exitCode: ExitCode.temporaryFailure)
        }
        do throws(AMQPError) {
            try await publisher.ensureConnected(deadline: .now + Self.confirmTimeout)
        } catch {
            throw ProcessFailure("nothing was sent: \(error)", exitCode: ExitCode.unavailable)
        }
        let noted = try await RedriveStore.begin(
            plan.id,
            selection: "\(plan.selection)",
            requestedBy: plan.requestedBy,
            at: Date(),
            on: database,
            deadline: .now + Self.queryTimeout
        )
        guard let noted else {
            throw ProcessFailure(
                "the redrive \(plan.id) is going on in another process",
                exitCode: ExitCode.temporaryFailure
            )
        }
        guard noted.selection == "\(plan.selection)" else {
            throw ProcessFailure(
                "the redrive \(plan.id) was begun with \(noted.selection): say the same, or take another --redrive-id"
            )
        }
    }

    private func finish() async {
        let result: RedriveStore.Result =
            switch report.interruption?.kind {
            case nil: .done
            case .stopped: .stopped
            case .failed: .failed
            }
        do {
            let deadline = ContinuousClock.now + Self.queryTimeout
            try await RedriveStore.finish(plan.id, result, at: Date(), on: database, deadline: deadline)
        } catch {
            interrupt(.failed, "its end could not be noted: \(error)")
        }
    }

    // MARK: Sending

    /// Begins at the queue's head; what was left there is seen, and counted, once more.
    private func beginWalk() {
        walkBegan = .now
        mustGoOn = false
        report.forgetWhatStays()
    }

    /// Deals with one dead letter; says whether to go on.
    private func visit(_ letter: DeadLetter, _ walk: AMQPQueueWalk) async throws -> Bool {
        if stop.isRequested {
            interrupt(.stopped, "stopped by a signal")
            return false
        }
        if walkBegan.duration(to: .now) > walkLimit, !plan.isDryRun {
            mustGoOn = true
            return false
        }
        guard plan.selection.matches(letter) else { return true }
        guard chosen < remaining else { return false }
        report.selected += 1
        if let event = UUID(uuidString: letter.eventID), let order = letter.orderID {
            // Of two dead letters of one event the second is only removed: by its turn the first is noted.
            if batch.contains(where: { $0.candidate.eventID == event }), try await !flush(walk) { return false }
            let candidate = RedriveStore.Candidate(eventID: event, orderID: order, lastRedrive: letter.redriveID)
            batch.append((letter, candidate))
        } else {
            report.unreadable += 1
        }
        // An event is there once; a batch waits no longer than the rate makes it.
        if case .event = plan.selection { return false }
        // What turns out not to be sent does not count: so many are collected at most that all of them may be sent.
        return batch.count < min(bucket?.batch ?? Self.maximumBatch, remaining - chosen) ? true : try await flush(walk)
    }

    /// How many were sent, or would be.
    private var chosen: Int { plan.isDryRun ? report.open : report.sent }

    /// Sends what has been collected; says whether to go on.
    private func flush(_ walk: AMQPQueueWalk) async throws -> Bool {
        let letters = batch
        batch = []
        // An interrupted run leaves the rest where it is.
        guard !letters.isEmpty, report.interruption == nil else { return false }
        let standings = try await RedriveStore.standings(
            of: letters.map(\.candidate),
            in: plan.id,
            on: database,
            deadline: .now + Self.queryTimeout
        )
        var open: [(letter: DeadLetter, candidate: RedriveStore.Candidate)] = []
        var settled: [AMQPDelivery] = []
        for (item, standing) in zip(letters, standings) {
            report.count(standing)
            switch standing {
            case .open: open.append(item)
            case .sent, .delivered: settled.append(item.letter.delivery)
            case .cameBack: break
            }
        }
        if plan.isDryRun {
            for item in open { report.add(toGroup: item.letter.group) }
            return true
        }
        guard await mayGoOn(sending: open.count) else { return false }
        let confirmed = await send(open)
        for delivery in settled + confirmed.map(\.delivery) { try await walk.remove(delivery) }
        progress(.advanced(letters.count))
        return report.interruption == nil
    }

    /// Waits for the rate's turn, and looks whether something speaks against sending.
    private func mayGoOn(sending count: Int) async -> Bool {
        if count > 0, let pause = bucket?.take(count, at: .now) { await stop.sleep(pause) }
        if stop.isRequested {
            interrupt(.stopped, "stopped by a signal")
        } else if let reason = await circuit?.reasonToStop() {
            interrupt(.stopped, reason)
        }
        return report.interruption == nil
    }

    /// Notes what the broker has confirmed. When that fails it is the last that is sent.
    private func note(_ sent: [RedriveStore.Candidate]) async {
        do {
            let deadline = ContinuousClock.now + Self.queryTimeout
            try await RedriveStore.record(sent, in: plan.id, at: Date(), on: database, deadline: deadline)
        } catch {
            report.unnoted += sent.count
            interrupt(.failed, "the last \(sent.count) are sent, but PostgreSQL did not note it: \(error)")
        }
    }

    /// Publishes, and notes what the broker has confirmed, which is returned.
    private func send(
        _ items: [(letter: DeadLetter, candidate: RedriveStore.Candidate)]
    ) async -> [DeadLetter] {
        let outcomes = await publisher.publish(
            items.map { $0.letter.redriven(by: plan.id) },
            deadline: .now + Self.confirmTimeout
        )
        let sent = zip(items, outcomes).filter { $0.1 == .confirmed }.map(\.0)
        report.sent += sent.count
        await note(sent.map(\.candidate))
        if let refused = outcomes.first(where: { $0 != .confirmed }) {
            interrupt(.failed, "the broker did not take \(items.count - sent.count) of them: \(refused)")
        }
        return sent.map(\.letter)
    }

    /// The first reason counts.
    private func interrupt(_ kind: RedriveReport.Interruption.Kind, _ reason: String) {
        report.interruption = report.interruption ?? .init(kind: kind, reason: reason)
    }
}
