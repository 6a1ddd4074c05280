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
    init(_ batch: [Submission], _ open: CommitStore.OpenBatch) throws {
        let adjudication = adjudicate(batch.map(\.command), open.snapshot)
        var answers: [CommitAnswer] = []
        var events: [OutboxEvent] = []
        var remembered: [(claim: IdempotencyClaim, answer: RememberedAnswer)] = []
        for (submission, outcome) in zip(batch, adjudication.outcomes) {
            let answer: CommitAnswer
            switch outcome {
            case .ordered(let order):
                let body = try encoded(OrderAnswer(order))
                answer = .created(body, location: "/v1/orders/\(order.id.text)")
                events.append(.paid(order, body: body, traceparent: submission.traceparent))
            case .charged(let entry):
                answer = .created(
                    try encoded(BalanceEntryAnswer(entry)),
                    location: "/v1/users/\(entry.userID.rawValue)/balance/history"
                )
            case .refused(let refusal):
                answer = try .refused(refusal, requestID: submission.requestID)
            case .replayed(let key):
                answer =
                    try open.answers[key].map { CommitAnswer(answer: $0, isReplay: true) }
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
        case .ordered, .charged: true
        case .refused(let refusal): refusal != .idempotencyKeyReused
        case .replayed, .repeated: false
        }
    }
}

extension CommitAnswer {
    fileprivate static func created(_ body: String, location: String) -> CommitAnswer {
        CommitAnswer(
            answer: RememberedAnswer(status: 201, location: location, contentType: "application/json", body: body),
            isReplay: false
        )
    }

    fileprivate static func refused(_ refusal: Refusal, requestID: String) throws -> CommitAnswer {
        var problem = Problem(refusal)
        problem.requestId = requestID
        return CommitAnswer(
            answer: RememberedAnswer(
                status: problem.status,
                location: nil,
                contentType: "application/problem+json",
                body: try encoded(problem)
            ),
            isReplay: false
        )
    }
}

extension OutboxEvent {
    fileprivate static func paid(_ order: Order, body: String, traceparent: String?) -> OutboxEvent {
        OutboxEvent(
            id: .version7(at: order.createdAt),
            orderID: order.id,
            sequence: order.version,
            type: OrderEventType.paid.rawValue,
            occurredAt: order.createdAt,
            traceparent: traceparent,
            data: body
        )
    }
}
