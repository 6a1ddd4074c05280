import Foundation
import OrderDomain
import OrderMessages
import Testing

@Suite("Problems")
struct ProblemTests {
    private static let users = [7].compactMap { UserID($0) }
    private static let products = [3, 9].compactMap { ProductID($0) }

    /// Every refusal with the problem that it must become; a new refusal must be added to `covers(_:)` to compile.
    private static let refusals: [(Refusal, String)] =
        users.map {
            (
                .userNotFound($0),
                """
                {"type":"/problems/user_not_found","title":"There is no such user","status":404,"code":"user_not_found",
                "detail":"there is no user with id 7"}
                """
            )
        } + [
            (
                .productsNotFound(products),
                """
                {"type":"/problems/product_not_found","title":"There is no such product","status":404,
                "code":"product_not_found","detail":"there is no product with id 3, 9"}
                """
            ),
            (
                .productsUnavailable(products),
                """
                {"type":"/problems/product_unavailable","title":"A product is not sold any more","status":409,
                "code":"product_unavailable","detail":"discontinued: product 3, 9"}
                """
            ),
            (
                .insufficientStock(products.map { Shortage(productID: $0, requested: 5, available: 2) }),
                """
                {"type":"/problems/insufficient_stock","title":"There is not enough stock","status":409,
                "code":"insufficient_stock","detail":"product 3: 5 wanted, 2 left; product 9: 5 wanted, 2 left",
                "shortages":[{"productId":3,"requested":5,"available":2},{"productId":9,"requested":5,"available":2}]}
                """
            ),
            (
                .insufficientBalance(balance: Money(minorUnits: 500), required: Money(minorUnits: 507)),
                """
                {"type":"/problems/insufficient_balance","title":"The balance does not cover the order","status":409,
                "code":"insufficient_balance","detail":"the balance is 500 KRW, the order costs 507 KRW",
                "balance":500,"required":507}
                """
            ),
            (
                .amountTooLarge,
                """
                {"type":"/problems/amount_too_large","title":"The amount is too large","status":422,
                "code":"amount_too_large",
                "detail":"the total or the new balance would pass the largest amount that can be kept"}
                """
            ),
            (
                .idempotencyKeyReused,
                """
                {"type":"/problems/idempotency_key_reused","title":"The idempotency key was used with another request",
                "status":422,"code":"idempotency_key_reused",
                "detail":"use a new Idempotency-Key for a new request, or send the first one again unchanged"}
                """
            ),
            (
                .orderNotCancellable(.shipped),
                """
                {"type":"/problems/order_not_cancellable","title":"The order cannot be cancelled any more","status":409,
                "code":"order_not_cancellable",
                "detail":"it is SHIPPED; only an order that is PAID or PREPARING can be cancelled"}
                """
            ),
            (
                .invalidTransition(from: .paid, to: .delivered),
                """
                {"type":"/problems/invalid_transition","title":"The order cannot go to that state","status":409,
                "code":"invalid_transition",
                "detail":"from PAID it can go to PREPARING or CANCELLED, not to DELIVERED"}
                """
            ),
            (
                .versionMismatch(current: 3),
                """
                {"type":"/problems/precondition_failed","title":"The resource is in another version","status":412,
                "code":"precondition_failed",
                "detail":"If-Match does not name its present ETag, \\"3\\"; read it again before sending this again"}
                """
            ),
        ]

    private static func covers(_ refusal: Refusal) -> Int {
        switch refusal {
        case .userNotFound: 0
        case .productsNotFound: 1
        case .productsUnavailable: 2
        case .insufficientStock: 3
        case .insufficientBalance: 4
        case .amountTooLarge: 5
        case .idempotencyKeyReused: 6
        case .orderNotCancellable: 7
        case .invalidTransition: 8
        case .versionMismatch: 9
        case .orderNotFound: 10
        }
    }

    @Test("every refusal has its own problem")
    func refusals() throws {
        #expect(Self.refusals.map { Self.covers($0.0) } == Array(0...9))
        for (refusal, json) in Self.refusals {
            #expect(try canonical(encoded(Problem(refusal))) == canonical(json))
        }
    }

    @Test("a validation failure lists every error")
    func validation() throws {
        let problem = Problem.validation(
            ValidationFailure([
                FieldError(field: "name", code: "required", detail: "must be a text"),
                FieldError(field: "items[2].quantity", code: "out_of_range", detail: "must be a whole number"),
            ])
        )
        let json = """
            {"type":"/problems/validation_failed","title":"The request is not valid","status":422,
            "code":"validation_failed","detail":"name must be a text; items[2].quantity must be a whole number",
            "errors":[{"field":"name","code":"required","detail":"must be a text"},
            {"field":"items[2].quantity","code":"out_of_range","detail":"must be a whole number"}]}
            """
        #expect(try canonical(encoded(problem)) == canonical(json))
    }

    @Test("a malformed body is 400")
    func malformed() throws {
        let body = #expect(throws: MalformedBody.self) { try ChargeRequest(parsing: Data("{".utf8)) }
        let json = """
            {"type":"/problems/malformed_body","title":"The body cannot be read","status":400,"code":"malformed_body",
            "detail":"the body is not valid JSON in UTF-8"}
            """
        #expect(try canonical(encoded(Problem.malformed(#require(body)))) == canonical(json))
    }

    @Test("a missing resource is 404 with its own code", arguments: ["user", "product", "order"])
    func notFound(noun: String) throws {
        let json = """
            {"type":"/problems/\(noun)_not_found","title":"There is no such \(noun)","status":404,
            "code":"\(noun)_not_found","detail":"there is no \(noun) with id 12"}
            """
        #expect(try canonical(encoded(Problem.notFound(noun, "12"))) == canonical(json))
    }

    @Test("503 says when to come back, in the header only, and carries the request's id")
    func unavailable() throws {
        var problem = Problem.unavailable("overloaded", "the queue is full", retryAfterSeconds: 2)
        problem.requestId = "r-1"
        #expect(problem.retryAfterSeconds == 2)
        #expect(Problem.unavailable("overloaded", "the queue is full").retryAfterSeconds == 1)
        let json = """
            {"type":"/problems/overloaded","title":"Not available at the moment","status":503,"code":"overloaded",
            "detail":"the queue is full","requestId":"r-1"}
            """
        #expect(try canonical(encoded(problem)) == canonical(json))
    }
}
