import AMQP
import EventTopology
import FoundationEssentials
import Logging
import OpsMetrics
import OrderStore

/// Takes one batch of deliveries to its end: every one is acknowledged, in another queue, or left for the broker.
///
/// A delivery is acknowledged only once the platform has the event and the inbox knows it, or the broker has it in
/// another queue.
struct BatchForwarder: Sendable {
    /// The most characters of an error that are logged.
    private static let maximumLoggedCharacters = 500

    let consumer: AMQPConsumer
    let platform: PlatformClient
    let inbox: Inbox
    let mover: Mover
    let circuit: Circuit
    /// Whether requests may be made while the circuit is half open.
    let isProbe: Bool
    let inFlight: InFlight
    let ordering: Ordering
    let metrics: ConsumerMetrics
    let progress: Progress
    let logger: Logger
    /// Called when no more should be taken.
    let stop: @Sendable (StopReason) async -> Void

    /// What came of the requests for a round.
    private struct Results {
        var delivered: [(event: ForwardedEvent, row: DeliveryStore.Delivered)] = []
        var failed: [Failure] = []
        /// Without a request, through no fault of theirs.
        var aside: [ForwardedEvent] = []
    }

    private struct Failure {
        let event: ForwardedEvent
        let row: DeliveryStore.Failed
        let destination: Destination
    }

    /// Forwards a batch.
    func forward(_ deliveries: [AMQPDelivery]) async {
        let now = Date()
        var events: [ForwardedEvent] = []
        for delivery in deliveries {
            do throws(ForwardedEvent.Unreadable) {
                events.append(try ForwardedEvent(delivery, now: now))
            } catch {
                await giveUp(delivery, .unreadable(error.reason))
            }
        }
        events = circuit.corrected(events)
        progress.took(events)
        for round in Rounds.of(events, key: ordering.key) {
            let keys = Set(round.map(ordering.key))
            await inFlight.begin(keys)
            await forward(round: round)
            inFlight.end(keys)
        }
        progress.letGo(events)
    }

    /// Moves deliveries that have not been begun out of the way, for a second; no attempt is counted.
    func setAside(_ deliveries: [AMQPDelivery]) async {
        await setAside(deliveries.map { ($0, ForwardedEvent.attempts($0.headers), $0.crashes) })
    }

    /// Sends a message to the dead letters.
    func giveUp(_ delivery: AMQPDelivery, _ reason: Destination.Reason) async {
        let attempts = ForwardedEvent.attempts(delivery.headers)
        let destination = Destination.deadLetter(
            reason,
            failedAttempts: attempts,
            at: Date(),
            headers: delivery.headers
        )
        logGivingUp(delivery.messageID ?? "", attempts: attempts, error: reason.error)
        guard await mover.move([.init(delivery: delivery, destination: destination)], of: consumer) == [true] else {
            return
        }
        (reason.key == BrokerNames.poisonKey ? metrics.poison : metrics.deadLettered).increment()
        if delivery.headers[DeadLetterHeaders.redriveID] != nil { metrics.redriven.with("dead_lettered").increment() }
        progress.settled(1)
        // Read only now that it is out of the way: it may be one that kills who reads it.
        guard let row = DeliveryStore.Failed(givenUp: delivery, reason, attempts: attempts, at: Date()) else { return }
        _ = await inbox.note(delivered: [], failed: [row]) { await stop(.inbox) }
    }

    private func forward(round: [ForwardedEvent]) async {
        do {
            let answer = try await inbox.look(for: round, ordering: ordering)
            let duplicates = round.filter { answer.delivered.contains($0.id) }
            let isHeld = { (event: ForwardedEvent) in event.place.map(answer.held.contains) ?? false }
            let rest = round.filter { !answer.delivered.contains($0.id) }
            await settle(duplicates: duplicates)
            await setAside(rest.filter(isHeld))
            let results = await request(rest.filter { !isHeld($0) })
            await settle(results)
        } catch {
            logger.error("can't look into the inbox; nothing is sent", metadata: ["error": "\(error)"])
            await stop(.inbox)
            await setAside(round)
        }
    }

    private func settle(duplicates: [ForwardedEvent]) async {
        guard !duplicates.isEmpty else { return }
        await mover.acknowledge(duplicates.map(\.delivery), of: consumer)
        metrics.duplicate.increment(by: Double(duplicates.count))
        for event in duplicates where event.isRedriven { metrics.redriven.with("duplicate").increment() }
        progress.settled(duplicates.count)
    }

    // MARK: Requests

    /// Posts events, halving what is refused; stops when the circuit opens or the task is cancelled.
    private func request(_ events: [ForwardedEvent]) async -> Results {
        var results = Results()
        var plan = RequestPlan(events, limit: platform.form == .single ? 1 : .max)
        while let part = plan.next() {
            guard circuit.admits(probe: isProbe), !Task.isCancelled else {
                results.aside += part
                continue
            }
            let started = ContinuousClock.now
            let outcome = await platform.post(part)
            let duration = started.duration(to: .now)
            if Task.isCancelled, outcome.status == nil {
                results.aside += part
                continue
            }
            metrics.requestDuration.observe(duration)
            note(outcome, of: part, took: duration, plan: &plan, results: &results)
            await stopIfNeeded()
        }
        return results
    }

