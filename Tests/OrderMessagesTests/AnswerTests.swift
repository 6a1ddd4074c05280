import Foundation
import OrderDomain
import OrderMessages
import Testing

@Suite("Answers")
struct AnswerTests {
    private static let created = Date(timeIntervalSince1970: 1_769_850_300.25)
    private static let updated = Date(timeIntervalSince1970: 1_769_850_301)

    private func expect(
        _ answer: some Encodable,
        is json: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        #expect(try canonical(encoded(answer)) == canonical(json), sourceLocation: sourceLocation)
    }

    @Test("a user and a balance")
    func userAndBalance() throws {
        let user = User(
            id: try #require(UserID(7)),
            name: "김\"미나\"/😀",
            email: "mina@example.com",
            balance: Money(minorUnits: .max),
            version: 3,
            createdAt: Self.created,
            updatedAt: Self.updated
        )
        try expect(
            UserAnswer(user),
            is: #"""
                {"id":7,"name":"김\"미나\"/😀","email":"mina@example.com","balance":9223372036854775807,"currency":"KRW",
                "createdAt":"2026-01-31T09:05:00.250Z"}
                """#
        )
        try expect(
            BalanceAnswer(user),
            is: """
                {"userId":7,"balance":9223372036854775807,"currency":"KRW","version":3,
                "updatedAt":"2026-01-31T09:05:01.000Z"}
                """
        )
    }

    @Test("rows of the balance history: orderId only where there is one")
    func balanceEntries() throws {
        let id = try #require(UUID(uuidString: "01990A2B-3C4D-7E5F-8ABC-DEF012345678"))
        func entry(_ kind: BalanceEntry.Kind, _ amount: Int64, _ order: OrderID?) throws -> BalanceEntryAnswer {
            BalanceEntryAnswer(
                BalanceEntry(
                    id: id,
                    userID: try #require(UserID(7)),
                    version: 2,
                    kind: kind,
                    amount: Money(minorUnits: amount),
                    balanceAfter: Money(minorUnits: 50),
                    orderID: order,
                    createdAt: Self.created
                )
            )
        }
        try expect(
            try entry(.charge, 20, nil),
            is: """
                {"id":"01990a2b-3c4d-7e5f-8abc-def012345678","userId":7,"type":"CHARGE","amount":20,"balanceAfter":50,
                "createdAt":"2026-01-31T09:05:00.250Z"}
                """
        )
        try expect(
            try entry(.payment, -20, OrderID(id)),
            is: """
                {"id":"01990a2b-3c4d-7e5f-8abc-def012345678","userId":7,"type":"PAYMENT","amount":-20,"balanceAfter":50,
                "orderId":"01990a2b-3c4d-7e5f-8abc-def012345678","createdAt":"2026-01-31T09:05:00.250Z"}
                """
        )
    }

    @Test("a product, with and without what may be left out")
    func products() throws {
        func product(_ description: String?, _ category: String?) throws -> ProductAnswer {
            ProductAnswer(
                Product(
                    id: try #require(ProductID(3)),
                    name: "Tea",
                    description: description,
                    category: category,
                    price: Money(minorUnits: 4_500),
                    stock: 12,
                    status: .discontinued,
                    version: 9,
                    createdAt: Self.created,
                    updatedAt: Self.updated
                )
            )
        }
        let common = """
            "id":3,"name":"Tea","price":4500,"currency":"KRW","stock":12,"status":"DISCONTINUED",
            "createdAt":"2026-01-31T09:05:00.250Z","updatedAt":"2026-01-31T09:05:01.000Z"
            """
        try expect(try product(nil, nil), is: "{\(common)}")
        try expect(try product("Green", "drinks"), is: #"{\#(common),"description":"Green","category":"drinks"}"#)
    }

    @Test("an order")
    func order() throws {
        let order = Order(
            id: OrderID(try #require(UUID(uuidString: "01990A2B-3C4D-7E5F-8ABC-DEF012345678"))),
            userID: try #require(UserID(7)),
            status: .cancelled,
            items: [
                OrderItem(
                    productID: try #require(ProductID(3)),
                    name: "Tea",
                    quantity: try #require(Quantity(2)),
                    unitPrice: Money(minorUnits: 4_500),
                    amount: Money(minorUnits: 9_000)
                )
            ],
            total: Money(minorUnits: 9_000),
            payment: Payment(status: .refunded, amount: Money(minorUnits: 9_000), paidAt: Self.created),
            version: 2,
            createdAt: Self.created,
            updatedAt: Self.updated
        )
        try expect(
            OrderAnswer(order),
            is: """
                {"id":"01990a2b-3c4d-7e5f-8abc-def012345678","userId":7,"status":"CANCELLED",
                "items":[{"productId":3,"name":"Tea","quantity":2,"unitPrice":4500,"amount":9000}],
                "totalAmount":9000,"currency":"KRW",
                "payment":{"status":"REFUNDED","amount":9000,"paidAt":"2026-01-31T09:05:00.250Z"},
                "createdAt":"2026-01-31T09:05:00.250Z","updatedAt":"2026-01-31T09:05:01.000Z"}
                """
        )
    }

    @Test("a page says null where there is no next one")
    func pages() throws {
        #expect(try encoded(ListAnswer([1, 2], nextCursor: nil)) == #"{"data":[1,2],"nextCursor":null}"#)
        #expect(try encoded(ListAnswer([Int](), nextCursor: "abc")) == #"{"data":[],"nextCursor":"abc"}"#)
    }

    @Test("the popular products")
    func popular() throws {
        let entry = PopularAnswer.Entry(
            rank: 1,
            productID: try #require(ProductID(3)),
            name: "Tea",
            price: Money(minorUnits: 4_500),
            quantity: 17,
            amount: Money(minorUnits: 76_500)
        )
        for source in [PopularAnswer.Source.redis, .postgres] {
            try expect(
                PopularAnswer(
                    from: Self.created - 3 * 86_400,
                    to: Self.created,
                    asOf: Self.updated,
                    stale: source == .postgres,
                    source: source,
                    data: [entry]
                ),
                is: """
                    {"window":{"from":"2026-01-28T09:05:00.250Z","to":"2026-01-31T09:05:00.250Z","days":3},
                    "asOf":"2026-01-31T09:05:01.000Z","stale":\(source == .postgres),"source":"\(source)",
                    "data":[{"rank":1,"productId":3,"name":"Tea","price":4500,"quantity":17,"amount":76500}]}
                    """
            )
        }
    }

    @Test("a body has its fields in alphabetical order, slashes as they are, and no spaces")
    func bytes() throws {
        #expect(try encoded(["b": "a/b", "a": "é\n\u{1}"]) == #"{"a":"é\n\u0001","b":"a/b"}"#)
    }
}
