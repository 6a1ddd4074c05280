import Foundation
import OrderDomain
import OrderMessages
import OrderStore

/// A decided batch in the form in which it is written and answered.
struct BatchPlan {
    let adjudication: Adjudication
    let events: [OutboxEvent]
    /// What is kept under idempotency keys; refusals too.
    let remembered: [(claim: IdempotencyClaim, answer: RememberedAnswer)]
    /// One for each submission, in order.
    let answers: [CommitAnswer]

    /// Decides the batch on what was read of it.
    init(_ batch: [Submission], _ open: CommitStore.OpenBatch) {
        let adjudication = adjudicate(batch.map(\.command), open.snapshot)
        var answers: [CommitAnswer] = []
        var events: [OutboxEvent] = []
        var remembered: [(claim: IdempotencyClaim, answer: RememberedAnswer)] = []
        var changes = adjudication.changes[...]
        for (submission, outcome) in zip(batch, adjudication.outcomes) {
            let answer: CommitAnswer
            switch outcome {
            case .ordered(let order):
                let body = OrderAnswer(order).json
                answer = .done(201, body, location: "/v1/orders/\(order.id.text)", version: 1)
                events.append(OutboxEvent(.paid, order, body: body, traceparent: submission.traceparent))
            case .charged(let entry):
                answer = .done(
                    201,
                    BalanceEntryAnswer(entry).json,
                    location: "/v1/users/\(entry.userID.rawValue)/balance/history"
                )
            case .changed(let order):
                let body = OrderAnswer(order).json
                answer = .done(200, body, version: order.version)
                // An order that was cancelled already has told so.
                if let change = changes.first, change.order == order {
                    changes.removeFirst()
                    let type = order.status == .cancelled ? OrderEventType.cancelled : .statusChanged
                    events.append(OutboxEvent(type, order, body: body, traceparent: submission.traceparent))
                }
            case .refused(let refusal):
                answer = .refused(refusal, requestID: submission.requestID)
            case .replayed(let key):
                answer =
                    open.answers[key].map { CommitAnswer(answer: $0, isReplay: true) }
                    ?? .refused(.idempotencyKeyReused, requestID: submission.requestID)
            case .repeated(let index):
                answer = CommitAnswer(answer: answers[index].answer, isReplay: true)
            }
            if let claim = submission.command.claim, outcome.isNew {
                remembered.append((claim, answer.answer))
            }
            answers.append(answer)
        }
        self.adjudication = adjudication
        self.answers = answers
        self.events = events
        self.remembered = remembered
    }
}

extension Outcome {
    /// Whether it is the first answer under its key: what was answered before, or under another request, is not kept
    /// again.
    fileprivate var isNew: Bool {
        switch self {
        case .ordered, .charged, .changed: true
        case .refused(let refusal): refusal != .idempotencyKeyReused
        case .replayed, .repeated: false
        }
    }
}

extension CommitAnswer {
    fileprivate static func done(
        _ status: Int,
        _ body: String,
        location: String? = nil,
        version: Int? = nil
    ) -> CommitAnswer {
        let answer = RememberedAnswer.done(status, body, location: location, version: version.map(Int64.init))
        return CommitAnswer(answer: answer, isReplay: false)
    }

    static func refused(_ refusal: Refusal, requestID: String) -> CommitAnswer {
        CommitAnswer(answer: .refused(refusal, requestID: requestID), isReplay: false)
    }
}

extension RememberedAnswer {
    /// - Parameter version: of the resource that the body shows, if it has one.
    static func done(_ status: Int, _ body: String, location: String?, version: Int64?) -> RememberedAnswer {
        RememberedAnswer(
            status: status,
            location: location,
            contentType: "application/json",
            etag: version.map { EntityTag(version: $0).field },
            body: body
        )
    }

    static func refused(_ refusal: Refusal, requestID: String) -> RememberedAnswer {
        var problem = Problem(refusal)
        problem.requestId = requestID
        return refused(problem)
    }

    /// - Parameter problem: with the id of its request.
    static func refused(_ problem: Problem) -> RememberedAnswer {
        RememberedAnswer(
            status: problem.status,
            location: nil,
            contentType: "application/problem+json",
            body: problem.json
        )
    }
}

extension OutboxEvent {
    fileprivate init(_ type: OrderEventType, _ order: Order, body: String, traceparent: String?) {
        self.init(
            id: .version7(at: order.updatedAt),
            orderID: order.id,
            sequence: order.version,
            type: type.rawValue,
            occurredAt: order.updatedAt,
            traceparent: traceparent,
            data: body
        )
    }
}