    private func note(
        _ outcome: RequestOutcome,
        of part: ArraySlice<ForwardedEvent>,
        took duration: Duration,
        plan: inout RequestPlan<ForwardedEvent>,
        results: inout Results
    ) {
        let now = Date()
        switch DeliveryPolicy.verdict(on: outcome) {
        case .delivered:
            circuit.noteSuccess()
            results.delivered += part.map { event in
                (event, event.delivered(status: outcome.status ?? 0, took: duration, at: now))
            }
        case .refused:
            circuit.noteSuccess()
            guard let event = plan.refused(part) else { return }
            results.failed.append(refusal(event, outcome, took: duration, at: now))
        case .failed:
            let weight = circuit.noteFailure(of: part, retryAfter: nil, error: outcome.summary)
            log(outcome, part)
            results.failed += part.map { failure($0, outcome, weight, took: duration, at: now) }
        case .postponed(let retryAfter):
            _ = circuit.noteFailure(of: part, retryAfter: retryAfter, error: outcome.summary)
            log(outcome, part)
            let tierMs = DeliveryPolicy.tier(noShorterThan: retryAfter)
            results.failed += part.map { event in
                retry(event, outcome, .postponed, tierMs: tierMs, attempts: event.attempts, took: duration, at: now)
            }
        }
    }

    private func stopIfNeeded() async {
        await stop(circuit.isOpen ? .circuitOpen : .circuitClosed)
    }

    private func refusal(
        _ event: ForwardedEvent,
        _ outcome: RequestOutcome,
        took duration: Duration,
        at now: Date
    ) -> Failure {
        let error = "the platform refused it: \(outcome.summary)"
        return deadLetter(event, outcome, error: error, attempts: event.attempts + 1, took: duration, at: now)
    }

    private func failure(
        _ event: ForwardedEvent,
        _ outcome: RequestOutcome,
        _ weight: DeliveryPolicy.Weight,
        took duration: Duration,
        at now: Date
    ) -> Failure {
        switch DeliveryPolicy.afterFailure(attempts: event.attempts, weight) {
        case .retry(let tierMs, let attempts):
            let result = attempts > event.attempts ? DeliveryStore.FailureOutcome.retried : .postponed
            return retry(event, outcome, result, tierMs: tierMs, attempts: attempts, took: duration, at: now)
        case .deadLetter(let attempts):
            let error = "\(attempts) attempts failed; the last one: \(outcome.summary)"
            return deadLetter(event, outcome, error: error, attempts: attempts, took: duration, at: now)
        }
    }

    private func retry(
        _ event: ForwardedEvent,
        _ outcome: RequestOutcome,
        _ result: DeliveryStore.FailureOutcome,
        tierMs: Int,
        attempts: Int,
        took duration: Duration,
        at now: Date
    ) -> Failure {
        let destination = Destination.retry(
            tierMs: tierMs,
            isLate: .random(),
            failedAttempts: attempts,
            headers: event.delivery.headers
        )
        let row = event.failed(result, outcome, outcome.summary, attempts, tierMs, took: duration, at: now)
        return Failure(event: event, row: row, destination: destination)
    }

    private func deadLetter(
        _ event: ForwardedEvent,
        _ outcome: RequestOutcome,
        error: String,
        attempts: Int,
        took duration: Duration,
        at now: Date
    ) -> Failure {
        let reason = Destination.Reason(
            status: outcome.status,
            error: error,
            fingerprint: Fingerprint.of(outcome)
        )
        logGivingUp(event.id.uuidString.lowercased(), attempts: attempts, error: error)
        let destination = Destination.deadLetter(
            reason,
            failedAttempts: attempts,
            at: now,
            headers: event.delivery.headers
        )
        let row = event.failed(.deadLettered, outcome, error, attempts, nil, took: duration, at: now)
        return Failure(event: event, row: row, destination: destination)
    }

    // MARK: Settling

    private func settle(_ results: Results) async {
        // What the platform has comes first: it must be noted, however long the broker takes for the others.
        if await settleAnswered(results) { await move(results.failed) }
        await setAside(results.aside)
    }

    /// Notes what came of the requests, but for what is given up; acknowledges what is delivered. Whether it is noted.
    private func settleAnswered(_ results: Results) async -> Bool {
        let failed = results.failed.map(\.row).filter { $0.outcome != .deadLettered }
        guard !results.delivered.isEmpty || !failed.isEmpty else { return true }
        countDelivered(results.delivered.map(\.event))
        let isNoted = await inbox.note(
            delivered: results.delivered.map(\.row),
            failed: failed
        ) { await stop(.inbox) }
        // Not acknowledged they come again; better twice at the platform than lost.
        guard isNoted else { return false }
        await mover.acknowledge(results.delivered.map(\.event.delivery), of: consumer)
        progress.settled(results.delivered.count)
        return true
    }

