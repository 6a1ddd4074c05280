import Testing

// The answers of the API and of the platform as the contract has them. Nothing of these is shared with the
// executables: a changed field must break a test.

struct Order: Decodable, Equatable, Sendable {
    struct Item: Decodable, Equatable, Sendable {
        let productId: Int64
        let name: String
        let quantity: Int64
        let unitPrice: Int64
        let amount: Int64
    }

    struct Payment: Decodable, Equatable, Sendable {
        let status: String
        let amount: Int64
        let paidAt: String
    }

    let id: String
    let userId: Int64
    let status: String
    let items: [Item]
    let totalAmount: Int64
    let currency: String
    let payment: Payment
    let createdAt: String
    let updatedAt: String
}

struct User: Decodable, Sendable {
    let id: Int64
    let name: String
    let email: String
    let balance: Int64
    let currency: String
    let createdAt: String
}

struct Charge: Decodable, Sendable {
    let id: String
    let userId: Int64
    let type: String
    let amount: Int64
    let balanceAfter: Int64
    let createdAt: String
}

struct Product: Decodable, Sendable {
    let id: Int64
    let name: String
    let price: Int64
    let currency: String
    let stock: Int64
    let status: String
}

struct Popular: Decodable, Sendable {
    struct Window: Decodable, Sendable {
        let from: String
        let to: String
        let days: Int
    }

    struct Entry: Decodable, Equatable, Sendable {
        let rank: Int
        let productId: Int64
        let name: String
        let price: Int64
        let quantity: Int64
        let amount: Int64
    }

    let window: Window
    let asOf: String
    let stale: Bool
    let source: String
    let data: [Entry]
}

struct Problem: Decodable, Sendable {
    struct Field: Decodable, Sendable {
        let field: String
        let code: String
        let detail: String
    }

    struct Shortage: Decodable, Equatable, Sendable {
        let productId: Int64
        let requested: Int64
        let available: Int64
    }

    let type: String
    let title: String
    let status: UInt
    let detail: String
    let code: String
    let requestId: String
    let errors: [Field]?
    let shortages: [Shortage]?
    let balance: Int64?
    let required: Int64?
}

/// A CloudEvent as the platform shows it.
struct Event: Decodable, Sendable {
    let specversion: String
    let id: String
    let source: String
    let type: String
    let subject: String
    let time: String
    let datacontenttype: String
    let partitionkey: String
    let sequence: Int
    let traceparent: String?
    let data: Order
    let receivedAt: String
}

struct List<Element: Decodable & Sendable>: Decodable, Sendable {
    let data: [Element]
    let nextCursor: String?
}

struct PlatformStatistics: Decodable, Sendable {
    let requests: Int
    let events: Int
    let unique: Int
    let duplicates: Int
    let refused: Int
}

/// The answer is a problem of that kind.
@discardableResult
func refused(
    _ answer: Web.Answer,
    _ status: UInt,
    _ code: String,
    sourceLocation: SourceLocation = #_sourceLocation
) throws -> Problem {
    let contentType = answer.header("content-type")
    #expect(contentType == "application/problem+json", sourceLocation: sourceLocation)
    let problem: Problem = try answer.decoded()
    #expect(answer.status == status, "\(answer.body)", sourceLocation: sourceLocation)
    #expect((problem.status, problem.code) == (status, code), sourceLocation: sourceLocation)
    #expect(problem.type == "/problems/\(code)", sourceLocation: sourceLocation)
    #expect(problem.requestId == answer.header("x-request-id"), sourceLocation: sourceLocation)
    return problem
}