    private func countDelivered(_ events: [ForwardedEvent]) {
        let now = Date()
        metrics.delivered.increment(by: Double(events.count))
        for event in events {
            metrics.endToEndDelay.observe(max(0, now.timeIntervalSince(event.occurredAt)))
            if event.isRedriven { metrics.redriven.with("delivered").increment() }
        }
        progress.delivered(events, at: now)
    }

    private func move(_ failures: [Failure]) async {
        let moves = failures.map { Mover.Move(delivery: $0.event.delivery, destination: $0.destination) }
        let isMoved = await mover.move(moves, of: consumer)
        var givenUp: [DeliveryStore.Failed] = []
        for (failure, isMoved) in zip(failures, isMoved) where isMoved {
            progress.settled(1)
            if let tierMs = failure.row.tierMs {
                metrics.retried.increment()
                metrics.countMove(tierMs: tierMs)
                progress.movedToTier(tierMs, occurredAt: failure.event.occurredAt)
            } else {
                metrics.deadLettered.increment()
                if failure.event.isRedriven { metrics.redriven.with("dead_lettered").increment() }
                givenUp.append(failure.row)
            }
        }
        guard !givenUp.isEmpty else { return }
        // Only now: an event that the broker has not taken yet is no dead letter.
        _ = await inbox.note(delivered: [], failed: givenUp) { await stop(.inbox) }
    }

    private func setAside(_ events: [ForwardedEvent]) async {
        await setAside(events.map { ($0.delivery, $0.attempts, 0) })
    }

    private func setAside(_ deliveries: [(delivery: AMQPDelivery, attempts: Int, crashes: Int)]) async {
        let tierMs = DeliveryPolicy.asideTierMs
        let moves = deliveries.map { delivery, attempts, crashes in
            Mover.Move(
                delivery: delivery,
                destination: .retry(
                    tierMs: tierMs,
                    isLate: .random(),
                    failedAttempts: attempts,
                    crashes: crashes,
                    headers: delivery.headers
                )
            )
        }
        let isMoved = await mover.move(moves, of: consumer)
        for (move, isMoved) in zip(moves, isMoved) where isMoved {
            metrics.countMove(tierMs: tierMs)
            progress.setAside(1)
            progress.movedToTier(tierMs, occurredAt: ForwardedEvent.occurredAt(move.delivery.headers) ?? Date())
        }
    }

    // MARK: Logging

    private func log(_ outcome: RequestOutcome, _ events: ArraySlice<ForwardedEvent>) {
        logger.warning(
            "a request failed; its events will be sent again",
            metadata: [
                "events": .stringConvertible(events.count),
                "first": "\(events.first?.id.uuidString.lowercased() ?? "")",
                "error": "\(outcome.summary.prefix(Self.maximumLoggedCharacters))",
            ]
        )
    }

    private func logGivingUp(_ id: String, attempts: Int, error: String) {
        logger.error(
            "an event goes to the dead letters",
            metadata: [
                "event_id": "\(id)", "failed_attempts": .stringConvertible(attempts),
                "error": "\(error.prefix(Self.maximumLoggedCharacters))",
            ]
        )
    }
}

extension Destination.Reason {
    /// Of a message that is no event.
    static func unreadable(_ reason: String) -> Self {
        .init(error: reason, fingerprint: Fingerprint.unreadable(reason))
    }

    /// Of a message with which consumers have died again and again.
    static func crashes(_ count: Int) -> Self {
        .init(
            error: "given to a consumer \(count) times that died before it was done",
            fingerprint: "crash",
            key: BrokerNames.poisonKey
        )
    }
}

extension ForwardedEvent {
    fileprivate func delivered(status: Int, took duration: Duration, at now: Date) -> DeliveryStore.Delivered {
        .init(
            key: key,
            attempts: attempts + 1,
            status: status,
            duration: duration,
            occurredAt: occurredAt,
            deliveredAt: now
        )
    }

    fileprivate func failed(
        _ result: DeliveryStore.FailureOutcome,
        _ outcome: RequestOutcome,
        _ error: String,
        _ attempts: Int,
        _ tierMs: Int?,
        took duration: Duration,
        at now: Date
    ) -> DeliveryStore.Failed {
        .init(
            key: key,
            attempts: attempts,
            outcome: result,
            status: outcome.status,
            error: error,
            fingerprint: Fingerprint.of(outcome),
            tierMs: tierMs,
            duration: duration,
            attemptedAt: now
        )
    }
}

extension RequestPlan<ForwardedEvent> {
    fileprivate init(_ events: [ForwardedEvent], limit: Int) {
        let maximumBytes = limit == 1 ? 1 : PlatformRequest.maximumBatchBytes
        self.init(events, maximumBytes: maximumBytes) { $0.body.count }
    }
}
